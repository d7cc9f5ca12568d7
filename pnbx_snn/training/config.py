"""The configuration of a training: one TOML file, each section a class, checked before anything else happens."""

import difflib
import json
import reprlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pnbx_snn.configs import config_path
from pnbx_snn.data.array_streams import array_stream_sizes
from pnbx_snn.data.arrays import array_sizes
from pnbx_snn.data.catalog import SHRINKING, arrays_path
from pnbx_snn.data.mnist import SIDE
from pnbx_snn.errors import ConfigError
from pnbx_snn.files.regular_files import read_regular
from pnbx_snn.training.kinds import ELSEWHERE, KINDS, Kind, section_names
from pnbx_snn.training.settings import AugmentConfig, DataConfig, DistillConfig, Section, TrainConfig, allowed_values
from pnbx_snn.training.sparsity import SparsityConfig
from pnbx_snn.training.stream_settings import check_streams

MAX_TOML_BYTES = 1 << 20
NOT_THERE = "not there"


def section_classes() -> dict[str, type[Section]]:
    """Return the class of every section by name, in the order in which they are written."""
    networks = {name: kind.section for name, kind in KINDS.items()}
    learning: dict[str, type[Section]] = {"augment": AugmentConfig, "distill": DistillConfig}
    return {"data": DataConfig, **networks, **learning, "sparsity": SparsityConfig, "train": TrainConfig}


