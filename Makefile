# Each target is a thin call; `make help` lists them.
# PYTHON is a Python 3.11, 3.12 or 3.13 with venv.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.made-from-lock

# oldest and colab: nothing newer than what they were last tried with, and the warnings of old
# libraries about newer ones are no errors
INSTALL = build/$@/bin/python -m uv pip install --quiet --python build/$@ --exclude-newer 2026-11-26
define TRY_NOTEBOOKS_AND_MODULE
build/$@/bin/python -m uv pip freeze --python build/$@ --exclude-editable | grep -v ^setuptools= > build/$@/pins.txt
$(INSTALL) -c build/$@/pins.txt -e '.[notebooks,test]'
build/$@/bin/python -m tools.notebooks --output-dir build/$@/executed
build/$@/bin/python -m pytest -W default tests/augment_utils
endef

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

run: $(READY)  ## execute all notebooks into build/executed, with a table at the end (TIER=smoke: small)
	$(BIN)/python -m tools.notebooks $(if $(TIER),--tier $(TIER))

test: $(READY)  ## re-run the notebooks, compare their outputs, and test all the rest, in some minutes
	$(BIN)/python -m pytest

check: test  ## and then what takes longer: training at full size, killed runs, all submissions, ...
	$(BIN)/python -m pytest -m slow --hypothesis-profile=many

lab: $(READY)  ## open JupyterLab on this machine, in notebooks/
	$(BIN)/python -m jupyterlab --ip=127.0.0.1 --LabApp.default_url=/lab/tree/notebooks

data: $(READY)  ## fetch and verify CIFAR-10 (170 MB) once
	$(BIN)/python -m augment_utils data

refresh: $(READY)  ## execute all notebooks and take their outputs into notebooks/ and images/
	$(BIN)/python -m tools.notebooks --refresh

bench: $(READY)  ## measure the transforms beside their peers; remakes results/speed.md
	$(BIN)/python -m benchmarks

results: $(READY)  ## make the tables and figures of the experiments anew from results/runs
	$(BIN)/python -m experiments report

book: $(READY)  ## build the web edition in build/book from the committed notebooks
	rm -rf build/book
	$(BIN)/python -m sphinx -W --keep-going -q -E -c book -d build/doctrees . build/book
	@echo "Open build/book/index.html"

address: $(READY)  ## write the public address, one line of pyproject.toml, wherever it belongs
	$(BIN)/python -m tools.address

assignments: $(READY)  ## make and check the students' notebooks in assignments/release
	$(BIN)/python -m assignments release

grade: $(READY)  ## grade assignments/submitted (KEPT=1: the submissions kept in tests, in build/course)
	$(if $(KEPT),$(BIN)/python -m tests.assignments.kept_submissions build/course)
	$(BIN)/python -m assignments grade $(if $(KEPT),--course build/course --seconds 10)

oldest:  ## run notebooks and the module's tests with the lowest versions that pyproject.toml allows
	$(PYTHON) -m venv --clear build/oldest
	build/oldest/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(INSTALL) --resolution lowest-direct -e '.[notebooks]'
	$(TRY_NOTEBOOKS_AND_MODULE)

colab:  ## the same with what Google Colab has (PYTHON=python3.13, as there)
	$(PYTHON) -m venv --clear build/colab
	build/colab/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(INSTALL) -c tests/environment/colab-2026-08-19.txt -e '.[notebooks]'
	$(TRY_NOTEBOOKS_AND_MODULE)

newest:  ## run notebooks and all tests with the newest versions instead of the locked ones (PRE=1: and pre-releases)
	$(PYTHON) -m venv --clear build/newest
	build/newest/bin/python -m pip install --quiet --disable-pip-version-check $(if $(PRE),--pre) \
		-e '.[notebooks,test,bench,experiments,classroom,book]'
	build/newest/bin/python -m tools.notebooks --output-dir build/newest/executed
	build/newest/bin/python -m pytest --deselect tests/test_environment.py::test_what_is_installed_is_what_is_locked

env: $(READY)  ## make the environment in .venv, if it is missing or out of date

lock:  ## resolve pyproject.toml anew (needs uv)
	uv lock --upgrade
	mkdir -p build
	uv export --quiet --all-extras --no-emit-project --no-hashes --no-annotate -o build/pins.txt
	uv pip compile --quiet --universal --all-extras --generate-hashes --no-strip-extras \
		--python-version 3.11 --constraint build/pins.txt --no-header --output-file requirements.lock pyproject.toml

# Made again when the lock changes; a half-made one has no mark and is made again too.
$(READY): requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info; (3, 11) <= v < (3, 14) or sys.exit(f"this is Python {v[0]}.{v[1]}, expected 3.11 to 3.13: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

.PHONY: help run test check lab data refresh bench results book address assignments grade oldest colab newest env lock
