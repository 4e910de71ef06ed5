"""The command line: notebooks, data, benchmark, experiments and assignments, a command each."""

import base64
import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from augment_utils.files import make_writable, write_file

if TYPE_CHECKING:  # slow to import
    from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
IMAGES = ROOT / "images"
CELL_TIMEOUT = 600  # seconds
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


class Stoppable(click.Group):
    """Commands that end with a line and the usual status when they are stopped."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("\nStopped. The same command can be given again.", err=True)
            sys.exit(130)


@click.group(cls=Stoppable, context_settings={"help_option_names": ["-h", "--help"]})
def main():
    """Run the notebooks, fetch what they need, and measure the transforms."""


@main.command()
@click.argument("notebooks", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=ROOT / "build" / "executed",
    help="Where the executed copies and their figures go.  [default: build/executed]",
)
@click.option(
    "--refresh",
    is_flag=True,
    help="Then take the outputs into the committed notebooks, and their thumbnails into images/. "
    "Nothing is taken if a notebook failed.",
)
@click.option(
    "--tier",
    type=click.Choice(["smoke", "class", "paper"]),
    help="How large the notebooks that train make it.  [default: as written in each, class]",
)
def run(notebooks, output_dir, refresh, tier):
    """Execute NOTEBOOKS (default: all, in order) with papermill.

    A notebook that fails does not stop the others; the exit status is 1 then.
    """
    if refresh and tier:
        raise click.UsageError("--refresh takes the outputs of the tier that is written, no other")
    notebooks = notebooks or sorted(NOTEBOOKS.glob("*.ipynb"))
    with plain_errors():
        make_writable(output_dir)
    settle_data_source()
    rows = [run_notebook(notebook, output_dir, tier) for notebook in notebooks]
    click.echo("\n" + format_table(rows))
    failures = [row for row in rows if row["error"]]
    for row in failures:
        click.secho(f"FAILED {row['notebook']}, {row['error']}", fg="red", err=True)
    if failures:
        sys.exit(1)
    if refresh:
        with plain_errors():
            for notebook in notebooks:
                take_outputs(output_dir / notebook.name, notebook)


@main.command()
@click.option(
    "--subset",
    type=int,
    metavar="N",
    help="Write N training images and a fifth as many test images, the same number of each class, "
    "to OUT. N must be a multiple of 50.",
)
@click.argument("out", required=False, type=click.Path(dir_okay=False, path_type=Path))
def data(subset, out):
    """Fetch and verify CIFAR-10 once; or cut a small part of the data into the file OUT (.npz).

    The part is cut from what the notebooks would use: AUGMENT_DATA, the copy in Keras' cache,
    the official download.
    """
    from augment_utils.datasets import download_cifar10, load_cifar10, save_npz

    if (subset is None) != (out is None):
        raise click.UsageError("--subset N and OUT go together: data --subset 500 out.npz")
    if subset is None:
        try:
            archive = download_cifar10()
        except (OSError, ValueError) as error:
            raise click.ClickException(
                f"CIFAR-10 could not be fetched: {error}\n"
                "The notebooks run without it, on photo patches; or set AUGMENT_DATA to a file, or "
                "KERAS_HOME to a folder for it with 200 MB of room."
            ) from error
        click.echo(f"{load_cifar10(archive)}\n{archive}")
        return
    if subset % 50 or subset < 50:
        raise click.UsageError(f"got --subset {subset}, expected a multiple of 50, such as 500")
    with plain_errors():
        part = load_cifar10().subset(train=subset, test=subset // 5)
        save_npz(part, out)
        click.echo(f"{out}: {part}\nUse it: AUGMENT_DATA={out}")


@main.command()
@click.option("--quick", is_flag=True, help="Seconds, to see that it works: no figures to quote.")
@click.option("--report", is_flag=True, help="Measure nothing; make table and chart anew.")
@click.option(
    "--only",
    type=click.Choice(["explorer"]),
    help="Measure only this (a minute), and keep what results/bench.json has of the rest.",
)
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=ROOT,
    help="Where README.md, results/ and images/ are.  [default: the repository]",
)
def bench(quick, report, only, folder):
    """Measure the transforms beside their peers: images a second, and seconds an epoch.

    Writes results/bench.json, and from it images/bench.png and the tables in README.md.
    """
    from augment_utils import benchmark, benchmark_report

    results = folder / "results" / "bench.json"
    with plain_errors(extra="bench"):
        if not report:
            make_writable(results.parent)
        if only and not report:
            benchmark.run_explorer(results, benchmark_report.read_results(results), quick)
        elif not report:
            benchmark.run(results, quick)
        benchmark_report.report(results, folder / "README.md", folder / "images" / "bench.png")


@main.group()
def experiments():
    """The runs behind the tables of "does it help?": do them, and make the tables."""


@experiments.command("run")
@click.option(
    "--tier", type=click.Choice(["smoke", "class", "paper"]), default="paper", show_default=True
)
@click.option(
    "--study",
    "studies",
    multiple=True,
    type=click.Choice(["A", "B", "C"]),
    help="Only this study; may be given again.  [default: all]",
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the records go.  [default: results/runs at tier paper, else build/runs]",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Of a Dask scheduler, such as tcp://10.0.0.1:8786.  [default: processes on this machine]",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Processes on this machine.  [default: one for each processor]",
)
def experiments_run(tier, studies, folder, scheduler, workers):
    """Do the runs that have no record yet. Stop it at any time; the same command goes on."""
    from tqdm import tqdm

    from augment_utils import experiments

    settle_data_source()
    folder = folder or (experiments.RUNS if tier == "paper" else ROOT / "build" / "runs")
    runs = experiments.grid(tier, studies or experiments.STUDIES)
    bars: list[tqdm] = []

    def show(done, running, failed, total):
        if not bars:  # only now is known what an earlier call did, which says nothing of the speed
            bars.append(tqdm(total=total, initial=done, unit="run", desc=f"tier {tier}"))
        bars[0].update(done - bars[0].n)
        bars[0].set_postfix(running=running, failed=failed)

    source = os.environ.get("AUGMENT_DATA")
    try:
        with plain_errors(extra="experiments"):
            failures = experiments.run_all(runs, folder, source, scheduler, workers, show)
    finally:
        for bar in bars:
            bar.close()
    for run, error in failures:
        click.secho(f"FAILED {run}: {error}", fg="red", err=True)
    if failures:
        sys.exit(1)


@experiments.command("report")
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=ROOT,
    help="Where README.md, results/ and images/ are.  [default: the repository]",
)
def experiments_report(folder):
    """Make every table and figure anew from the records in results/runs; say what is missing."""
    from augment_utils import experiments_report

    with plain_errors():
        click.echo(
            experiments_report.report(
                folder / "results" / "runs",
                folder / "README.md",
                folder / "README.zh-CN.md",
                folder / "results" / "report.md",
                folder / "images",
            )
        )


@main.group()
def assignments():
    """The course: make what the students get, and grade what they hand in."""


course_option = click.option(
    "--course",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=ROOT / "assignments",
    help="The course's folder, with source/ in it.  [default: assignments]",
)


@assignments.command("release")
@course_option
def assignments_release(course):
    """Make the students' notebooks in release/, and check them.

    The sources must pass all tests, and what is released must fail each before work is done.
    """
    with plain_errors(extra="classroom"):
        from augment_utils.course import release

        rows = release(course)
    columns = ["assignment", "points", "by hand", "checked"]
    lines = [
        [one.assignment, f"{one.points:g}", f"{one.by_hand:g}", "WRONG" if one.wrong else "ok"]
        for one in rows
    ]
    click.echo(f"{align([columns, *lines])}\n\nFor the students: {course / 'release'}")
    for one in rows:
        for text in one.wrong:
            click.secho(f"{one.assignment}: {text}", fg="red", err=True)
    if any(one.wrong for one in rows):
        sys.exit(1)


@assignments.command("grade")
@course_option
def assignments_grade(course):
    """Grade submitted/STUDENT/ASSIGNMENT/ASSIGNMENT.ipynb: feedback/ and grades/ASSIGNMENT.csv.

    This runs the students' code: read the note on security in assignments/README.md first.
    """
    from tqdm import tqdm

    with plain_errors(extra="classroom"), tqdm(desc="graded", unit="submission") as bar:
        from augment_utils.course import grade

        rows = grade(course, lambda one: bar.update())
    columns = ["assignment", "student", "points", "not all of", "by hand", "remarks"]
    lines = [
        [
            one.assignment,
            one.student,
            f"{one.points:g}/{sum(one.most.values()):g}",
            " ".join(p for p in one.parts if one.parts[p] not in (None, one.most[p])) or "-",
            " ".join(one.waiting) or "-",
            "; ".join(one.remarks) or "-",
        ]
        for one in rows
    ]
    click.echo(f"{align([columns, *lines])}\n\nFeedback and grades: {course}")


@contextlib.contextmanager
def plain_errors(extra: str | None = None) -> Iterator[None]:
    """What a user can mend is said in a line, and not as a traceback."""
    try:
        yield
    except ModuleNotFoundError as error:
        if extra is None:
            raise
        raise click.ClickException(f"{error}; install it: pip install -e '.[{extra}]'") from error
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error


# ---- run: the parts of it


def settle_data_source() -> None:
    """Look for the images once, so that six notebooks need not wait for six failed downloads."""
    from augment_utils.datasets import load_cifar10

    try:
        dataset = load_cifar10()
    except (OSError, ValueError) as error:
        raise click.ClickException(f"AUGMENT_DATA: {error}") from error
    if "AUGMENT_DATA" not in os.environ and "photo patches" in dataset.name:
        os.environ["AUGMENT_DATA"] = "patches"
    elif os.environ.get("AUGMENT_DATA", "patches") != "patches":
        # the kernels work in notebooks/, where a relative path would point elsewhere
        os.environ["AUGMENT_DATA"] = str(Path(os.environ["AUGMENT_DATA"]).expanduser().absolute())


def run_notebook(notebook: Path, output_dir: Path, tier: str | None = None) -> dict:
    """Execute one notebook; return its row of the table."""
    import nbformat

    # papermill writes after every cell; another run into the same folder must not read that
    partial = output_dir / f"{notebook.stem}.{os.getpid()}.partial.ipynb"
    cells: list[NotebookNode] = []
    error, figures, start = None, 0, time.perf_counter()
    try:
        error = execute(notebook, partial, tier)
        if partial.exists():
            cells = nbformat.read(partial, 4).cells
            figures = write_figures(cells, output_dir / notebook.stem)
            partial.replace(output_dir / notebook.name)
    except (OSError, ValueError) as failed:  # the disk is full
        error = error or str(failed)
    finally:
        partial.unlink(missing_ok=True)
    return {
        "notebook": notebook.name,
        "seconds": f"{time.perf_counter() - start:.1f}",
        "figures": figures,
        "data": data_line(cells),
        "error": error,
    }


def execute(notebook: Path, output: Path, tier: str | None) -> str | None:
    """Execute a notebook into another file; return what went wrong."""
    import papermill
    from traitlets.config import Config

    try:
        papermill.execute_notebook(
            notebook,
            output,
            parameters={"TIER": tier} if tier and has_parameters(notebook) else None,
            kernel_name="python3",
            cwd=notebook.parent,
            progress_bar={"desc": notebook.stem, "unit": "cell"},
            execution_timeout=CELL_TIMEOUT,
            coalesce_streams=True,  # one output for what one cell prints, however slowly
            config=Config(KernelManager={"transport_encryption": "auto"}),  # or kernels warn
        )
    except papermill.PapermillExecutionError as failed:
        return f"cell {failed.exec_count}: {failed.ename}: {failed.evalue}"
    except Exception as failed:  # a dead kernel, a timeout, a file that is no notebook
        return f"{type(failed).__name__}: {failed}"
    return None


def has_parameters(notebook: Path) -> bool:
    """Whether it has a cell that papermill's parameters replace."""
    import nbformat

    cells = nbformat.read(notebook, 4).cells
    return any("parameters" in cell.metadata.get("tags", []) for cell in cells)


