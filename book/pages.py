"""What pages of the web edition show of the notebooks: cards, references, code."""

import ast
import re
from collections import defaultdict

import nbformat

from tools import ROOT


def gallery() -> str:
    """A card for each notebook: title, thumbnail, why anyone would care, and how long it takes."""
    cards, total = [], 0
    for path, cells in _notebooks():
        title, _, rest = cells[0].source.removeprefix("# ").partition("\n")
        why = rest.strip().partition("\n\n")[0]
        minutes = int(re.search(r"\*\*Time\*\* about (\d+) minutes", rest)[1])
        total += minutes
        (figure,) = [c for c in cells if "thumbnail" in c.metadata.get("tags", [])]
        alt = next(o.metadata["image/png"]["alt"] for o in figure.outputs if "data" in o)
        cards.append(
            f":::{{grid-item-card}} {title}\n"
            f":link: ../notebooks/{path.stem}\n:link-type: doc\n"
            f":img-top: ../images/{path.stem}.png\n:img-alt: {alt}\n\n"
            f"{why}\n\n**{minutes} minutes**\n:::"
        )
    hours = f"{len(cards)} notebooks, about {round(total / 60)} hours to read and try.\n\n"
    return hours + "::::{grid} 1 1 2 2\n:gutter: 3\n\n" + "\n\n".join(cards) + "\n::::"


def references() -> str:
    """A list of what the notebooks cite, each work once, with the notebooks that cite it."""
    cited = defaultdict(dict)  # {its first link, or else how it begins: {notebook: words}}
    for path, cells in _notebooks():
        section = cells[-1].source.partition("## References\n")[2]
        for item in re.split(r"^- ", section, flags=re.MULTILINE)[1:]:
            words = " ".join(item.split())
            link = re.search(r"\]\((https:[^)]+)\)", words)
            cited[link[1] if link else words[:40]][path.stem] = words
    lines = []
    for works in cited.values():
        where = ", ".join(f"[{stem[:2]}](../notebooks/{stem}.ipynb)" for stem in works)
        lines.append(f"- {min(works.values(), key=len)} In {where}.")
    return "\n".join(sorted(lines))


def without_alt_texts(source: str) -> str:
    """The code with an ellipsis for each string that is given or added to `alt`."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # IPython's own commands
        return source
    texts = []
    for node in ast.walk(tree):
        named = getattr(node, "arg", None) == "alt" or any(
            getattr(target, "id", None) == "alt"
            for target in (*getattr(node, "targets", ()), getattr(node, "target", None))
        )
        if named and isinstance(node.value, ast.Constant | ast.JoinedStr):
            texts.append(node.value)
    code = source.encode()  # in bytes, as a node's place is
    starts = [0, *(match.end() for match in re.finditer(b"\n", code))]
    for text in sorted(texts, key=lambda text: -text.lineno):
        begin = starts[text.lineno - 1] + text.col_offset
        end = starts[text.end_lineno - 1] + text.end_col_offset
        code = code[:begin] + '"…"'.encode() + code[end:]
    return re.sub(r'\(\s*"…"\s*\)', '"…"', code.decode())


def _notebooks():
    return [
        (path, nbformat.read(path, 4).cells)
        for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
    ]
