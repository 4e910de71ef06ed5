"""What was handed in, as far as it can be read: repaired where it must be, with remarks."""

import json
import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from assignments.judge import grade_id
from augment_utils.classroom import CLASS_FILE, plain_id, read_class_file

STUDENT_LINE = re.compile(r"^STUDENT\s*=\s*(?:(['\"])(.*?)\1|(\d+))", re.MULTILINE)
LARGEST = 50 << 20  # bytes of a notebook: nobody's own work is larger
# What honest work on these assignments has no use for, and cheats have
UNUSUAL = re.compile(
    r"\b(ast_transformers|input_transformers?\w*|setprofile|settrace|_getframe|ctypes|subprocess"
    r"|socket|gradebook|sys\.modules|gc\.get_\w+|os\.(?:_exit|fork|kill|system|exec\w*)|Popen"
    r"|f_globals|f_back|(?<![\w.])(?:eval|exec)(?=\())|/proc/"
)


class Submission:
    """A notebook that can be run and graded.

    Raises
    ------
    ValueError, OSError
        There is none, or it cannot be read.

    Attributes
    ----------
    notebook : NotebookNode
        With every cell that was released, in its place, and marked.
    answers : {part: str or None}
        Of the parts that a human grades; None where nothing was written.
    remarks : list of str
    """

    def __init__(self, folder: Path, released: NotebookNode, student: str, our_class: Path) -> None:
        file, self.remarks = _find_notebook(folder)
        if file.stat().st_size > LARGEST:
            raise ValueError(f"{file.name} has {file.stat().st_size >> 20} MB")
        try:
            self.notebook = _plain(file.read_bytes().decode("utf-8-sig"))
            self.remarks += restore_cells(self.notebook, released)
        except Exception as error:  # whatever JSON, its schema or a notebook's strange parts raise
            raise ValueError(f"{file.name} is no readable notebook: {error!r:.80}") from error
        self.answers = _take_answers(self.notebook, released)
        self.remarks += _claims(self.notebook, student, folder / CLASS_FILE, our_class)
        self.remarks += _unusual(self.notebook)


def same_id(one: str, other: str) -> bool:
    """Whether two ids mean the same student."""
    return plain_id(one) == plain_id(other)


def notebooks_in(place: Path) -> list[Path]:
    """The notebooks in a folder, or the one that a file is; without what systems leave there."""
    found = sorted(place.rglob("*")) if place.is_dir() else [place]
    found = [path for path in found if path.suffix.lower() == ".ipynb" and path.is_file()]
    found = [path for path in found if not (path.is_symlink() or path.name.startswith("._"))]
    return [path for path in found if not {".ipynb_checkpoints", "__MACOSX"} & set(path.parts)]


def _find_notebook(folder):
    """The notebook that is meant, and a remark if it has another name."""
    name, found = folder.name, notebooks_in(folder)
    if folder / f"{name}.ipynb" in found:
        return folder / f"{name}.ipynb", []
    if len(found) != 1:
        raise ValueError(f"expected {name}.ipynb, found {len(found)} notebooks of other names")
    return found[0], [f"handed in as {found[0].name}"]


def _plain(text):
    """The notebook with nothing in it but its cells' sources and their marks."""
    content = json.loads(text)
    if content["nbformat"] < 4:
        content = nbformat.reads(text, 4)
    nb = nbformat.v4.new_notebook()
    for cell in content["cells"]:
        code = cell["cell_type"] == "code"
        new = nbformat.v4.new_code_cell if code else nbformat.v4.new_markdown_cell
        source = "".join(cell["source"])
        nb.cells.append(new(source.replace("\r\n", "\n").replace("\r", "\n")))
        nb.cells[-1].id = str(cell.get("id", ""))
        mark = (cell.get("metadata") or {}).get("nbgrader")
        if isinstance(mark, dict) and isinstance(mark.get("grade_id"), str):
            nb.cells[-1].metadata.nbgrader = NotebookNode(mark)
    return nb