def format_table(rows: Iterable[dict]) -> str:
    """The rows as text, a line each under a header."""
    columns = ("notebook", "seconds", "figures", "data")
    return align([columns, *([str(row[column]) for column in columns] for row in rows)], "<>><")


def align(lines: Sequence[Sequence[str]], sides: str | None = None) -> str:
    """Lines of cells as text, each column as wide as its widest cell, to the left (<) or right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    sides = sides or "<" * len(widths)
    return "\n".join(
        "  ".join(
            f"{c:{side}{width}}" for c, side, width in zip(line, sides, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def figures_of(cells: Iterable["NotebookNode"]) -> Iterator[tuple[list[str], bytes]]:
    """(tags, PNG bytes) of each figure among the cells' outputs."""
    for cell in cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                yield cell.metadata.get("tags", []), base64.b64decode(output.data["image/png"])


def write_figures(cells: Iterable["NotebookNode"], folder: Path) -> int:
    """Write each figure to a PNG of its own; return how many there are."""
    pngs = {f"figure_{i:02d}.png": png for i, (_, png) in enumerate(figures_of(cells), 1)}
    for name, png in pngs.items():
        write_file(folder / name, png)
    for path in folder.glob("figure_*.png"):
        if path.name not in pngs:  # of an earlier run
            path.unlink(missing_ok=True)
    return len(pngs)


