"""Where the space of a search comes from: a section of a file, or the signature of the network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from pnbx_snn.errors import ConfigError
from pnbx_snn.search.space import Choice, Domain, Lists, Range, Space
from pnbx_snn.training.config import Config, read_toml, section_classes
from pnbx_snn.training.settings import allowed_values

SECTION = "search"
"""Of a configuration file; everything else that reads the file passes it over."""

SEARCHED: dict[str, dict[str, Any]] = {
    "pnbx": {
        "ssm": None,
        "rnn": None,
        "fast_weights": None,
        "hippocampus": ["sequence", "none"],
        "messages": None,
        "glia": None,
        "num_blocks": [1, 2, 3],
        "d_hidden": None,
        "d_ssm": None,
        "d_rnn": None,
        "rank": None,
        "slots": None,
        "event_levels": None,
    },
    "model": {"hidden": None, "num_steps": None, "learn_beta": None, "reset": ["zero", "subtract"]},
    "conv": {"channels": None, "kernel_size": [3, 5, 7], "num_steps": None, "reset": ["zero", "subtract"]},
}
"""By network, what is searched where a configuration does not say: values, or ``None`` for those of :func:`domain`."""

FIXED = {
    "train.epochs": "epochs are the same in every trial (trials are compared at equal epochs); use --set train.epochs",
    "data.part": "trials learn from part 'train' and are measured on the validation part",
    "train.checkpoint_every": "every epoch of a trial is saved",
}
"""Keys that cannot be searched, and why."""


KEYS_OF_A_RANGE = {"low", "high", "log", "step", "length"}


def load_space(base: Config, file: str | Path) -> Space:
    r"""Read the section ``[search]`` of a TOML file; without one, the space is :func:`default_space`.

    A key is written as in ``--set``, its value is a list of choices, or a table ``{low, high}`` with ``log`` or
    ``step``, and for a key that is a list itself with ``length``, one or several:

    .. code-block:: toml

        [search]
        pnbx.ssm = ["none", "real"]
        pnbx.d_hidden = [64, 128, 256, 512]
        train.learning_rate = {low = 0.001, high = 0.01, log = true}
        model.hidden = {low = 16, high = 128, log = true, length = [1, 2]}

    Raises
    ------
    ConfigError
        If a key is none of the configuration's, or one of its values is not allowed there.

    Examples
    --------
    >>> from pnbx_snn.training.config import load_config
    >>> path = getfixture("tmp_path") / "small.toml"
    >>> _ = path.write_text("[model]\n[search]\nmodel.hidden = [[16], [32, 16]]\nmodel.beta = {low = 0.5, high = 1.0}")
    >>> {name: str(domain) for name, domain in load_space(load_config(path), path).domains.items()}
    {'model.hidden': '[16], [32, 16]', 'model.beta': '0.5 to 1'}
    """
    section = read_toml(Path(file)).get(SECTION)
    if section is None:
        return default_space(base)
    where = f"{file}: {SECTION}"
    if not isinstance(section, dict) or not section:
        raise ConfigError(f"{where} must be a section with keys such as pnbx.d_hidden = [64, 128], got {section!r}")
    domains: dict[str, Domain] = {}
    for name, keys in section.items():
        if not isinstance(keys, dict):
            raise ConfigError(f"{where}.{name} must be a key of a section, such as pnbx.d_hidden = [64, 128]")
        for key, values in keys.items():
            domains[f"{name}.{key}"] = _domain(f"{where}.{name}.{key}", base, name, key, values)
    return Space(base, domains)


def default_space(base: Config) -> Space:
    """Return what is searched of a network where nothing is said: its pathways, its widths, its depth.

    Keys and their choices come from the signature of the network: all words of an option, ``true`` and ``false``; sizes
    are an eighth, a quarter, a half and once what the configuration has. :data:`SEARCHED` names the keys.
    """
    searched = SEARCHED.get(base.section)
    if searched is None:
        known = ", ".join(f"[{name}]" for name in SEARCHED)
        raise ConfigError(
            f"search: there is no default space for [{base.section}] (there is for {known}); write a section [search]"
        )
    keys = {key: values for key, values in searched.items() if key in type(base.network).model_fields}
    return Space(
        base,
        {
            f"{base.section}.{key}": derived(base, key) if values is None else Choice(tuple(values))
            for key, values in keys.items()
        },
    )


def derived(base: Config, key: str) -> Domain:
    """Return the values of a key of the network that its type and its present value suggest."""
    kind, now = type(base.network).model_fields[key].annotation, getattr(base.network, key)
    if get_origin(kind) is Literal:
        return Choice(get_args(kind))
    if kind is bool:
        return Choice((False, True))
    if isinstance(now, int):
        return Choice(tuple(sorted({max(1, now // share) for share in (8, 4, 2, 1)})))
    if isinstance(now, tuple):
        low, high = max(4, min(now) // 8), max(max(now), 5)
        return Lists(Range(low, high, log=True), tuple(sorted({max(1, len(now) - 1), len(now)})))
    raise ConfigError(f"search: {base.section}.{key} has no values of its own; name some in [search]")


def _domain(where: str, base: Config, section: str, key: str, values: Any) -> Domain:
    """Return the domain that stands in a file, each of its values checked against the type of the key."""
    if section not in base.model_dump():
        raise ConfigError(f"{where}: the configuration has no section [{section}]")
    fields = section_classes()[section].model_fields
    if key not in fields:
        raise ConfigError(f"{where}: unknown key {section}.{key}; the keys are {', '.join(fields)}")
    if f"{section}.{key}" in FIXED:
        raise ConfigError(f"{where}: {FIXED[f'{section}.{key}']}")
    field = fields[key]
    kind = TypeAdapter(
        Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation,  # type: ignore[arg-type]
        config=ConfigDict(strict=True, allow_inf_nan=False),
    )

    def checked(value: Any) -> Any:
        try:
            return kind.validate_python(value)
        except ValidationError as error:
            said = allowed_values(field) or error.errors()[0]["msg"].removeprefix("Input should be ")
            raise ConfigError(f"{where}: each value must be {said}, got {value!r}") from None

    if isinstance(values, dict):
        return _range(where, field.annotation, values, checked)
    if not isinstance(values, list) or not values:
        raise ConfigError(
            f"{where} must be a list of choices, or a table such as {{low = 1, high = 8}}, got {values!r}"
        )
    return Choice(tuple(dict.fromkeys(checked(value) for value in values)))


def _range(where: str, kind: Any, table: dict[str, Any], checked: Any) -> Range | Lists:
    if unknown := table.keys() - KEYS_OF_A_RANGE:
        raise ConfigError(
            f"{where}: unknown key {sorted(unknown)[0]}; a range has {', '.join(sorted(KEYS_OF_A_RANGE))}"
        )
    is_list = get_origin(kind) is tuple
    number = get_args(kind)[0] if is_list else kind
    number = get_args(number)[0] if get_origin(number) is Annotated else number
    if number not in (int, float):
        raise ConfigError(f"{where}: a range is for numbers; this key is {number!r}: give a list of choices")
    low, high, log, step = (table.get(name) for name in ("low", "high", "log", "step"))
    for name, value in {"low": low, "high": high, **({} if step is None else {"step": step})}.items():
        if type(value) not in ((int,) if number is int else (int, float)):
            raise ConfigError(f"{where}: {name} must be a {'whole ' * (number is int)}number, got {value!r}")
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    if number is float:
        low, high = float(low), float(high)
    if not low < high or (step is not None and step <= 0) or (log and low <= 0):
        raise ConfigError(f"{where}: low must be below high, step above 0, and low above 0 with log, got {table}")
    if log is not None and (type(log) is not bool or (log and step is not None)):
        raise ConfigError(f"{where}: log must be true or false, and true goes without step, got {table}")
    numbers = Range(low, high, log=bool(log), step=step)
    lengths = table.get("length")
    if not is_list:
        if lengths is not None:
            raise ConfigError(f"{where}: length is for keys that are lists; this one is one number")
        checked(low), checked(high)
        return numbers
    lengths = lengths if isinstance(lengths, list) else [lengths]
    if not lengths or any(type(length) is not int or length < 1 for length in lengths):
        raise ConfigError(f"{where}: length must be a whole number of 1 or more, or a list of them, got {lengths}")
    for length in lengths:
        checked([low] * length), checked([high] * length)
    return Lists(numbers, tuple(sorted(set(lengths))))
