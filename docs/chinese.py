"""Pages in Traditional Chinese: their language for the browser, and the chapters of the course.

A Sphinx extension, which runs after ``course_notebooks``. ``course/zh/N_name.md`` holds the markdown cells of a chapter
in Chinese, in order, between lines ``<!-- cell -->``. Code, outputs and figures are those of the executed notebook in
English: nothing is executed twice. ``python docs/chinese.py`` does the same without Sphinx.
"""

import re
import sys

import course_notebooks
import nbformat

LANGUAGE = "zh-Hant-TW"
TEXTS = course_notebooks.SCRIPTS / "zh"
EXECUTED = course_notebooks.EXECUTED / "zh"  # to download
PAGES = course_notebooks.PAGES / "zh"
BETWEEN = "\n<!-- cell -->\n"


def translated():
    """Return the scripts of the chapters that have a translation, in order."""
    return [script for script in course_notebooks.scripts() if text_of(script).exists()]


def text_of(script):
    """Return where the translation of a chapter lies."""
    return TEXTS / f"{script.stem}.md"


def translate(notebook, script):
    """Return a copy of a chapter with its markdown cells in Chinese; raises RuntimeError where their number differs."""
    sources = [source.strip() for source in text_of(script).read_text(encoding="utf-8").split(BETWEEN)]
    notebook = nbformat.from_dict(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    if len(sources) != len(cells):
        raise RuntimeError(
            f"course/zh/{script.stem}.md has {len(sources)} cells between lines <!-- cell -->; "
            f"course/{script.name} has {len(cells)} markdown cells, and each needs its translation"
        )
    for cell, source in zip(cells, sources, strict=True):
        cell.source = source
    notebook.metadata["mystnb"] = {"code_prompt_show": "顯示解答", "code_prompt_hide": "收合解答"}
    return notebook


def page_of(script, notebook):
    """Return a translated notebook with links to the English page, to itself and to its script under the title."""
    links = (
        f"{{doc}}`English <../{script.stem}>` · "
        f"{{download}}`下載含圖的筆記本 <../../_build/course/zh/{script.stem}.ipynb>` · "
        f"{{download}}`下載 Python 程式 <../../../course/{script.name}>`"
    )
    return course_notebooks.with_links(notebook, links)


def build(app=None):
    """Write the translated chapters from those that ``course_notebooks`` has executed."""
    for folder in (EXECUTED, PAGES):
        folder.mkdir(parents=True, exist_ok=True)
        for old in {*folder.glob("*.ipynb")} - {folder / f"{script.stem}.ipynb" for script in translated()}:
            old.unlink()
    for script in translated():
        executed = nbformat.read(course_notebooks.EXECUTED / f"{script.stem}.ipynb", as_version=4)
        notebook = translate(executed, script)
        course_notebooks.write_if_changed(EXECUTED / f"{script.stem}.ipynb", notebook)
        course_notebooks.write_if_changed(PAGES / f"{script.stem}.ipynb", page_of(script, notebook))


def name_the_language(app, page, template, context, doctree):
    """Let the browser choose fonts, and a screen reader its voice, for the Chinese pages."""
    if re.match(r"(course/)?zh/", page):
        context["language"] = LANGUAGE


def setup(app):
    """Translate the chapters once they are executed, before Sphinx looks for pages."""
    app.connect("builder-inited", build, priority=600)
    app.connect("html-page-context", name_the_language)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    course_notebooks.build()
    sys.exit(build())
