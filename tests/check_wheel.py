"""Build the wheel from the source distribution, look into it, and try it under every Python that is here.

    python tests/check_wheel.py                             # the base install, on each of 3.11, 3.12, 3.13 found
    python tests/check_wheel.py --pythons 3.11
    python tests/check_wheel.py --pythons 3.11 --train 3.11 # the extra [train] too, where torch is to be had

Pythons are looked for on PATH, in pyenv and with uv. Environments and what was built lie in ``build/wheel``.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
import tomllib
import zipfile
from pathlib import Path

from neuromorphic.executors.lava.environment import clean_environment, pythons

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = REPOSITORY / "build" / "wheel"
VERSIONS = ("3.11", "3.12", "3.13")
NOT_SHIPPED = {"studies", "tests", "docs", "examples"}
"""Folders of the repository that stay there, packages or not."""


def run(*command, cwd=FOLDER, show=False):
    """Run a command; where it fails, end with what it printed."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, cwd=cwd, env=clean_environment()
    )
    if done.returncode != 0:
        sys.exit(f"error: {' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    if show:
        say(done.stdout.rstrip())
    return done.stdout


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def build():
    """Build both distributions, the wheel from what is in the source distribution; return the wheel."""
    for old in FOLDER.glob("pnbx_snn-*"):
        old.unlink()
    run(sys.executable, "-m", "build", "--outdir", FOLDER, REPOSITORY)
    (wheel,) = FOLDER.glob("*.whl")
    return wheel


def shipped():
    """Return what must be in the wheel: each file of each package, and each module beside them."""
    packages = [path.parent for path in REPOSITORY.glob("*/__init__.py") if path.parent.name not in NOT_SHIPPED]
    files = [path for package in packages for path in package.rglob("*") if path.is_file()]
    modules = REPOSITORY.glob("pnbx_*.py")
    return {str(path.relative_to(REPOSITORY)) for path in [*files, *modules] if "__pycache__" not in path.parts}


def check_contents(wheel):
    """Compare a wheel with the repository, and read its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        info = f"{wheel.name.split('-py3')[0]}.dist-info"
        metadata = archive.read(f"{info}/METADATA").decode()
    found = {name for name in names if not name.startswith(info)}
    expected = shipped()
    if found != expected:
        sys.exit(f"error: {wheel.name} lacks {sorted(expected - found)} and has besides {sorted(found - expected)}")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    needed = {f"Name: {project['name']}", f"Version: {project['version']}", "License-Expression: Apache-2.0"}
    needed |= {f"Provides-Extra: {extra}" for extra in project["optional-dependencies"]}
    lacking = needed - set(metadata.splitlines())
    if lacking or f"{info}/licenses/LICENSE" not in names or f"{info}/entry_points.txt" not in names:
        sys.exit(f"error: {wheel.name}: {lacking or 'no licence or no entry points'} not in {info}")
    say(f"{wheel.name}: {len(names)} files, {wheel.stat().st_size / 1e6:.1f} MB")


def find(version):
    """Return a Python of that version which can make environments, or ``None``."""
    code = "import ensurepip, sys, venv; print('{}.{}'.format(*sys.version_info))"
    for _, path in pythons(version):
        done = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False, env=clean_environment())
        if done.returncode == 0 and done.stdout.strip() == version:
            return path
    return None


def try_wheel(wheel, python, version, extra):
    """Install a wheel into a new environment and run what it is for, outside of the repository."""
    started, name = time.perf_counter(), extra or "base"
    environment = FOLDER / f"{version}-{name}"
    run(python, "-m", "venv", "--clear", environment)
    pip = (environment / "bin" / "python", "-m", "pip", "--disable-pip-version-check")
    run(*pip, "install", "--quiet", "-c", REPOSITORY / "constraints.txt", f"{wheel}[{extra}]" if extra else wheel)
    listed = json.loads(run(*pip, "list", "--format", "json"))
    packages = len({each["name"] for each in listed} - {"pip", "setuptools"})
    size = sum(path.lstat().st_size for path in environment.rglob("*") if path.is_file()) / 1e6
    say(f"Python {version}, {name}: {packages} packages, {size:,.0f} MB, in {time.perf_counter() - started:.0f} s")
    script = "smoke_train.py" if extra else "smoke_run_only.py"
    run(environment / "bin" / "python", REPOSITORY / "tests" / script, show=True)
    shutil.rmtree(environment)


def main():
    """Parse the command line and do all of it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--pythons", nargs="*", default=VERSIONS, help="versions to try; those not found are skipped")
    parser.add_argument("--train", nargs="*", default=(), help="versions on which the extra [train] is tried too")
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    wheel = build()
    check_contents(wheel)
    tried = 0
    for version in dict.fromkeys([*options.pythons, *options.train]):
        python = find(version)
        if python is None:
            say(f"Python {version}: not found here, not tried")
            continue
        for extra in [*([""] if version in options.pythons else []), *(["train"] if version in options.train else [])]:
            try_wheel(wheel, python, version, extra)
            tried += 1
    if not tried:
        sys.exit(f"error: none of Python {', '.join(options.pythons)} was found: nothing was tried")


if __name__ == "__main__":
    main()
