"""The configuration of a training: one TOML file, each section a class, checked before anything runs."""

import difflib
import json
import reprlib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pnbx_snn.cells import Primitive, Reset
from pnbx_snn.encoding import Encoder
from pnbx_snn.errors import ConfigError
from pnbx_snn.quantization import WeightScale
from pnbx_snn.surrogate import Surrogate

_DIGITS_FEATURES, _DIGITS_CLASSES = 64, 10


class _Section(BaseModel):
    # strict: a TOML 3.0 is no whole number and "3" is no number, whatever pydantic could make of them.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DataConfig(_Section):
    """What is learned.

    Attributes
    ----------
    name
        ``"digits"``: the 8x8 digits of scikit-learn, see :func:`pnbx_snn.data.load_digits_split`.
    part
        ``"train"`` keeps the validation images out and measures on them after each epoch; ``"train_all"`` learns from
        both and measures nothing, for the last training.
    """

    name: Literal["digits"] = "digits"
    part: Literal["train", "train_all"] = "train_all"

    @property
    def in_features(self) -> int:
        """Values in a sample."""
        return _DIGITS_FEATURES

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return _DIGITS_CLASSES


class ModelConfig(_Section):
    """What learns: the arguments of :class:`pnbx_snn.model.SpikingClassifier`, under the same names."""

    hidden: Annotated[
        tuple[Annotated[int, Field(ge=1, le=65_536)], ...],
        Field(strict=False, min_length=1, max_length=64, description="a list of 1 to 64 whole numbers in [1, 65536]"),
    ] = (256,)
    num_steps: int = Field(default=8, ge=1, le=100_000, description="a whole number in [1, 100000]")
    encoder: Encoder = "direct"
    beta: float = Field(default=0.9, ge=0, le=1, description="a number in [0, 1]")
    threshold: float = Field(default=1.0, gt=0, description="a number above 0")
    reset: Reset = "zero"
    primitive: Primitive = "leaky"
    spike_grad: str = "atan"
    learn_beta: bool = Field(default=False, description="true or false")
    learn_threshold: bool = Field(default=False, description="true or false")
    scale: WeightScale = "absmean"

    @field_validator("spike_grad")
    @classmethod
    def _known_surrogate(cls, name: str) -> str:
        return Surrogate(name).name


class TrainConfig(_Section):
    """How it learns.

    Attributes
    ----------
    epochs, batch_size, learning_rate, weight_decay
        AdamW; the rate falls from ``learning_rate`` to 0 along a cosine over all epochs. Batches have at least
        ``batch_size`` samples and differ by at most one. Only weight matrices decay.
    label_smoothing
        Share of the target that is spread over all classes.
    rate_target, rate_weight
        ``rate_weight`` times :func:`pnbx_snn.losses.rate_penalty` is added to the loss.
    max_shift, shift_share
        This share of the images is shifted by up to so many pixels; over the second half of the epochs fewer and fewer
        are, in the last one none. 0 is off.
    checkpoint_every
        Epochs between two checkpoints. The last epoch is always saved.
    seed
        Of everything random.
    threads
        Threads of torch, 0 for its default. Results repeat to the bit for the same machine and number of threads.
    """

    epochs: int = Field(default=60, ge=1, le=1_000_000, description="a whole number in [1, 1000000]")
    batch_size: int = Field(default=64, ge=2, le=65_536, description="a whole number in [2, 65536]")
    learning_rate: float = Field(default=5e-3, gt=0, le=10, description="a number in (0, 10]")
    weight_decay: float = Field(default=1e-2, ge=0, le=10, description="a number in [0, 10]")
    label_smoothing: float = Field(default=0.1, ge=0, lt=1, description="a number in [0, 1)")
    rate_target: float = Field(default=0.188, ge=0, le=1, description="a number in [0, 1]")
    rate_weight: float = Field(default=1.0, ge=0, description="a number of 0 or more")
    max_shift: int = Field(default=1, ge=0, le=7, description="a whole number in [0, 7]")
    shift_share: float = Field(default=0.5, ge=0, le=1, description="a number in [0, 1]")
    checkpoint_every: int = Field(default=1, ge=1, le=1_000_000, description="a whole number in [1, 1000000]")
    seed: int = Field(default=0, ge=0, le=2**63 - 1, description="a whole number in [0, 9223372036854775807]")
    threads: int = Field(default=0, ge=0, le=1024, description="a whole number in [0, 1024]; 0 is torch's default")


class Config(_Section):
    """A whole configuration; :func:`load_config` and :func:`make_config` make one and say what is wrong with it."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()


_SECTIONS: dict[str, type[_Section]] = {"data": DataConfig, "model": ModelConfig, "train": TrainConfig}


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
            section, key = (*map(str, problem["loc"]), "")[:2]
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
    before, after = saved.model_dump(), new.model_dump()
    return [
        f"{section}.{key}: saved {value!r}, now {after[section][key]!r}"
        for section, values in before.items()
        for key, value in values.items()
        if after[section][key] != value
    ]


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
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
    allowed = fields[key].description or message.removeprefix("Input should be ").removeprefix("Value error, ")
    verb = "is not usable:" if kind == "value_error" else "must be"
    return f"{section}.{key} {verb} {allowed}, got {reprlib.repr(values[section][key])}"


def _nearest(name: str, known: list[str]) -> str:
    return difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
