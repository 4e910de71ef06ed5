"""Execute the notebooks, and take their outputs in: `python -m tools.notebooks`."""

import base64
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tools import ROOT
from tools.commands import Stoppable, align, look_for_images_once, plain_errors, start
from tools.files import make_writable, write_file

if TYPE_CHECKING:  # slow to import
    from nbformat import NotebookNode

NOTEBOOKS = ROOT / "notebooks"
IMAGES = ROOT / "images"
CELL_TIMEOUT = 600  # seconds
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


@click.command(cls=Stoppable, context_settings={"help_option_names": ["-h", "--help"]})
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
def main(notebooks, output_dir, refresh, tier):
    """Execute NOTEBOOKS (default: all, in order) with papermill.

    A notebook that fails does not stop the others; the exit status is 1 then.
    """
    if refresh and tier:
        raise click.UsageError("--refresh takes the outputs of the tier that is written, no other")
    notebooks = notebooks or sorted(NOTEBOOKS.glob("*.ipynb"))
    with plain_errors():
        make_writable(output_dir)
    look_for_images_once()
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
                copy_outputs(output_dir / notebook.name, notebook)


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

    from tools.kernels import private_kernels

    try:
        with private_kernels() as settings:
            papermill.execute_notebook(
                notebook,
                output,
                parameters={"TIER": tier} if tier and has_parameters(notebook) else None,
                kernel_name="python3",
                cwd=notebook.parent,
                progress_bar={"desc": notebook.stem, "unit": "cell"},
                execution_timeout=CELL_TIMEOUT,
                coalesce_streams=True,  # one output for what one cell prints, however slowly
                config=settings,
            )
    except papermill.PapermillExecutionError as failed:
        return f"cell {failed.exec_count}: {failed.ename}: {failed.evalue}"
    except Exception as failed:  # a dead kernel, a timeout, a file that is no notebook
        return f"{type(failed).__name__}: {failed}"
    return None


def has_parameters(notebook: Path) -> bool:
    """Whether it has a cell that papermill's parameters replace."""
    import papermill

    return bool(papermill.inspect_notebook(notebook))


def format_table(rows: Iterable[dict]) -> str:
    """The rows as text, a line each under a header."""
    columns = ("notebook", "seconds", "figures", "data")
    return align([columns, *([str(row[column]) for column in columns] for row in rows)], "<>><")


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


def copy_outputs(executed: Path, notebook: Path) -> None:
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


if __name__ == "__main__":
    start(main, "tools.notebooks")
