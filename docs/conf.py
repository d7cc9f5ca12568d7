"""Sphinx configuration; build with `make docs`, where warnings are errors."""

import os
import shutil
import sys
import warnings
from importlib import import_module, metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # example_arguments, rooms
sys.path.insert(1, str(Path(__file__).parents[1]))  # studies, which is not installed

# norse and snntorch decorate with torch.jit, which torch deprecates: their import, not ours to mend.
warnings.filterwarnings("ignore", message="`torch.jit.*", category=DeprecationWarning)
os.environ.setdefault("MPLBACKEND", "Agg")

project = "PNB-X"
author = "The PNB-X authors"
copyright = "The PNB-X authors"
version = release = metadata.version("pnbx-snn")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
    "course_notebooks",
    "plots_example",
]
nb_execution_mode = "off"  # course_notebooks executes the chapters
nb_merge_streams = True
nb_code_prompt_show = "Show the answer"
nb_code_prompt_hide = "Hide the answer"
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "PNB-X"
exclude_patterns = ["_build", "performance/tables.md", "performance/convolutions/*.md", "analysis/*.md"]
exclude_patterns += ["gallery/*.ipynb", "gallery/*.py", "gallery/*.md5"]

templates_path = ["_templates"]
exclude_patterns += ["_templates"]
_rooms = import_module("rooms")
autosummary_context = {"rooms": dict(_rooms.rooms(*_rooms.PACKAGES))}
shutil.rmtree(Path(__file__).with_name("api"), ignore_errors=True)  # pages that name modules which have moved since
toc_object_entries = False  # thousands of them in the navigation of every page took a third of the build
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_inherit_docstrings = False
napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_use_ivar = True  # attributes once, not again as members
napoleon_use_rtype = False
napoleon_preprocess_types = False

sphinx_gallery_conf = {
    "reset_argv": "example_arguments.arguments",
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/\d\d_",
    "ignore_pattern": r"^(?!\d\d_)",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "show_memory": False,
    "only_warn_on_example_error": False,
    "matplotlib_animations": False,
}
# Both packages have a LIF and a StorageError; a bare name in a docstring may mean either.
suppress_warnings = ["config.cache", "ref.python"]
