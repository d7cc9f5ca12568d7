"""What this package raises: one base class, leaves that are also the built-in a caller would expect."""

from __future__ import annotations

import sys
import warnings


class NeuromorphicError(Exception):
    """Base of every error that ``neuromorphic`` raises on purpose."""


class ProgramError(NeuromorphicError, ValueError):
    """A program is malformed: a missing port, a wrong shape or dtype, a value out of range."""


class FileFormatError(NeuromorphicError, ValueError):
    """A file is truncated, altered, newer than this version or not one of ours."""


class MissingPackageError(NeuromorphicError, ImportError):
    """A package that an extra brings is not installed; the message says which, and how to install it."""


class StorageError(NeuromorphicError, OSError):
    """A file could not be written; what was saved before is untouched."""


class InputError(NeuromorphicError, ValueError):
    """Inputs do not fit the program's input port."""


class BoundError(NeuromorphicError, OverflowError):
    """An integer could leave its range; raised when a program is checked, never while it runs."""


class CompileError(NeuromorphicError, ValueError):
    """A network cannot be compiled; the message names the module, the reason and the nearest thing that can."""


class InputWarning(UserWarning):
    """Inputs fit, but lose something on the way in; the message says how much."""


class CompileWarning(UserWarning):
    """A program was made, but it may answer differently from its network; the message says where and what helps."""


class ExecutorError(NeuromorphicError, RuntimeError):
    """An executor failed; the message carries its own error text."""


class ExecutorTimeoutError(ExecutorError, TimeoutError):
    """An executor gave no answer within its time limit and was ended."""


class LavaNotFoundError(NeuromorphicError, RuntimeError):
    """No Python with lava-nc was found; the message lists what was tried and how to make one."""


def warn_user(sentence: str, category: type[Warning]) -> None:
    """Issue a warning at the line outside this package that led to it."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_globals["__name__"].split(".")[0] == "neuromorphic":
        frame, level = frame.f_back, level + 1
    warnings.warn(sentence, category, stacklevel=level)
