"""What a compiler assumed, and what it warns of: sentences for the program's metadata and for the user."""

from __future__ import annotations

from neuromorphic.errors import CompileWarning, warn_user


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
            warn_user(sentence, CompileWarning)
        return list(self)
