"""Write the public address wherever it belongs, from its one line in pyproject.toml.

Usage: python -m tools.address
"""

import re
import tomllib
from pathlib import Path

import nbformat

from tools import ROOT
from tools.commands import plain_errors
from tools.files import write_file
from tools.pages import put_between_marks

GITHUB = "https://github.com/"
WORDS = {  # README: what its badges say, and what there is to know while there is no address
    "README.md": (
        "Open the first notebook in Colab",
        "Open all notebooks on Binder, in JupyterLab",
        "ADDRESS is where you found this page.",
    ),
    "README.zh-CN.md": (
        "在 Colab 中打开第一个笔记本",
        "在 Binder 的 JupyterLab 中打开全部笔记本",
        "ADDRESS 是你找到本页的地址。",
    ),
}
IMPORT = re.compile(r"^(try:\n    )?import augment_utils as au\n(except .*\n(    .*\n)+\n)?", re.M)
TRY = """try:
    import augment_utils as au
except ModuleNotFoundError:  # opened alone, without its repository
    {}

"""
INSTALL = '%pip install -q "augment-utils @ git+{}"\n    import augment_utils as au'
ASK = """raise ModuleNotFoundError(
        "augment_utils is missing: %pip install FOLDER, a copy of its repository; run this again"
    ) from None"""


def public_address(folder: Path = ROOT) -> str | None:
    """The repository's address, or None while pyproject.toml has none.

    Raises
    ------
    ValueError
        It is no repository on GitHub, from where alone Colab opens notebooks.
    """
    project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    address = project.get("urls", {}).get("Repository")
    if address and not re.fullmatch(rf"{GITHUB}[\w-]+/[\w.-]+(?<!\.git)", address):
        raise ValueError(f"got {address!r} as Repository, expected {GITHUB}OWNER/NAME")
    return address


def colab(address: str, notebook: str) -> str:
    """Where Colab opens a notebook, such as ``01_image_data_generator.ipynb``."""
    repository = address.removeprefix(GITHUB)
    return f"https://colab.research.google.com/github/{repository}/blob/main/notebooks/{notebook}"


def binder(address: str, path: str = "notebooks") -> str:
    """Where Binder opens a notebook, or the folder of all."""
    repository = address.removeprefix(GITHUB)
    return f"https://mybinder.org/v2/gh/{repository}/HEAD?labpath={path}"


def write_address(folder: Path = ROOT) -> None:
    """Write the address, or that there is none, into a copy of the repository."""
    address = public_address(folder)
    notebooks = sorted((folder / "notebooks").glob("*.ipynb"))
    for notebook in notebooks:
        _rewrite(notebook, _notebook, address, notebook.name)
    for page in WORDS:
        _rewrite(folder / page, _readme, address, page, notebooks[0].name)
    _rewrite(folder / "CITATION.cff", _citation, address)


def _rewrite(path, change, *arguments):
    """A file that stays the same is not written."""
    text = path.read_text("utf-8")
    if (changed := change(text, *arguments)) != text:
        write_file(path, changed.encode())


def _notebook(text, address, name):
    """Its first cell says where else it runs; the first of code imports the module, or says how."""
    notebook = nbformat.reads(text, 4)
    header, imports = notebook.cells[0], next(c for c in notebook.cells if c.cell_type == "code")
    header.source = header.source.partition("\n\n**Run it**")[0]
    if address:
        places = (
            f"[Colab]({colab(address, name)}), [Binder]({binder(address, f'notebooks/{name}')})"
        )
        header.source += f"\n\n**Run it** with nothing installed: {places}."
    remedy = INSTALL.format(address) if address else ASK
    imports.source = TRY.format(remedy) + IMPORT.sub("", imports.source, count=1)
    return nbformat.writes(notebook) + "\n"


def _readme(text, address, page, first):
    in_colab, on_binder, unknown = WORDS[page]
    clone = f"```sh\ngit clone {address or 'ADDRESS'} image-augmentation\n"
    clone += "cd image-augmentation\n```"
    if not address:
        return put_between_marks(text, f"{clone}\n\n{unknown}", "make address")
    badges = (
        f"[![{in_colab}](https://colab.research.google.com/assets/colab-badge.svg)]"
        f"({colab(address, first)})\n"
        f"[![{on_binder}](https://mybinder.org/badge_logo.svg)]({binder(address)})"
    )
    return put_between_marks(text, f"{badges}\n\n{clone}", "make address")


def _citation(text, address):
    line = f'repository-code: "{address}"\n' if address else ""
    return re.sub(r"^(repository-code: .*\n)?(?=license:)", line, text, count=1, flags=re.M)


if __name__ == "__main__":
    with plain_errors():
        write_address()
