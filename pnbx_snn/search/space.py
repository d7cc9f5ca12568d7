"""What a search may change: keys of a configuration, each with the values that it may take."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pnbx_snn.search.pareto import Number
from pnbx_snn.training.config import Config, make_config

if TYPE_CHECKING:
    from optuna.trial import Trial

ONLY_WITH = {
    "pnbx.d_ssm": "pnbx.ssm",
    "pnbx.d_rnn": "pnbx.rnn",
    "pnbx.rank": "pnbx.fast_weights",
    "pnbx.slots": "pnbx.hippocampus",
    "pnbx.competition": "pnbx.hippocampus",
    "pnbx.edges": "pnbx.messages",
    "pnbx.neurons_per_domain": "pnbx.glia",
    "pnbx.rate_target": "pnbx.glia",
    "pnbx.noise_tau": "pnbx.noise_sigma",
}
"""Keys that mean nothing where another one is ``"none"``, ``false`` or 0: they are not drawn then."""


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[Any, ...]

    def draw(self, trial: Trial, name: str) -> Any:
        """Let a trial choose."""
        shown = {_plain(value): value for value in self.values}
        return shown[trial.suggest_categorical(name, list(shown))]

    def __str__(self) -> str:
        return ", ".join(json.dumps(value) for value in self.values)

    @property
    def size(self) -> Number:
        """How many values there are."""
        return len(self.values)


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included, drawn evenly or, with ``log``, evenly on a logarithmic scale."""

    low: Number
    high: Number
    log: bool = False
    step: Number | None = None

    def draw(self, trial: Trial, name: str) -> Any:
        """Let a trial choose."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(name, self.low, self.high, step=self.step or 1, log=self.log)  # type: ignore[arg-type]
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def __str__(self) -> str:
        words = f"{self.low:g} to {self.high:g}"
        return words + (", evenly on a log scale" if self.log else "") + (f" by {self.step:g}" if self.step else "")

    @property
    def size(self) -> Number:
        """How many values there are; infinite for fractions without a step."""
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        step = self.step or (1 if whole else 0)
        return math.inf if step == 0 else math.floor((self.high - self.low) / step) + 1


@dataclass(frozen=True)
class Lists:
    """Lists of numbers of a range, whose length is one of some: the widths of so many layers."""

    numbers: Range
    lengths: tuple[int, ...]

    def draw(self, trial: Trial, name: str) -> Any:
        """Let a trial choose."""
        length = trial.suggest_categorical(f"{name}.length", self.lengths)
        return tuple(self.numbers.draw(trial, f"{name}.{place}") for place in range(length))

    def __str__(self) -> str:
        return f"{' or '.join(map(str, self.lengths))} numbers of {self.numbers}"

    @property
    def size(self) -> Number:
        """How many lists there are."""
        return sum(self.numbers.size**length for length in self.lengths)


Domain = Choice | Range | Lists


@dataclass(frozen=True)
class Space:
    """The keys that a search changes and what they may be; all other keys are those of ``base``."""

    base: Config
    domains: Mapping[str, Domain]

    def draw(self, trial: Trial) -> dict[str, Any]:
        """Let a trial choose, and return ``{"section.key": value}`` of the keys that have a meaning in it."""
        drawn: dict[str, Any] = {}
        for name in sorted(self.domains, key=lambda name: name in ONLY_WITH):  # first the keys that others hang on
            if self._off(drawn, ONLY_WITH.get(name)):
                continue
            drawn[name] = self.domains[name].draw(trial, name)
        return drawn

    def config(self, drawn: Mapping[str, Any], *, where: str) -> Config:
        """Return the configuration with these keys; a :class:`ConfigError` if they do not go together."""
        values = self.base.model_dump()
        for name, value in drawn.items():
            section, _, key = name.partition(".")
            values[section][key] = value
        return make_config(values, where=where)

    @property
    def size(self) -> Number:
        """How many different configurations can be drawn at most; may be infinite."""
        return math.prod(domain.size for domain in self.domains.values())

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Yield of each key its name, what it may be, and what it is in the configuration."""
        for name, domain in self.domains.items():
            section, _, key = name.partition(".")
            now = getattr(getattr(self.base, section), key)
            hangs = f" (only with {ONLY_WITH[name]})" if name in ONLY_WITH else ""
            yield name, f"{domain}{hangs}", json.dumps(now)

    def _off(self, drawn: Mapping[str, Any], switch: str | None) -> bool:
        if switch is None:
            return False
        section, _, key = switch.partition(".")
        return drawn.get(switch, getattr(getattr(self.base, section), key)) in ("none", False, 0)


def _plain(value: Any) -> Any:
    """Return a choice as Optuna stores it: a list as JSON."""
    return json.dumps(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
