"""Extras: what the code says of them is what ``pyproject.toml`` says, and the command that installs one works."""

import json
import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from types import SimpleNamespace

import pytest

import pnbx_extras
from pnbx_extras import EXTRAS, install, missing

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
SOURCES = [
    path for room in ("neuromorphic", "pnbx_*", "studies", "examples", "course") for path in REPOSITORY.glob(room)
]
PYTHON = [path for source in SOURCES for path in (source.rglob("*.py") if source.is_dir() else [source])]
PAGES = [REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md"), *REPOSITORY.glob("pnbx_snn/configs/*.toml")]
GROUPS = {"all", "test", "lint", "bench", "docs"}
"""Extras for those who develop, and the one for those who want everything: no message names them."""


def names(requirements):
    """Return the distributions of requirements, as PEP 503 writes them."""
    return {re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", text).group()).lower() for text in requirements}


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_modules_of_an_extra_are_those_of_its_distributions(extra):
    owners = packages_distributions()
    owned = {name for module in EXTRAS[extra] for name in names(owners[module])}
    assert owned == names(PROJECT["optional-dependencies"][extra])


def test_every_extra_is_known():
    assert set(PROJECT["optional-dependencies"]) == set(EXTRAS) | GROUPS


def test_commands_that_install_an_extra_are_the_ones_that_work():
    """PNB-X is on no index: its bare name installs nothing. Code asks ``pnbx_extras.install``, pages name the clone."""
    wrong = []
    for path in [*PYTHON, *PAGES]:
        for named in re.findall(r"pnbx[-_]snn\[[a-z,]+\]|(?:'\.|whl)\[[a-z,]+\]", path.read_text()):
            of_a_page = not named.startswith("pnbx") and path.suffix != ".py"
            if not of_a_page or not set(re.findall("[a-z]+", named.split("[")[1])) <= {*EXTRAS, *GROUPS}:
                wrong.append((path.name, named))
    assert len(PYTHON) > 300
    assert len(PAGES) > 30
    assert wrong == []


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Return a function that says where pip installed the distribution from."""
    monkeypatch.setattr(pnbx_extras, "__file__", str(tmp_path / "pnbx_extras.py"))

    def of(record):
        text = None if record is None else json.dumps(record)
        monkeypatch.setattr(pnbx_extras, "distribution", lambda _: SimpleNamespace(read_text=lambda _: text))

    return of


def test_in_a_clone_the_clone_is_named():
    assert install("onnx") == f"pip install -e '{REPOSITORY}[onnx]'"


@pytest.mark.parametrize(
    ("record", "command"),
    [
        ({"url": "file:///my%20files/pnbx_snn-0.1.0-py3-none-any.whl", "archive_info": {}},
         "pip install '/my files/pnbx_snn-0.1.0-py3-none-any.whl[nir]'"),
        ({"url": "file:///home/me/pnbx", "dir_info": {}}, "pip install '/home/me/pnbx[nir]'"),
        ({"url": "https://host/x.git", "vcs_info": {"vcs": "git", "commit_id": "1"}},
         "pip install 'pnbx-snn[nir] @ git+https://host/x.git'"),
        ({"url": "https://host/pnbx_snn-0.1.0-py3-none-any.whl", "archive_info": {}},
         "pip install 'pnbx-snn[nir] @ https://host/pnbx_snn-0.1.0-py3-none-any.whl'"),
        (None, "pip install 'pnbx-snn[nir]'"),
    ],
)  # fmt: skip
def test_elsewhere_it_is_what_pip_recorded(installed, record, command):
    installed(record)
    assert install("nir") == command


def test_what_is_missing_is_named_with_the_command(monkeypatch):
    monkeypatch.setattr(pnbx_extras, "find_spec", lambda name: None if name == "openvino" else name)
    assert missing("onnx", "the export") == f"the export needs openvino, which is not installed: {install('onnx')}"
    assert missing("nir", "NIR") == ""


def test_an_unknown_extra_is_refused():
    with pytest.raises(
        ValueError, match="extra must be one of train, plot, onnx, nir, events, queue, search, gpu, got 'tain'"
    ):
        install("tain")
