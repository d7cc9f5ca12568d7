"""Find a Python that has lava-nc, or make one.

lava-nc 0.10.0 is published for Python 3.10 only and wants an older NumPy than a current environment has, so it lives in
an environment of its own. Where no Python 3.10 is to be had, the present Python does, with the import shim.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from neuromorphic.errors import LavaNotFoundError
from neuromorphic.executors.entry import Finding

ENVIRONMENT_VARIABLE = "PNBX_LAVA_PYTHON"
WORKER = Path(__file__).resolve().parent / "worker" / "worker.py"
STAMP = "pnbx-lava.json"
PROBE_LIMIT_S = 60.0
_LAVA = "lava-nc==0.10.0"
# Exact, so that every set-up gives the same environment. Lava's metadata also asks for scikit-learn, which it never
# imports.
_PINS_310 = (_LAVA, "numpy==1.26.4", "scipy==1.15.3", "networkx==2.8.7", "asteval==0.9.33", "greenlet==3.5.6")
_NEEDS_LATER = ("numpy", "scipy", "networkx", "asteval", "greenlet")
_BASE_CHECK = """
import ensurepip, platform, sys, venv
if sys.version_info < (3, 10):
    sys.exit("is Python " + platform.python_version() + ", 3.10 or newer is needed")
print(platform.python_version())
"""
_EXPLICIT = "the interpreter asked for"


@dataclass(frozen=True)
class LavaPython:
    """A Python in which Lava imports.

    ``source`` says how it was found, ``shim`` whether it is newer than 3.10 and needs the import shim.
    """

    path: Path
    python_version: str
    lava_version: str
    numpy_version: str
    source: str
    shim: bool

    def describe(self) -> str:
        """Return its versions in one line."""
        shim = ", with the import shim" if self.shim else ""
        return f"Python {self.python_version}, lava-nc {self.lava_version}, NumPy {self.numpy_version}{shim}"


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what would let one Python see another's packages."""
    dropped = ("PYTHON", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__", "CONDA_PREFIX")
    return {name: value for name, value in os.environ.items() if not name.startswith(dropped)}


def _output(command: list[str], limit_s: float) -> tuple[str | None, str]:
    """Run a short command; return its standard output and ``""``, or ``None`` and why not."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",  # what a Python that is none prints
            timeout=limit_s,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return None, f"gave no answer within {limit_s:g} s"
    except OSError as error:
        return None, f"cannot be run ({error.strerror or error})"
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return None, f"says {lines[-1].strip()!r}" if lines else f"ended with status {done.returncode}"
    return done.stdout, ""


def _probe(path: Path, source: str) -> LavaPython | str:
    """Import Lava there, as the worker will; return what it is, or why it is of no use."""
    if not path.exists():
        return "does not exist"
    text, problem = _output([str(path), str(WORKER), "probe"], PROBE_LIMIT_S)
    if text is None:
        return problem
    try:
        found = json.loads(text.splitlines()[-1])
        python, lava, numpy = (str(found[name]) for name in ("python", "lava", "numpy"))
        return LavaPython(path, python, lava, numpy, source, bool(found["shim"]))
    except (ValueError, IndexError, KeyError, TypeError):
        return f"gave an unexpected answer: {text.strip()[-200:]!r}"


def environment_folders() -> list[tuple[str, Path]]:
    """Return where a Lava environment of ours may be, the place where one is made first."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pnbx-snn" / "lava-env"
    beside = [("environment beside this one", Path(sys.prefix) / "lava-env")]
    return (beside if sys.prefix != sys.base_prefix else []) + [("environment in the cache folder", cache)]


def pythons(version: str) -> Iterator[tuple[str, Path]]:
    """Yield where a Python of a version such as ``"3.10"`` may be, and what is there, whether it works or not."""
    on_path = shutil.which(f"python{version}")
    if on_path:
        yield f"python{version} on PATH", Path(on_path)
    root = os.environ.get("PYENV_ROOT") or (shutil.which("pyenv") and _output(["pyenv", "root"], 10.0)[0])
    if root:
        for folder in sorted(Path(root.strip()).glob(f"versions/{version}*"), reverse=True):
            yield "pyenv", folder / "bin" / "python"
    if shutil.which("uv"):
        found, _ = _output(["uv", "python", "find", version], 20.0)
        if found and found.strip():
            yield "uv", Path(found.strip())


def _candidates(explicit: str | os.PathLike[str] | None) -> Iterator[tuple[str, Path, LavaPython | str]]:
    """Yield every place in order, with what was found there."""
    for source, value in ((_EXPLICIT, explicit), (ENVIRONMENT_VARIABLE, os.environ.get(ENVIRONMENT_VARIABLE))):
        if value:
            path = Path(shutil.which(value) or value).absolute()
            yield source, path, _probe(path, source)
    for source, folder in environment_folders():
        path = folder / "bin" / "python"
        unfinished = path.exists() and not (folder / STAMP).exists()
        yield source, path, "has an unfinished set-up" if unfinished else _probe(path, source)
    for source, path in (("the present Python", Path(sys.executable)), *pythons("3.10")):
        yield source, path, _probe(path, source)


def find_lava_python(explicit: str | os.PathLike[str] | None = None) -> LavaPython:
    """Find a Python in which Lava imports.

    Looked at, in this order: ``explicit``; the environment variable ``PNBX_LAVA_PYTHON``; ``lava-env`` inside the
    present virtual environment; ``pnbx-snn/lava-env`` in the user's cache folder; the present Python; ``python3.10`` on
    PATH; pyenv's and uv's 3.10. Each is tried by importing Lava in it.

    Parameters
    ----------
    explicit : str or PathLike, optional
        A Python interpreter to use and no other.

    Returns
    -------
    LavaPython
        The first that works.

    Raises
    ------
    LavaNotFoundError
        When ``explicit`` or the environment variable names one that does not work, or none works; the message lists
        everything tried.

    Examples
    --------
    >>> find_lava_python("/nowhere/python")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    neuromorphic.errors.LavaNotFoundError: the interpreter asked for is /nowhere/python, ... it does not exist
    """
    tried = []
    for source, path, found in _candidates(explicit):
        if isinstance(found, LavaPython):
            return found
        if source in (_EXPLICIT, ENVIRONMENT_VARIABLE):
            raise LavaNotFoundError(f"{source} is {path}, and Lava cannot be used there: it {found}")
        tried.append(f"  {source}, {path}: it {found}")
    raise LavaNotFoundError(
        "no Python with lava-nc was found. Tried:\n"
        + "\n".join(tried)
        + f"\nMake one with `neuromorphic setup-lava`, or name one in the environment variable {ENVIRONMENT_VARIABLE}."
    )


def doctor() -> list[Finding]:
    """Look everywhere :func:`find_lava_python` looks, and say what is there and what :func:`setup_lava` would use.

    Returns
    -------
    list of Finding
        Interpreters in the order of preference, of which the first usable one is in use; last, the Python that
        ``setup-lava`` would build an environment on.
    """
    findings = []
    for source, path, found in _candidates(None):
        detail = found.describe() if isinstance(found, LavaPython) else f"it {found}"
        findings.append(Finding(source, path, isinstance(found, LavaPython), detail))
    try:
        base = _find_base(None)
    except LavaNotFoundError as error:
        return [*findings, Finding("setup-lava would build on", None, False, str(error))]
    shim = "" if base.version.startswith("3.10.") else ", with the import shim"
    detail = f"Python {base.version} ({base.source}){shim}"
    return [*findings, Finding("setup-lava would build on", base.path, False, detail)]


@dataclass(frozen=True)
class _Base:
    """A Python that can make virtual environments."""

    path: Path
    version: str
    source: str


def _find_base(explicit: str | os.PathLike[str] | None) -> _Base:
    """Find a working Python 3.10 to build on, or failing that the present Python."""
    chosen = [(_EXPLICIT, Path(shutil.which(explicit) or explicit).absolute())] if explicit else list(pythons("3.10"))
    tried = []
    for source, path in [*chosen, *([] if explicit else [("the present Python", Path(sys.executable))])]:
        version, problem = _output([str(path), "-c", _BASE_CHECK], 20.0)
        if version is not None:
            return _Base(path, version.strip(), source)
        tried.append(f"  {source}, {path}: it {problem}")
    raise LavaNotFoundError(
        "no Python 3.10 or newer that can make an environment (modules venv and ensurepip) was found. Tried:\n"
        + "\n".join(tried)
    )


def _run_step(what: str, command: list[str]) -> None:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=clean_environment()
    )
    if done.returncode != 0:
        last = "\n".join(f"  {line}" for line in done.stdout.splitlines()[-15:])
        raise LavaNotFoundError(f"setup-lava: {what} failed with status {done.returncode}; its last lines:\n{last}")