def data_line(cells: Iterable["NotebookNode"]) -> str:
    """What the cell tagged `dataset` printed of where its images come from."""
    for cell in cells:
        if "dataset" in cell.metadata.get("tags", []):
            printed = "".join(o.text for o in cell.get("outputs", []) if o.get("name") == "stdout")
            return printed.split(":")[0].strip()
    return ""


def take_outputs(executed: Path, notebook: Path) -> None:
    """Put the outputs of an executed copy into the notebook, its thumbnail into images/.

    Widgets are left out: without their kernel a page would show "model not found" in place of
    the picture that is saved with them.
    """
    import nbformat

    source, run = nbformat.read(notebook, 4), nbformat.read(executed, 4)
    outputs = {cell.id: cell for cell in run.cells if cell.cell_type == "code"}
    for cell in source.cells:
        if cell.cell_type == "code":
            cell.outputs = outputs[cell.id].outputs
            cell.execution_count = outputs[cell.id].execution_count
            for output in cell.outputs:
                output.get("data", {}).pop(WIDGET_VIEW, None)
    source.metadata.pop("widgets", None)
    for tags, png in figures_of(source.cells):
        if "thumbnail" in tags:
            write_file(IMAGES / f"{notebook.stem}.png", png)
    write_file(notebook, (nbformat.writes(source) + "\n").encode())
