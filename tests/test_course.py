"""The course: each chapter ends with three exercises and their answers, uses public names, and becomes a notebook.

The chapters themselves are executed when the documentation is built (docs/course_notebooks.py).
"""

import ast
import importlib
import re
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
SCRIPTS = sorted((REPOSITORY / "course").glob("*.py"))
PACKAGES = ("pnbx_snn", "neuromorphic", "pnbx_plot")

pytest.importorskip("jupytext", reason="the course is built with the extra docs")
pytest.importorskip("nbclient", reason="the course is built with the extra docs")
sys.path.insert(0, str(REPOSITORY / "docs"))
import chinese  # noqa: E402
import course_notebooks  # noqa: E402
from markdown_it import MarkdownIt  # noqa: E402

pytestmark = pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)


def cells_of(script):
    return course_notebooks.notebook_of(script).cells


def test_the_chapters_are_numbered(script):
    assert script.stem[:2] == f"{SCRIPTS.index(script) + 1}_"
    assert len(SCRIPTS) == 6


def test_it_begins_with_a_title_and_what_is_needed(script):
    first = cells_of(script)[0]
    assert first.cell_type == "markdown"
    assert re.match(rf"# {script.stem[0]}\. \S", first.source)
    assert "You need" in "".join(cell.source for cell in cells_of(script)[:2])


def test_no_wrapped_line_becomes_a_list_or_a_heading(script):
    """Markdown reads a line that begins with a number and a dot, or with one of #, -, + and *, as more than text."""
    for cell in cells_of(script):
        if cell.cell_type == "markdown":
            text = re.sub(r"```.*?```|\$\$.*?\$\$", "", cell.source, flags=re.DOTALL)
            for paragraph in re.split(r"\n\s*\n", text):
                first, *others = paragraph.strip().split("\n")
                found = [re.match(r"(\d+[.)]|[-+*])\s", line) for line in (first, *others)]
                starts = [match[1] for match in found if match]
                for line in others:
                    assert not re.match(r"\s*(#+|>|=+$|-+$|[+*]\s)|\s+(\d+[.)]|-)\s", line), line
                    assert found[0] or not re.match(r"\d+[.)]\s|-\s", line), line
                if starts and starts[0] != "-":
                    assert starts == [f"{number}." for number in range(1, len(starts) + 1)], paragraph


def test_it_ends_with_three_exercises_and_folded_answers(script):
    """Task, code of the answer, the answer in words: three times, then the cell that saves figures."""
    cells = cells_of(script)
    begin = next(n for n, cell in enumerate(cells) if cell.source.startswith("## Exercises"))
    *exercises, last = cells[begin:]
    assert last.metadata["tags"] == ["remove-cell"]
    assert f"runs/course/{script.stem}_" in last.source
    assert len(exercises) == 9
    for number in range(3):
        task, code, words = exercises[3 * number : 3 * number + 3]
        assert f"**Exercise {number + 1}.**" in task.source
        assert code.metadata["tags"] == ["hide-cell"]
        assert code.metadata["jupyter"] == {"source_hidden": True, "outputs_hidden": True}
        assert words.source.startswith(f"<details><summary>Answer {number + 1} in words</summary>")
        assert words.source.endswith("</details>")


def test_it_has_enough_to_look_at(script):
    """Figures or printed lines in the text before the exercises, and a paragraph that says what to see."""
    cells = cells_of(script)
    text = cells[: next(n for n, cell in enumerate(cells) if cell.source.startswith("## Exercises"))]
    shows = [cell for cell in text if cell.cell_type == "code" and re.search(r"print\(|plot\.|plt\.", cell.source)]
    assert len(shows) >= 6
    assert sum("**What to see.**" in cell.source for cell in text) >= 4


def test_it_uses_public_names_only(script):
    """No underscore, and every name that is imported from or looked up in our packages exists."""
    aliases, modules = {}, {}
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Import):
            for name in node.names:
                if name.name.split(".")[0] in PACKAGES:
                    aliases[name.asname or name.name] = modules[name.name] = importlib.import_module(name.name)
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in PACKAGES:
            for name in node.names:
                assert not name.name.startswith("_"), name.name
                home = importlib.import_module(node.module)
                found = getattr(home, name.name, None) or importlib.import_module(f"{node.module}.{name.name}")
                aliases[name.asname or name.name] = found
        if isinstance(node, ast.Attribute):
            assert re.match(r"[^_]|__(init|name)__$", node.attr), node.attr
    assert modules, "a chapter imports one of our packages"
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases:
            assert hasattr(aliases[node.value.id], node.attr), f"{node.value.id}.{node.attr}"


def test_it_speaks_of_no_other_chapter_than_there_is(script):
    for number in re.findall(r"[Cc]hapters? (\d)", script.read_text()):
        assert 1 <= int(number) <= len(SCRIPTS)


def test_it_is_on_the_page_of_the_course(script):
    page = (REPOSITORY / "docs" / "course.md").read_text()
    assert f"{{doc}}`course/{script.stem}`" in page
    assert f"\ncourse/{script.stem}\n" in page


def in_chinese(script):
    """Return the markdown cells of a chapter and of its translation."""
    notebook = course_notebooks.notebook_of(script)
    english = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    translated = chinese.translate(notebook, script)
    return english, [cell.source for cell in translated.cells if cell.cell_type == "markdown"]


def test_every_cell_has_its_translation(script):
    """The same headings and their numbers, all names of code, formulas, answers folded in the same cells."""
    for english, translated in zip(*in_chinese(script), strict=True):
        assert re.search(r"[\u4e00-\u9fff]", translated)
        assert skeleton(translated) == skeleton(english), translated
        assert codes_of(translated) >= codes_of(english), translated
        assert "**" not in "".join(texts_of(translated)), f"a ** beside a punctuation mark is not bold: {translated}"


def skeleton(source):
    """Return headings and exercises with their numbers, and where formulas and folds begin and end."""
    exercises = r"^\*\*(?:Exercise|練習) (\d)|<summary>(?:Answer|解答) (\d)|(</?details>)"
    found = re.findall(rf"^(#+) (\d\.)?|^(\$\$)$|{exercises}", source, re.MULTILINE)
    return ["".join(parts) for parts in found]


def texts_of(source):
    """Yield the texts of a cell, without marks of emphasis and code."""
    for block in MarkdownIt().parse(source):
        yield from (token.content for token in block.children or () if token.type == "text")


def codes_of(source):
    """Return what is written as code in a cell, without the line breaks of the text."""
    return {re.sub(r"\s+", " ", code) for code in re.findall(r"`([^`]+)`", source)}


def test_a_translation_with_a_cell_too_few_is_an_error(script, tmp_path, monkeypatch):
    count = len(in_chinese(script)[0])
    short = tmp_path / f"{script.stem}.md"
    short.write_text(chinese.text_of(script).read_text().rpartition(chinese.BETWEEN)[0])
    monkeypatch.setattr(chinese, "TEXTS", tmp_path)
    with pytest.raises(RuntimeError, match=rf"{script.stem}.md has {count - 1} cells.*{script.name} has {count} "):
        chinese.translate(course_notebooks.notebook_of(script), script)


def test_it_is_on_the_chinese_page_of_the_course(script):
    page = (REPOSITORY / "docs" / "zh" / "course.md").read_text()
    assert f"{{doc}}`../course/zh/{script.stem}`" in page
    assert f"\n../course/zh/{script.stem}\n" in page