def setup_lava(
    *,
    target: str | os.PathLike[str] | None = None,
    python: str | os.PathLike[str] | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> LavaPython:
    """Make an environment in which Lava runs, or keep the one that is there and works.

    Builds on Python 3.10 (``python``, PATH, pyenv, uv) with exact versions of everything; where there is none, on the
    present Python with the import shim and current versions. pip reads the user's own configuration. An environment
    counts as made only when Lava has been imported in it: an interrupted set-up is made anew.

    Parameters
    ----------
    target : str or PathLike, optional
        The environment's folder; by default ``lava-env`` inside the present virtual environment, or without one
        ``pnbx-snn/lava-env`` in the user's cache folder.
    python : str or PathLike, optional
        The Python to build on, 3.10 or newer.
    progress : callable
        Called with a line of text for each step.

    Returns
    -------
    LavaPython
        What was made.

    Raises
    ------
    LavaNotFoundError
        When there is no Python to build on, the target is something else than an environment, or a step fails; the
        message ends with the last lines of what failed.
    """
    own = [folder for _, folder in environment_folders()]
    folder = Path(target).absolute() if target is not None else own[0]
    path, stamp = folder / "bin" / "python", folder / STAMP
    if stamp.exists():
        found = _probe(path, "setup-lava")
        if isinstance(found, LavaPython):
            progress(f"{folder} is there and works")
            return found
    if folder.exists() and folder not in own and any(folder.iterdir()) and not (folder / "pyvenv.cfg").exists():
        raise LavaNotFoundError(f"setup-lava: {folder} exists and is not a Python environment; name another target")
    base = _find_base(python)
    progress(f"making {folder} with Python {base.version} ({base.source})")
    stamp.unlink(missing_ok=True)
    _run_step("making the environment", [str(base.path), "-m", "venv", "--clear", str(folder)])
    install = [str(path), "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    if base.version.startswith("3.10."):
        steps = [["--no-deps", *_PINS_310]]
    else:
        steps = [list(_NEEDS_LATER), ["--no-deps", "--ignore-requires-python", _LAVA]]
    for arguments in steps:
        progress("installing " + " ".join(argument for argument in arguments if not argument.startswith("-")))
        _run_step("pip install", [*install, *arguments])
    progress("importing Lava")
    found = _probe(path, "setup-lava")
    if not isinstance(found, LavaPython):
        raise LavaNotFoundError(f"setup-lava: {folder} was made, but Lava cannot be used there: it {found}")
    stamp.write_text(json.dumps({"lava": found.lava_version, "python": found.python_version}) + "\n")
    return found
