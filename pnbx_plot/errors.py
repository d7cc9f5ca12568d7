"""What this package raises, and how it asks for the packages that only pictures need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pnbx_extras

PACKAGES = {"matplotlib": "matplotlib", "PIL": "pillow", "bokeh": "bokeh"}
"""What a picture needs: the name in Python and the name of the package."""


class PlotError(ValueError):
    """What was given cannot be drawn; the message says what, the value got and what is allowed."""


class MissingPackageError(PlotError, ImportError):
    """A package or program that only this kind of picture needs is not installed; the message says how to get it."""


def needed(module: str, what: str) -> Any:
    """Import a module, or raise a :class:`MissingPackageError` that names the extra to install.

    Examples
    --------
    >>> needed("math", "a picture").pi > 3
    True
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.split(".")[0]:
            raise
        package = PACKAGES.get(error.name, error.name)
        raise MissingPackageError(
            f"{what} needs the package {package}, which is not installed: {pnbx_extras.install('plot')}"
        ) from error
