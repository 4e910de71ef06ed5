"""Settings of the web edition, whose pages are the notebooks themselves: `make book`."""

import importlib.metadata
from pathlib import Path

from docutils import nodes
from myst_nb.core.render import NbElementRenderer
from sphinx import addnodes

from book.images import write_scripts
from book.pages import gallery, references, without_alt_texts
from tools.address import public_address

ROOT = Path(__file__).resolve().parents[1]  # which Sphinx reads from, so that links hold in both

project = "Image augmentation and contrast"
author = "The authors of augment_utils"
copyright = "the authors of augment_utils; text and figures CC BY 4.0, code MIT"
release = importlib.metadata.version("augment-utils")
language = "en"

root_doc = "book/index"
include_patterns = [
    *("book/*.md", "notebooks/*.ipynb", "README.zh-CN.md"),
    *("assignments/README.md", "experiments/plan.md", "results/*.md", "CONTRIBUTING.md"),
]
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx-mathjax-offline",
]
nitpick_ignore_regex = [("py:class", ".*")]  # the words in the types of numpydoc

myst_enable_extensions = ["dollarmath", "colon_fence", "substitution", "html_image", "attrs_inline"]
myst_heading_anchors = 4

nb_execution_mode = "off"  # what is committed is what is shown
nb_code_prompt_show = "Show the solution"
nb_code_prompt_hide = "Hide the solution"
nb_mime_priority_overrides = [("html", "image/png", 0)]

copybutton_selector = "div.highlight pre:not(.cell_output pre)"  # what one would run

autodoc_typehints = "none"  # the docstrings say more
napoleon_google_docstring = False

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["static"]
html_css_files = ["book.css", "play.css"]
html_favicon = "static/favicon.svg"
html_extra_path = ["root"]
html_sourcelink_suffix = ""  # so that a notebook is downloaded as one
html_theme_options = {
    "use_download_button": True,
    "use_fullscreen_button": False,
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "navbar_persistent": [],  # the search is in the sidebar
}
if ADDRESS := public_address():  # buttons: repository, source, issue, Colab, Binder
    html_theme_options |= {
        "repository_url": ADDRESS,
        "repository_branch": "main",
        "use_repository_button": True,
        "use_source_button": True,
        "use_issues_button": True,
        "launch_buttons": {
            "colab_url": "https://colab.research.google.com",
            "binderhub_url": "https://mybinder.org",
            "notebook_interface": "jupyterlab",
        },
    }
html_context = {"default_mode": "auto"}  # dark or light as the reader's system is


myst_substitutions = {"gallery": gallery(), "references": references()}


def with_alt_text(render_image):
    """MyST-NB shows a notebook's figure without the alternative text in its metadata."""

    def render(self, data):
        nodes = render_image(self, data)
        nodes[0]["alt"] = data.output_metadata[data.mime_type]["alt"]
        return nodes

    return render


NbElementRenderer.render_image = with_alt_text(NbElementRenderer.render_image)


def move_alt_texts(app, doctree):
    """Out of the code: the figure has them, and they would give away what it is to show."""
    for cell in (n for n in doctree.findall(nodes.container) if "cell_input" in n["classes"]):
        for block in cell.findall(nodes.literal_block):
            block.rawsource = without_alt_texts(block.astext())
            block[:] = [nodes.Text(block.rawsource)]


def adapt_links(app, doctree):
    """To a folder of the repository: none, as it is no page. To the README: to the first page.

    A badge, which is a picture of others, becomes its words: the book asks nothing of others. Any
    other picture leads to itself in full size, for which Sphinx wants a scale, but for a card's.
    """
    for image in list(doctree.findall(nodes.image)):
        if image["uri"].startswith("https:"):
            image.replace_self(nodes.Text(image["alt"]))
        elif "sd-card-img-top" not in image["classes"] and "width" not in image:
            image["scale"] = 100
    for link in list(doctree.findall(addnodes.pending_xref)):
        if link["reftarget"] == "README":
            link["reftarget"] = "book/index"
        elif (Path(doctree["source"]).parent / link["reftarget"]).is_dir():
            link.replace_self(link.children)


def in_its_language(app, page, template, context, doctree):
    """So that a screen reader speaks Chinese where the page does."""
    if page.endswith(".zh-CN"):
        context["language"] = "zh-Hans"


def add_sliders(app, page, template, context, doctree):
    """The scripts of the pages that one plays with."""
    if page in ("book/index", "book/play"):
        for script in ("contrast.js", "play.js", "play/images.js"):
            app.add_js_file(script, priority=400)  # before sphinx-copybutton looks for code


def setup(app):
    app.connect("builder-inited", lambda app: write_scripts(app.outdir / "_static" / "play"))
    app.connect("doctree-read", move_alt_texts)
    app.connect("doctree-read", adapt_links)
    app.connect("html-page-context", add_sliders)
    app.connect("html-page-context", in_its_language)
