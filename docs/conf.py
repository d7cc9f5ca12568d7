"""Sphinx configuration; build with `make docs`, where warnings are errors."""

import gc
import os
import sys
import warnings
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # mathml, rooms
sys.path.insert(1, str(Path(__file__).parents[1]))  # studies, which is not installed

# norse and snntorch decorate with torch.jit, which torch deprecates: their import, not ours to mend.
warnings.filterwarnings("ignore", message="`torch.jit.*", category=DeprecationWarning)
gc.set_threshold(100_000)  # trees of millions of nodes, hardly any of which is garbage
os.environ.pop("MPLBACKEND", None)  # with it the notebooks would show no figures; the gallery chooses Agg by itself

project = "PNB-X"
author = "The PNB-X authors"
copyright = "The PNB-X authors"
version = release = metadata.version("pnbx-snn")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "course_notebooks",
    "chinese",
    "plots_example",
    "mathml",
]
nb_execution_mode = "off"  # course_notebooks executes the chapters
nb_merge_streams = True
nb_code_prompt_show = "Show the answer"
nb_code_prompt_hide = "Hide the answer"
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "PNB-X"
# One page of all names would be larger than any other; the search finds them.
html_use_index = html_domain_indices = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
exclude_patterns = [
    "_build",
    "performance/kernels.md",
    "performance/tables.md",
    "performance/convolutions/*.md",
    "analysis/*.md",
    "choices/*.md",
    "scale/*.md",
]
exclude_patterns += ["gallery/*.ipynb", "gallery/*.py", "gallery/*.md5"]

templates_path = ["_templates"]
exclude_patterns += ["_templates"]
_rooms = import_module("rooms")
_shown = dict(_rooms.rooms(*_rooms.PACKAGES))
_pages = _rooms.pages(_shown)
autosummary_context = {"rooms": _shown, "own": _rooms.by_module(_pages)}
_rooms.write(Path(__file__).with_name("api"), _pages, _shown)
toc_object_entries = False  # thousands of them in the navigation of every page took a third of the build
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
copybutton_line_continuation_character = "\\"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_use_type_comments = False  # there are none, and to look for them every function is parsed again
autodoc_inherit_docstrings = False
napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_use_ivar = True  # attributes once, not again as members
napoleon_use_rtype = False
napoleon_preprocess_types = False

sphinx_gallery_conf = {
    # Where only warnings are looked for, examples are not run: tests/test_examples.py runs every one.
    "plot_gallery": "PNBX_FAST_DOCS" not in os.environ,
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/\d\d_",
    "ignore_pattern": r"^(?!\d\d_)",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "parallel": 2,
    "write_computation_times": False,
    "show_memory": False,
    "only_warn_on_example_error": False,
    "matplotlib_animations": False,
}
# Both packages have a LIF and a StorageError; a bare name in a docstring may mean either.
suppress_warnings = ["config.cache", "ref.python"]


def setup(app: Any) -> None:
    """Draw the navigation of pages that are no part of it once a folder: it is the same on hundreds of them."""
    drawn: dict[tuple[str, str], str] = {}

    def navigation(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
        draw = context["toctree"]

        def once(**given: Any) -> str:
            key = page.rpartition("/")[0], str(given)
            drawn[key] = drawn.get(key) or draw(**given)
            return drawn[key]

        if "orphan" in app.env.metadata.get(page, ()):
            context["toctree"] = once

    app.connect("html-page-context", navigation, priority=400)
