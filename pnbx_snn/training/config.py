"""The configuration of a training: one TOML file, each section a class of ``settings``, checked first."""

import difflib
import json
import reprlib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pnbx_snn.errors import ConfigError
from pnbx_snn.regular_files import read_regular
from pnbx_snn.training.settings import (
    AugmentConfig,
    BaselineConfig,
    CNNConfig,
    Config,
    DataConfig,
    DistillConfig,
    ModelConfig,
    PNBXConfig,
    Section,
    TrainConfig,
)

__all__ = ["Config", "differing_keys", "load_config", "make_config", "to_toml"]

MAX_TOML_BYTES = 1 << 20
NOT_THERE = "not there"

_SECTIONS: dict[str, type[Section]] = {
    "data": DataConfig,
    "model": ModelConfig,
    "pnbx": PNBXConfig,
    "cnn": CNNConfig,
    "baseline": BaselineConfig,
    "augment": AugmentConfig,
    "distill": DistillConfig,
    "train": TrainConfig,
}


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    r"""Read a TOML file and put overrides on top.

    Parameters
    ----------
    path
        The file. A key that it leaves out has its default.
    overrides
        Each ``"section.key=value"``, the value written as in TOML; what is no TOML is taken as a string, so that
        ``model.reset=zero`` needs no quotes.

    Returns
    -------
    Config

    Raises
    ------
    ConfigError
        If the file cannot be read, is no TOML, or a section, key or value is not allowed.

    Examples
    --------
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "small.toml").write_text("[train]\nepochs = 3")
    >>> config = load_config(folder / "small.toml", ["model.hidden=[32, 16]", "model.reset=subtract"])
    >>> config.train.epochs, config.model.hidden, config.model.reset
    (3, (32, 16), 'subtract')
    """
    values = _read_toml(Path(path))
    places = {}
    for override in overrides:
        section, key, value = _parse_override(override)
        if section not in values:
            places[section, ""] = f"--set {override}"
        if not isinstance(values.setdefault(section, {}), dict):
            break  # the file has `section = ...`, which make_config refuses
        values[section][key] = value
        places[section, key] = f"--set {override}"
    return make_config(values, where=str(path), places=places)


def make_config(
    values: dict[str, Any], *, where: str = "configuration", places: dict[tuple[str, str], str] | None = None
) -> Config:
    """Check a dictionary of sections and make a :class:`Config` of it.

    Parameters
    ----------
    values
        ``{section: {key: value}}``.
    where
        Named in errors.
    places
        Where single keys (``(section, key)``) and sections (``(section, "")``) came from, if not from ``where``.

    Raises
    ------
    ConfigError
        One line for each section, key or value that is not allowed.

    Examples
    --------
    >>> make_config({"model": {"beta": 1.3}})
    Traceback (most recent call last):
    pnbx_snn.errors.ConfigError: configuration: model.beta must be a number in [0, 1], got 1.3
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            section, key = (*map(str, problem["loc"]), "", "")[:2]
            place = (places or {}).get((section, key), where)
            line = f"{place}: {_explain(problem['type'], problem['msg'], problem['loc'], values)}"
            if line not in lines:  # each bad entry of a list is a problem of the list
                lines.append(line)
        raise ConfigError("\n".join(lines)) from None


def to_toml(config: Config) -> str:
    """Write a configuration as TOML that reads back identical.

    Examples
    --------
    >>> print(to_toml(Config()).splitlines()[0])
    [data]
    """
    lines = []
    for section, values in config.model_dump().items():
        # A JSON string, number, boolean or list of these is written the same way in TOML.
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""]
    return "\n".join(lines)


def differing_keys(saved: Config, new: Config) -> list[str]:
    """List what differs between two configurations, as ``"section.key: saved value, now value"``.

    Examples
    --------
    >>> differing_keys(Config(), make_config({"train": {"epochs": 3}}))
    ['train.epochs: saved 60, now 3']
    """
    before, after = (_flat(config) for config in (saved, new))
    return [
        f"{key}: saved {before.get(key, NOT_THERE)!r}, now {after.get(key, NOT_THERE)!r}"
        for key in {**before, **after}
        if before.get(key, NOT_THERE) != after.get(key, NOT_THERE)
    ]


def _flat(config: Config) -> dict[str, Any]:
    values = config.model_dump()
    return {f"{section}.{key}": value for section, keys in values.items() for key, value in keys.items()}


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_regular(path, ConfigError, max_bytes=MAX_TOML_BYTES).decode())
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is no TOML file: not UTF-8 text at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is no TOML: {error}") from error  # tomllib says line and column
    except RecursionError as error:
        raise ConfigError(f"{path}: is no TOML that can be read: nested too deeply") from error


def _parse_override(override: str) -> tuple[str, str, Any]:
    name, equals, text = override.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot and section and key):
        raise ConfigError(f"--set must be section.key=value, for example train.epochs=10, got {override!r}")
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        parsed = {}
    # More than one key means line breaks in the text: then it is not one TOML value either.
    return section, key, parsed["value"] if parsed.keys() == {"value"} else text.strip()


def _explain(kind: str, message: str, loc: tuple[int | str, ...], values: dict[str, Any]) -> str:
    if not loc:
        return message.removeprefix("Value error, ")  # of several sections together
    section = str(loc[0])
    if section not in _SECTIONS:
        return f"unknown section [{section}], the nearest known one is [{_nearest(section, list(_SECTIONS))}]"
    if len(loc) == 1:
        return f"{section} must be a section [{section}], got {reprlib.repr(values[section])}"
    key, fields = str(loc[1]), _SECTIONS[section].model_fields
    if key not in fields:
        homes = [f"{key} belongs to [{other}]" for other, known in _SECTIONS.items() if key in known.model_fields]
        hint = homes[0] if homes else f"the nearest known one is {section}.{_nearest(key, list(fields))}"
        return f"unknown key {section}.{key}, {hint}"
    message = message.removeprefix("Input should be ").removeprefix("Value error, ")
    got = reprlib.repr(values[section].get(key, fields[key].default))
    if kind == "value_error":
        return f"{section}.{key} is not usable: {message}, got {got}"
    return f"{section}.{key} must be {fields[key].description or message}, got {got}"


def _nearest(name: str, known: list[str]) -> str:
    return difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