def restore_cells(nb: NotebookNode, released: NotebookNode) -> list[str]:
    """Give cells back what marks them, and the notebook the cells it has lost; and remark it.

    A cell that was split or copied is marked once, where it begins; what JupyterLab marked besides
    is the student's own. A written answer that was split is put together again.
    """
    remarks, place, lost_marks = [], 0, 0
    once: set[int] = set()  # the cells that are placed
    for cell in released.cells:
        if "nbgrader" not in cell.metadata:
            continue
        found = _find(cell, nb.cells, place, once)
        mark = grade_id(cell)
        if found is None:
            nb.cells.insert(place, nbformat.from_dict(cell))
            remarks.append(f"{mark} was deleted, and put back")
            once.add(id(nb.cells[place]))
            place += 1
            continue
        place = found + 1
        own = nb.cells[found]
        lost_marks += grade_id(own) != mark
        for more in nb.cells[place:]:
            if grade_id(more) == mark:
                if cell.cell_type == "markdown" and not cell.metadata.nbgrader.locked:
                    own.source += f"\n\n{more.source}"
                    more.source = ""
                more.metadata = NotebookNode()
        if own.cell_type != cell.cell_type:
            own = nb.cells[found] = nbformat.from_dict({**cell, "source": own.source})
        own.metadata = nbformat.from_dict(cell.metadata)
        if cell.metadata.nbgrader.locked and own.source.strip() != cell.source.strip():
            own.source = cell.source
            remarks.append(f"{mark} was edited; the original is used")
        once.add(id(own))
    for own in nb.cells:
        if id(own) not in once:
            own.metadata = NotebookNode()
    nb.cells = [cell for cell in nb.cells if cell.source or id(cell) in once]
    used: set[str] = set()
    for number, own in enumerate(nb.cells):
        if own.id in used or not re.fullmatch(r"[\w-]{1,64}", own.id, re.ASCII):
            own.id = f"cell-{number}"
        used.add(own.id)
    if lost_marks:
        remarks.append(f"{lost_marks} cells had lost their marks, and got them back")
    return remarks


def _find(cell, cells, place, taken):
    """Where a released cell is: by its mark, else its id, else its first line, else its place."""

    def first_line(one):
        return one.source.strip().partition("\n")[0]

    alike = (
        lambda at, one: grade_id(one) == grade_id(cell),
        lambda at, one: one.get("id") == cell.id,
        lambda at, one: first_line(one) == first_line(cell) != "",
        lambda at, one: (
            at == place
            and not (grade_id(one) or cell.metadata.nbgrader.locked)
            and one.cell_type == cell.cell_type
        ),
    )
    for is_alike in alike:
        for at, one in enumerate(cells):
            if id(one) not in taken and is_alike(at, one):
                return at
    return None


def _take_answers(nb, released):
    """The written answers; one that stands below its cell counts, too."""
    empty = {grade_id(cell): cell.source.strip() for cell in released.cells}
    answers = {}
    for at, cell in enumerate(nb.cells):
        mark = cell.metadata.get("nbgrader", {})
        if not (mark.get("grade") and mark.get("solution")):
            continue
        texts = [cell.source.strip()]
        for below in nb.cells[at + 1 :]:
            if below.cell_type != "markdown" or grade_id(below):
                break
            texts.append(below.source.strip())
        written = [text for text in texts if text and text != empty[mark.grade_id]]
        answers[mark.grade_id] = "\n\n".join(written) or None
    return answers


def _claims(nb, student, own_class, our_class):
    """Whose the notebook says it is, and of which class."""
    remarks = []
    named = [m[2] or m[3] or "" for cell in nb.cells if (m := STUDENT_LINE.search(cell.source))]
    if not any(same_id(name, student) for name in named):
        remarks.append(f"says STUDENT = {named[-1]!r:.60}" if named else "names no STUDENT")
    try:
        if own_class.exists() and read_class_file(own_class) != read_class_file(our_class):
            remarks.append(f"has the class file of {read_class_file(own_class)}")
    except ValueError:
        remarks.append("has an unreadable class file")
    return remarks


def _unusual(nb):
    found = {
        m[0].strip()
        for cell in nb.cells
        if cell.cell_type == "code" and not cell.metadata.get("nbgrader", {}).get("locked")
        for m in UNUSUAL.finditer(cell.source)
    }
    return [f"look at its use of {', '.join(sorted(found))}"] if found else []


def harmless(nb: NotebookNode) -> NotebookNode:
    """A copy to be shown on a page: HTML and links in a student's text are shown as text.

    The outputs are text and pictures anyway (sandbox.py).
    """
    copy = nbformat.from_dict(nb)
    for cell in copy.cells:
        if cell.cell_type == "markdown" and not cell.metadata.get("nbgrader", {}).get("locked"):
            for mark, text in (("<", "&lt;"), ("](", "] ("), ("]:", "] :"), ("\\href", "href ")):
                cell.source = cell.source.replace(mark, text)
    return copy
