"""The scripts in ``course/`` become executed notebooks in ``docs/course/``, which are pages of the documentation.

A Sphinx extension. A chapter is executed again only when its script or a package has changed since. An error in a cell,
or anything that it writes to stderr, ends the build. ``python docs/course_notebooks.py`` does the same without Sphinx.
"""

import hashlib
import logging
import os
import re
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

DOCS = Path(__file__).parent
SCRIPTS = DOCS.parent / "course"
EXECUTED = DOCS / "_build" / "course"  # to download, and what a second build finds
PAGES = DOCS / "course"
PACKAGES = ("pnbx_snn", "neuromorphic", "pnbx_plot")
KEY = "made_from"
logging.getLogger("traitlets").setLevel(logging.WARNING)  # where nbclient says that it begins


def scripts():
    """Return the scripts of the chapters, in order."""
    return sorted(SCRIPTS.glob("[0-9]_*.py"))


def packages_digest():
    """Return a digest of this file and of all source files that a chapter may run."""
    files = [Path(__file__), *(file for name in PACKAGES for file in sorted((DOCS.parent / name).rglob("*.py")))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def notebook_of(script):
    """Return a script as a notebook that was not executed; answers are folded in JupyterLab too."""
    notebook = jupytext.read(script)
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # the same in every build
        if "hide-cell" in cell.metadata.get("tags", []):
            cell.metadata["jupyter"] = {"source_hidden": True, "outputs_hidden": True}
    return notebook


def execute(script, made_from):
    """Return a chapter with its outputs, from the last build where nothing has changed."""
    path = EXECUTED / f"{script.stem}.ipynb"
    if path.exists():
        notebook = nbformat.read(path, as_version=4)
        if notebook.metadata.get(KEY) == made_from:
            return notebook
    notebook = notebook_of(script)
    env = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    env |= {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore:IProgress not found"}  # of tqdm, for want of ipywidgets
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=300,
            iopub_timeout=60,  # of outputs that come after their cell has ended: 4 s lose figures on a busy machine
            resources={"metadata": {"path": folder}},
            extra_arguments=["--IPKernelApp.log_level=ERROR", "--InteractiveShell.ast_node_interactivity=none"],
        )
        try:
            client.execute(env=env)
        except CellExecutionError as error:
            plain = re.sub(r"\x1b\[[\d;]*m", "", str(error))  # without colours
            raise RuntimeError(f"course/{script.name}: a cell failed\n{plain}") from None
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times, which differ from build to build
        outputs = cell.get("outputs", [])
        for output in outputs:
            if output.get("name") == "stderr":
                raise RuntimeError(f"course/{script.name}: a cell wrote to stderr\n{cell.source}\n{output.text}")
        draws = re.search(r"^(?:figure|ax|figure, \w+) = pl", cell.source, re.MULTILINE)
        if cell.cell_type == "code" and draws and not any("image/png" in o.get("data", {}) for o in outputs):
            raise RuntimeError(f"course/{script.name}: a cell draws and shows no figure\n{cell.source}")
    notebook.metadata[KEY] = made_from
    nbformat.write(notebook, path)
    return notebook


def page_of(script, notebook):
    """Return a notebook with links to itself, to its script and to its translation under the title."""
    links = (
        f"{{download}}`Notebook with its figures <../_build/course/{script.stem}.ipynb>` · "
        f"{{download}}`Python script <../../course/{script.name}>`"
    )
    if (SCRIPTS / "zh" / f"{script.stem}.md").exists():
        links += f" · {{doc}}`中文 <zh/{script.stem}>`"
    return with_links(notebook, links)


def with_links(notebook, links):
    """Return a notebook with a line of links under the title."""
    notebook = notebook.copy()
    title, _, rest = notebook.cells[0].source.partition("\n")
    first = nbformat.v4.new_markdown_cell(f"{title}\n\n{links}\n{rest}", id="cell-0")
    notebook.cells = [first, *notebook.cells[1:]]
    return notebook


def write_if_changed(path, notebook):
    """Write a notebook; one that did not change stays as it is, and Sphinx does not read it again."""
    text = nbformat.writes(notebook) + "\n"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def build(app=None):
    """Write the page of every chapter."""
    for folder in (EXECUTED, PAGES):
        folder.mkdir(parents=True, exist_ok=True)
    for old in {*PAGES.glob("*.ipynb")} - {PAGES / f"{script.stem}.ipynb" for script in scripts()}:
        old.unlink()
    packages = packages_digest()
    made_from = [hashlib.sha256(packages.encode() + script.read_bytes()).hexdigest() for script in scripts()]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        notebooks = list(pool.map(execute, scripts(), made_from))
    for script, notebook in zip(scripts(), notebooks, strict=True):
        write_if_changed(PAGES / f"{script.stem}.ipynb", page_of(script, notebook))


def setup(app):
    """Build the chapters before Sphinx looks for pages."""
    app.connect("builder-inited", build)
    return {"parallel_read_safe": True}


if __name__ == "__main__":
    sys.exit(build())
