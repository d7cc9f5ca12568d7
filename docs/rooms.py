"""The rooms of the packages: for every folder its sub-folders, its modules, and where the names it exports are defined.

The API pages are made of it: the template ``_templates/room.rst`` is the page of a folder, and `write` writes one for
each class and each exported name.
"""

import inspect
from collections import defaultdict
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import NamedTuple

PACKAGES = ("pnbx_snn", "neuromorphic", "pnbx_plot", "studies")
CLOSED = (
    "pnbx_snn.kernels.cpu",
    "pnbx_snn.kernels.triton",
    "neuromorphic.cli",
    "neuromorphic.compiler",
    "neuromorphic.executors.native",
    "studies",
)
"""Folders of which a page shows the exported names, and of their modules only what each is for."""
UNSEEN = ("neuromorphic.executors.lava.worker",)
"""Folders that only a Python with Lava can import."""


class Room(NamedTuple):
    """A folder of a package."""

    rooms: list[str]
    modules: list[str]
    exports: dict[str, str]  # name → where it is documented
    is_open: bool


def rooms(*names: str) -> Iterator[tuple[str, Room]]:
    """Yield every folder of these packages by its dotted name."""
    for name in names:
        package = import_module(name)
        found = [(f"{name}.{module.name}", module.ispkg) for module in iter_modules(package.__path__)]
        inner = [found_name for found_name, is_folder in found if is_folder and found_name not in UNSEEN]
        modules = [found_name for found_name, is_folder in found if not is_folder and not found_name.endswith("__")]
        exports = {what: documented(what, getattr(package, what)) for what in getattr(package, "__all__", ())}
        exports = {what: place for what, place in exports.items() if place.startswith(f"{name}.")}
        yield name, Room(inner, modules, exports, not closed_around(f"{name}."))
        yield from rooms(*inner)


def closed_around(dotted: str) -> str:
    """Return the closed folder that a name lies in, or nothing."""
    return next((closed for closed in CLOSED if dotted.startswith(f"{closed}.")), "")


def documented(what: str, value: object) -> str:
    """Return the dotted name under which a name is documented: in its module, or in the closed folder around that."""
    module = getattr(value, "__module__", None) or ""
    return f"{closed_around(module) or module}.{what}"


def pages(shown: dict[str, Room]) -> dict[str, str]:
    """Return what has a page of its own, exported names and classes of open folders, and how it is imported."""
    exported = {
        place: f"from {name} import {what}" for name in [*shown][::-1] for what, place in shown[name].exports.items()
    }
    modules = [module for room in shown.values() if room.is_open for module in room.modules]
    classes = {f"{module}.{what}": f"from {module} import {what}" for module in modules for what in classes_of(module)}
    return classes | exported


def by_module(pages: dict[str, str]) -> dict[str, list[str]]:
    """Return the names of each module that have a page of their own."""
    names: dict[str, list[str]] = defaultdict(list)
    for place in pages:
        module, _, what = place.rpartition(".")
        names[module].append(what)
    return names


def classes_of(module: str) -> Iterator[str]:
    """Yield the public classes that a module defines."""
    for what, value in vars(import_module(module)).items():
        if inspect.isclass(value) and value.__module__ == module and not what.startswith("_"):
            yield what


def write(folder: Path, pages: dict[str, str], shown: dict[str, Room]) -> None:
    """Write these pages, and remove those of names that have moved since."""
    folder.mkdir(exist_ok=True)
    for place, line in pages.items():
        module, _, what = place.rpartition(".")
        room = module if module in shown else module.rpartition(".")[0]
        value = getattr(import_module(line.split()[1]), what)
        directive = "autoclass" if inspect.isclass(value) else "autofunction" if callable(value) else "autodata"
        members = "   :members:\n" if directive == "autoclass" else ""
        title = f"{what}\n{'=' * len(what)}"
        text = f":orphan:\n\n{title}\n\n:doc:`{room}` / ``{line}``\n\n.. {directive}:: {place}\n{members}"
        page = folder / f"{place}.rst"
        if not page.exists() or page.read_text() != text:  # Sphinx reads again what was written
            page.write_text(text)
    for stale in {*folder.glob("*.rst")} - {folder / f"{name}.rst" for name in (*pages, *shown)}:
        stale.unlink()
