"""The rooms of the packages: for every folder its sub-folders, its modules, and where the names it exports are defined.

The API pages are made of it: `conf.py` hands it to the template `_templates/room.rst`.
"""

from collections.abc import Iterator
from importlib import import_module
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
    exports: list[str]
    is_open: bool


def rooms(*names: str) -> Iterator[tuple[str, Room]]:
    """Yield every folder of these packages by its dotted name."""
    for name in names:
        package = import_module(name)
        found = [(f"{name}.{module.name}", module.ispkg) for module in iter_modules(package.__path__)]
        inner = [found_name for found_name, is_folder in found if is_folder and found_name not in UNSEEN]
        modules = [found_name for found_name, is_folder in found if not is_folder and not found_name.endswith("__")]
        exported = {exported: getattr(package, exported) for exported in getattr(package, "__all__", ())}
        places = {what: getattr(value, "__module__", "") for what, value in exported.items()}
        is_open = not any(f"{name}.".startswith(f"{closed}.") for closed in CLOSED)
        exports = [f"{at if is_open else name}.{what}" for what, at in places.items() if at.startswith(f"{name}.")]
        yield name, Room(inner, modules, exports, is_open)
        yield from rooms(*inner)
