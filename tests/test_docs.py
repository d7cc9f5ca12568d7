"""What the documentation says about the code is so: names, files, commands, and the pages written from the code."""

import importlib.util
import re
import shlex
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
import typer

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
sys.path.insert(0, str(DOCS))
import numerics_from_ops  # noqa: E402
import rooms  # noqa: E402

import neuromorphic.cli  # noqa: E402
import pnbx_commands  # noqa: E402
import pnbx_snn.cli  # noqa: E402
from neuromorphic.ops import OP_TYPES  # noqa: E402

PAGES = sorted([REPOSITORY / "README.md", *DOCS.glob("*.md"), *DOCS.glob("parts/*.md"), *DOCS.glob("targets/*.md")])
PAGES += sorted(DOCS.glob("zh/*.md"))
PAGES = [page for page in PAGES if page.name != "changelog.md"]
TEXTS = {str(path.relative_to(REPOSITORY)): path.read_text() for path in PAGES}
SCRIPTS = {f"examples/{path.name}": path.read_text() for path in sorted((REPOSITORY / "examples").glob("*.py"))}
pnbx_commands.add_demo()
COMMANDS = {"pnbx-snn": pnbx_snn.cli.app, "neuromorphic": neuromorphic.cli.app}
EXAMPLES = {"studies.NAME": "studies.recall"}
"""What a placeholder in a command may stand for."""


def resolve(dotted):
    """Import the longest module of a dotted name, and look up the rest."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError as error:
            if not ".".join(parts[:length]).startswith(error.name):
                raise
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(dotted)


def names_of(text):
    """Yield the dotted names of our packages, and what is imported from their modules."""
    packages = "|".join(rooms.PACKAGES)
    for name in re.findall(rf"(?<![\w./-])((?:{packages})(?:\.[A-Za-z_]\w*)+)", text):
        if not name.endswith((".toml", ".md", ".py")):
            yield name
    for module, names in re.findall(rf"from ((?:{packages})[\w.]*) import ([\w, ]+)", text):
        yield from (f"{module}.{name.split(' as ')[0].strip()}" for name in names.split(","))


def commands_of(text):
    """Yield the words of every command line that is shown, without its comment."""
    joined = re.sub(r"\\\n\s*", "", text)
    for line in re.findall(r"^\$ (.*)$", joined, re.MULTILINE):
        for command in line.split("&&"):
            yield shlex.split(command, comments=True)
    inline = re.findall(r"`((?:pnbx-snn|neuromorphic|python -m [\w.]+|python [\w/]+\.py)(?: [^`]*)?)`", text)
    yield from (shlex.split(command.replace("\n", " ")) for command in inline)


@pytest.mark.parametrize("page", [*TEXTS, *SCRIPTS])
def test_every_dotted_name_exists(page):
    text = TEXTS.get(page) or SCRIPTS[page]
    for name in sorted(set(names_of(text))):
        if not name.startswith(rooms.UNSEEN) and name not in EXAMPLES:
            resolve(name)


@pytest.mark.parametrize("page", TEXTS)
def test_every_file_exists(page):
    text = TEXTS[page]
    folders = "pnbx_snn|neuromorphic|studies|examples|tests|docs"
    for name in re.findall(rf"(?<![\w./-])((?:{folders})/[\w/.-]*\w\.(?:py|md|toml|json|sbatch))", text):
        assert (REPOSITORY / name).exists(), name
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        here = (REPOSITORY / page).parent
        built = target.startswith("../gallery") or target in ("api", "performance")
        assert built or any((here / f"{target}{end}").exists() for end in ("", ".md")), target


@pytest.mark.parametrize("page", TEXTS)
def test_every_command_exists(page):
    for command in commands_of(TEXTS[page]):
        words = [EXAMPLES.get(word, word) for word in command]
        program, *rest = words or ["make"]
        if program in COMMANDS:
            check_options(program, rest)
        elif program == "make" and rest:
            assert f"\n{rest[0]}:" in (REPOSITORY / "Makefile").read_text(), words
        elif program in ("python", "torchrun", "pytest"):
            scripts = [word for word in rest if word.endswith(".py")]
            modules = [after for word, after in pairwise(rest) if word == "-m"]
            assert all((REPOSITORY / script).exists() for script in scripts), words
            assert all(importlib.util.find_spec(module) for module in modules), words
            if modules == ["studies.rivals"]:
                check_options("pnbx-snn", rest[2:])


def check_options(program, words):
    """Refuse a command that the program does not have, and options that the command does not have."""
    group = typer.main.get_command(COMMANDS[program])
    if not words or words[0].startswith("-"):
        return
    assert words[0] in group.commands, f"{program} {words[0]}"
    known = {name for option in group.commands[words[0]].params for name in (*option.opts, *option.secondary_opts)}
    for word in words[1:]:
        if re.match("--?[a-z]", word):
            assert word.split("=")[0] in known | {"--help"}, f"{program} {words[0]} {word}"


def test_numerics_is_written_from_the_operations():
    """Otherwise: ``python docs/numerics_from_ops.py``."""
    text = numerics_from_ops.PAGE.read_text()
    assert numerics_from_ops.page(text) == text
    for name in OP_TYPES:
        assert f"### {name}\n" in text


def test_every_module_is_on_a_page_of_the_api():
    shown = dict(rooms.rooms(*rooms.PACKAGES))
    modules = {module for room in shown.values() for module in room.modules} | set(shown)
    for package in rooms.PACKAGES:
        for path in (REPOSITORY / package).rglob("*.py"):
            name = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
            assert name in modules or name.startswith(rooms.UNSEEN) or name.endswith("__main__"), name
    assert "pnbx_snn.neurons.lif.LIF" in shown["pnbx_snn"].exports.values()
    assert "neuromorphic.executors.native.NativeNetwork" in shown["neuromorphic.executors.native"].exports.values()


@pytest.mark.parametrize(
    ("page", "chinese"), [("README.md", "docs/zh/README.md"), ("docs/course.md", "docs/zh/course.md")]
)
def test_the_chinese_page_shows_the_same_code(page, chinese):
    """All commands and all Python, comments aside: so they need not run a second time."""
    assert code_of(TEXTS[page]) == code_of(TEXTS[chinese])


def code_of(text):
    """Return the language and the lines of every fenced block but toctrees, without comments."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(language, re.sub(r"\s*#.*", "", lines)) for language, lines in blocks]


@pytest.mark.parametrize(
    "page", [*DOCS.glob("zh/*.md"), *REPOSITORY.glob("course/zh/*.md")], ids=lambda page: page.name
)
def test_a_chinese_page_is_in_traditional_characters(page):
    """Big5, the encoding of Taiwan, lacks most simplified ones. A line break inside a sentence would become a blank."""
    for character in set(re.findall(r"[\u4e00-\u9fff]", page.read_text())):
        assert character.encode("big5", errors="ignore"), character
    assert not re.search(r"[\u3000-\u303f\u4e00-\u9fff，；：]\n[\u4e00-\u9fff]", page.read_text())


def test_the_citation_is_of_this_version():
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    assert f"\nversion: {version}\n" in (REPOSITORY / "CITATION.cff").read_text()
