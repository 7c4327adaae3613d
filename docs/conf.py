"""Sphinx settings. The pages are Markdown; the reference comes from the docstrings.

python -m sphinx -W --keep-going docs build/site
"""

import os
import re
import tomllib
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # or JAX looks for others, and says so

import ntm_jax
from train.runs.pretrained import load_run, names
from train.show.play import TASKS, Playable, play_page

DOCS = Path(__file__).parent.resolve()
ROOT = DOCS.parent
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]
_REPOSITORY = _PROJECT["urls"]["Repository"]
# Files of the repository that are pages of the site.
_PAGES = {
    ROOT / "README.md": DOCS / "index.md",
    ROOT / "CHANGELOG.md": DOCS / "changelog.md",
    ROOT / "CONTRIBUTING.md": DOCS / "contributing.md",
}
_MACHINES = "machines.html"
# Matches code, which is left as it is, or the target of a link within the repository.
_CODE_OR_LINK = re.compile(
    r"```.*?```|`[^`\n]*`|(?<=\]\()(?!\w+:)([^)#\s]+)", re.DOTALL
)

project = _PROJECT["name"]
author = _PROJECT["authors"][0]["name"]
copyright = author
version = release = ntm_jax.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
myst_heading_anchors = 3
# Text between single backticks is code, in docstrings as in Markdown.
default_role = "code"
autodoc_typehints = "none"  # the docstrings have the shapes, which say more
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
autodoc_default_options = {"exclude-members": "replace"}  # every Flax pytree has it
maximum_signature_line_length = 70
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False


def lead(text: str, folder: Path, page: Path) -> str:
    """Returns the text of a file in `folder`, with links that work from `page`.

    A link to a page of the site stays within the site. A link to another file of the
    repository, such as a notebook, leads to the published repository.
    """

    def target(match: re.Match[str]) -> str:
        if not match[1]:
            return match[0]
        path = (folder / match[1]).resolve()
        path = _PAGES.get(path, path)
        if path.is_relative_to(DOCS):
            return os.path.relpath(path, page.parent)
        return f"{_REPOSITORY}/blob/main/{path.relative_to(ROOT)}"

    return _CODE_OR_LINK.sub(target, text)


def write_machines(app, failure: Exception | None) -> None:
    """Writes the page that runs all trained machines."""
    if failure is None and app.builder.format == "html":
        machines = [Playable(name, *load_run(name)[:2], sizes={}) for name in names()]
        machines = [each for each in machines if each.config.task in TASKS]
        page = Path(app.outdir, _MACHINES)
        page.write_text(play_page(machines), encoding="utf-8")


def setup(app) -> None:
    """Rewrites the links of every page and of every file that a page includes.

    The site has a page of its own with all trained machines, to which `play.md` leads.
    """

    def of_page(app, name: str, source: list[str]) -> None:
        page = Path(app.env.doc2path(name))
        source[0] = lead(source[0], page.parent, page)
        if app.builder.format == "html":
            link = f'<p><a href="{_MACHINES}">Run all trained machines here</a></p>'
            source[0] = source[0].replace("<!-- machines -->", link)

    def of_included(app, path: Path, name: str, source: list[str]) -> None:
        file = DOCS / path
        source[0] = lead(source[0], file.parent, Path(app.env.doc2path(name)))

    app.connect("source-read", of_page)
    app.connect("include-read", of_included)
    app.connect("build-finished", write_machines)
