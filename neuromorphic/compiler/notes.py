"""What a compiler assumed, and what it warns of: sentences for the program's metadata and for the user."""

from __future__ import annotations

import sys
import warnings

from neuromorphic.errors import CompileWarning


class Notes(list[str]):
    """Sentences; those that were said with :meth:`warn` also become warnings, once the program is made."""

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []

    def warn(self, sentence: str) -> None:
        """Note a sentence that a user must not miss."""
        self.append(sentence)
        self.warnings.append(sentence)

    def issue(self) -> list[str]:
        """Issue the warnings, and return all sentences."""
        for sentence in self.warnings:
            warn_user(sentence)
        return list(self)


def warn_user(sentence: str) -> None:
    """Issue a warning at the line outside the compiler that asked for the program."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_globals["__name__"].startswith("neuromorphic.compiler"):
        frame, level = frame.f_back, level + 1
    warnings.warn(sentence, CompileWarning, stacklevel=level)