@dataclass(frozen=True)
class Config:
    """A whole configuration; :func:`load_config` makes one and says what is wrong with it.

    ``section`` names the kind of the network, one of :data:`pnbx_snn.training.kinds.KINDS`, and ``network`` is that
    section. ``config.pnbx`` is the network's section if it is ``[pnbx]`` and else ``None``; so for every kind.

    Raises
    ------
    ConfigError
        If the sections do not fit together.
    """

    data: DataConfig = field(default_factory=DataConfig)
    section: str = "model"
    network: Section = field(default_factory=lambda: KINDS["model"].section())
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    sparsity: SparsityConfig = field(default_factory=SparsityConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        data, shown = self.data, f"data.name = {self.data.name!r}"
        if data.name == "arrays":
            self._check_arrays()
        elif data.path:
            raise ConfigError(f"data.path is for data.name = 'arrays', got {data.path!r} and {data.name!r}")
        if data.side != SIDE and data.name not in SHRINKING:
            raise ConfigError(f"data.side is for data.name = {' or '.join(map(repr, SHRINKING))}, got {shown}")
        check_streams(data, self.augment)
        if data.name == "pairs" and not {"sequences", "arrays"} <= set(self.kind.reads):
            raise ConfigError(f"{shown} needs {section_names('sequences', 'arrays')}, got [{self.section}]")
        known = data.name not in ("arrays", "pairs") and not data.is_events
        if known and data.num_steps > 1 and "sequences" not in self.kind.reads:
            raise ConfigError(f"{shown} is a sequence and needs {section_names('sequences')}, got [{self.section}]")
        if self.distill.per_step and not self.distill.teacher:
            raise ConfigError("distill.per_step needs a teacher, got distill.teacher = ''")
        self.kind.check(data, self.network)
        if self.augment.voices and data.name != "fsdd":
            raise ConfigError(f"augment.voices changes spoken digits: must be 0, got {self.augment.voices} and {shown}")
        if not data.is_events:
            return
        if "events" not in self.kind.reads and data.name != "arrays":
            raise ConfigError(
                f"{shown} is sequences of spikes and needs {section_names('events')}, got [{self.section}]"
            )
        self._check_unchanged(
            ("strength", "strength_end", "input_noise"),
            f"changes values and {shown} is spikes: must be 0",
            "augment.input_dropout silences inputs",
        )

    def __getattr__(self, name: str) -> Any:
        if name in KINDS:
            return self.network if name == self.section else None
        raise AttributeError(f"a configuration has no section [{name}]")

    @property
    def kind(self) -> Kind:
        """The kind of the network."""
        return KINDS[self.section]

    def model_dump(self) -> dict[str, dict[str, Any]]:
        """Return ``{section: {key: value}}`` of the sections that are there; ``[sparsity]`` only if it says something.

        So files of networks that are not sparse are those of earlier versions, byte for byte.
        """
        parts = {name: getattr(self, name) for name in section_classes()}
        if self.sparsity == SparsityConfig():
            del parts["sparsity"]
        return {name: part.model_dump() for name, part in parts.items() if part is not None}

    def _check_arrays(self) -> None:
        data = self.data
        if not data.path:
            raise ConfigError("data.name = 'arrays' needs data.path: a .npz, or a folder of .npy")
        if "arrays" not in self.kind.reads:
            raise ConfigError(
                f"[{self.section}] needs images of a known size: data.name = 'arrays' needs {section_names('arrays')}"
            )
        self._check_unchanged(
            ("strength", "strength_end"),
            "distorts images and spoken digits: must be 0 with data.name = 'arrays'",
            "augment.input_noise and input_dropout fit any values",
        )
        if data.window > 1 and data.steps == 1:
            raise ConfigError(f"data.window is for sequences: must be 1 for static samples, got {data.window}")
        if data.steps > 1 and "sequences" not in self.kind.reads:
            raise ConfigError(
                f"data.path = {data.path!r} holds sequences and needs {section_names('sequences', 'arrays')}, "
                f"got [{self.section}]"
            )

    def _check_unchanged(self, keys: tuple[str, ...], why: str, instead: str) -> None:
        for key in keys:
            value = getattr(self.augment, key)
            if value:
                raise ConfigError(f"augment.{key} {why}, got {value} ({instead})")


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    r"""Read a TOML file and put overrides on top; a key that neither has gets its default.

    A name without ``.toml`` stands for one of the configurations that come with this package, those of
    :func:`pnbx_snn.configs.known_configs`.

    An override is ``"section.key=value"``, the value written as in TOML; what is no TOML is taken as a string, so that
    ``model.reset=zero`` needs no quotes.

    Raises
    ------
    ConfigError
        If the file cannot be read, is no TOML, or a section, key or value is not allowed.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "small.toml"
    >>> _ = path.write_text("[train]\nepochs = 3")
    >>> config = load_config(path, ["model.hidden=[32, 16]", "model.reset=subtract"])
    >>> config.train.epochs, config.model.hidden, config.model.reset
    (3, (32, 16), 'subtract')
    """
    path = config_path(path)
    values = read_toml(path)
    values.pop("search", None)  # for `pnbx-snn search`, which reads it itself
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
    """Check a dictionary ``{section: {key: value}}`` and make a :class:`Config` of it.

    Errors name ``where`` the values come from, or of single keys (``(section, key)``) and sections (``(section, "")``)
    their ``places``.

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
    places, known = places or {}, section_classes()
    named = [name for name in KINDS if values.get(name) is not None]
    if len(named) > 1:
        got = " and ".join(f"[{name}]" for name in named)
        raise ConfigError(f"{where}: only one of {section_names(last='and')} may be there, got {got}")
    section = named[0] if named else "model"
    lines, made = [], {}
    for name, cls in known.items():
        if name in KINDS and name != section:
            continue
        try:
            made[name] = cls.model_validate(values.get(name, {}) if named or name != section else {})
        except ValidationError as error:
            for problem in error.errors():
                key = str(problem["loc"][0]) if problem["loc"] else ""
                lines.append(f"{places.get((name, key), where)}: {_explain(name, key, problem, values)}")
    lines += [f"{places.get((name, ''), where)}: {_unknown(name, known)}" for name in values if name not in known]
    if lines:
        raise ConfigError("\n".join(dict.fromkeys(lines)))  # each bad entry of a list is a problem of the list
    network = made.pop(section)
    try:
        return Config(section=section, network=network, **made)  # type: ignore[arg-type]
    except ValueError as error:  # of several sections together
        raise ConfigError(f"{where}: {error}") from None


def resolve(config: Config) -> Config:
    """Return a configuration whose sizes are known: of a user's arrays, what they have; any other as it is.

    Keys of ``[pnbx]`` that the configuration does not name get what suits arrays of any size. ``norm = "affine"``: few
    inputs under ternary weights make neurons that differ in nothing unless each has a bias. ``tau_max`` is the number
    of steps that a sample has or is shown (at least 2): slower memories would hardly charge. ``quantize = true``: what
    is trained is what is compiled.

    Raises
    ------
    DataError
        If the arrays cannot be used.
    ConfigError
        If they have other sizes than the configuration says, or need another network than it names.
    """
    data = config.data
    if data.name != "arrays":
        return config
    widths: tuple[int, ...] = ()
    if data.streams:
        found, widths = array_stream_sizes(arrays_path(data), data.streams, values=data.values)
        if data.widths not in ((), widths):
            raise ConfigError(f"data.widths is {list(data.widths)} and {arrays_path(data)} has {list(widths)}")
    else:
        found = array_sizes(arrays_path(data), values=data.values)
    for key, size in found._asdict().items():
        wanted = getattr(data, key)
        if wanted not in (0, size):
            raise ConfigError(f"data.{key} is {wanted} and {arrays_path(data)} has {size}; 0 takes what is there")
    values, chosen = config.model_dump(), config.network.model_fields_set
    values["data"].update(found._asdict(), widths=widths)
    defaults = config.kind.array_defaults(found.steps, config.network)
    values[config.section].update({key: value for key, value in defaults.items() if key not in chosen})
    return make_config(values)


def to_toml(config: Config) -> str:
    """Write a configuration as TOML that reads back identical."""
    lines = []
    for section, values in config.model_dump().items():
        # A JSON string, number, boolean or list of these is written the same way in TOML.
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""]
    return "\n".join(lines)


def differing_keys(saved: Config, new: Config) -> list[str]:
    """List what differs between two configurations, as ``'train.epochs: saved 60, now 3'``."""
    before, after = (flat_keys(config) for config in (saved, new))
    return [
        f"{key}: saved {before.get(key, NOT_THERE)!r}, now {after.get(key, NOT_THERE)!r}"
        for key in {**before, **after}
        if before.get(key, NOT_THERE) != after.get(key, NOT_THERE)
    ]


def flat_keys(config: Config) -> dict[str, Any]:
    """Return ``{"section.key": value}``."""
    values = config.model_dump()
    return {f"{section}.{key}": value for section, keys in values.items() for key, value in keys.items()}


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file as it stands; a :class:`ConfigError` if it cannot be read or is none."""
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


def _unknown(section: str, known: dict[str, type[Section]]) -> str:
    if section in ELSEWHERE:
        return (
            f"unknown section [{section}], networks here are {section_names(last='and')}; the repository's studies "
            f"register [{section}]: run `{ELSEWHERE[section]}` in its folder in place of `pnbx-snn`"
        )
    return f"unknown section [{section}], the nearest known one is [{_nearest(section, list(known))}]"


def _explain(section: str, key: str, problem: Any, values: dict[str, Any]) -> str:
    if not key:
        return f"{section} must be a section [{section}], got {reprlib.repr(values[section])}"
    known = section_classes()
    fields = known[section].model_fields
    if key not in fields:
        homes = [f"{key} belongs to [{other}]" for other, cls in known.items() if key in cls.model_fields]
        hint = homes[0] if homes else f"the nearest known one is {section}.{_nearest(key, list(fields))}"
        return f"unknown key {section}.{key}, {hint}"
    message = problem["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    got = reprlib.repr(values.get(section, {}).get(key, fields[key].default))
    if problem["type"] == "value_error":
        return f"{section}.{key} is not usable: {message}, got {got}"
    return f"{section}.{key} must be {allowed_values(fields[key]) or message}, got {got}"


def _nearest(name: str, known: list[str]) -> str:
    return difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
