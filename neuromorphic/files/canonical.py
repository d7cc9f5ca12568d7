"""JSON that is written, signed and read the same way in every language: plain values, and their canonical text.

The canonical text is that of RFC 8785, the JSON Canonicalization Scheme: no blanks, keys sorted by their UTF-16 code
units, strings as they are but for what JSON must escape, numbers as JavaScript writes the nearest 64-bit float.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import numpy as np

MAX_DEPTH = 64
_EXACT = 1 << 53  # up to here every integer is a 64-bit float
_FEW = 4
_PLAIN_WRITER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode
"""Writes the canonical text at once where keys are ASCII and numbers are integers of up to 15 digits."""
_NUMBERS_APART = re.compile(r"[\[:,]-?(?:\d+[.e]|\d{16}|Inf|N)")
"""Finds numbers that it writes in another way, and some that are none but stand in a text."""


def plain_json(value: Any, where: str, *, levels: int = MAX_DEPTH) -> Any:
    """Return a value as JSON holds it, so that it is equal to what a file gives back; ``where`` names it in errors.

    Mappings become dicts, tuples lists, NumPy's scalars Python's, and integer keys their decimal text, as JSON knows
    text alone. It may be ``levels`` deep.

    Raises
    ------
    ValueError
        When it has no place in JSON: NaN and infinity, objects, keys that are neither text nor integers, two keys of
        one text, text that is no Unicode, integers beyond the range of a 64-bit float, or too many levels.

    Examples
    --------
    >>> plain_json({"epochs": {2: 0.5, 10: np.float32(0.25)}, "shape": (3, 4)}, "metadata")
    {'epochs': {'2': 0.5, '10': 0.25}, 'shape': [3, 4]}
    >>> plain_json({"loss": float("nan")}, "metadata")
    Traceback (most recent call last):
    ValueError: metadata["loss"] is nan, which JSON does not know; use None or a text
    """
    return _plain(value, (None, where), levels)


_Place = tuple[Any, Any]
"""Where a value is: the place of what holds it, and its key, its number or, at the top, the name of the whole."""


def _plain(value: Any, place: _Place, levels: int) -> Any:
    if levels == 0:
        raise ValueError(f"{_named(place)[:80]} ... lies too deep: at most {MAX_DEPTH} levels are stored")
    if type(value) is str and value.isascii():  # most of all
        return value
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(str(value), _named(place))
    if isinstance(value, int):
        try:
            float(value)
        except OverflowError as error:
            bits = value.bit_length()
            raise ValueError(f"{_named(place)} is an integer of {bits} bits, beyond any 64-bit float") from error
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{_named(place)} is {float(value)}, which JSON does not know; use None or a text")
        return float(value)
    if isinstance(value, (list, tuple)):
        return [_plain(entry, (place, i), levels - 1) for i, entry in enumerate(value)]
    if isinstance(value, Mapping):
        result: dict[str, Any] = {}
        for key, entry in value.items():
            name = key if type(key) is str and key.isascii() else _key(key, _named(place))
            if name in result:
                raise ValueError(f"{_named(place)} has two keys that are {name!r} as text")
            result[name] = _plain(entry, (place, name), levels - 1)
        return result
    raise ValueError(
        f"{_named(place)} is of type {type(value).__name__}; "
        "it must be text, a number, true, false, null, a list or a mapping"
    )


def _named(place: _Place) -> str:
    """Write a place as Python would reach it; it is asked for where something is wrong."""
    holder, key = place
    return str(key) if holder is None else f"{_named(holder)}[{json.dumps(key)}]"


def _key(key: Any, where: str) -> str:
    if isinstance(key, str):
        return _text(str(key), f"the key {key!r} of {where}")
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
        return str(int(key))
    raise ValueError(f"{where} has the key {key!r} of type {type(key).__name__}; keys must be text or integers")


def _text(text: str, where: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{where} is no Unicode text (a half of a surrogate pair at {error.start})") from error
    return text


def read_json(text: bytes) -> Any:
    """Return what JSON text says; a ``ValueError`` if it is none in UTF-8, has a key twice, or is nested too deeply."""
    try:
        return json.loads(text.decode(), object_pairs_hook=_without_twins)
    except RecursionError as error:
        raise ValueError("JSON that is nested too deeply") from error


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        twice = next(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return result


def check_depth(value: Any, where: str, levels: int) -> None:
    """Refuse, with a ``ValueError``, what JSON text held if it is nested more than ``levels`` deep."""
    nested = [value]
    for _ in range(levels):
        inside = [entry for held in nested for entry in (held.values() if type(held) is dict else held)]
        nested = [entry for entry in inside if type(entry) is dict or type(entry) is list]
        if not nested:
            return
    raise ValueError(f"{where} lies too deep: at most {MAX_DEPTH} levels are stored")


def canonical_order(names: Iterable[str]) -> list[str]:
    """Return names in the order of their UTF-16 code units, as RFC 8785 sorts keys."""
    return sorted(names, key=lambda name: name.encode("utf-16-be"))


def canonical_json(value: Any) -> str:
    """Return the canonical text (RFC 8785) of what :func:`plain_json` or :func:`read_json` returned.

    A ``ValueError`` if it holds NaN or infinity.

    Examples
    --------
    >>> canonical_json({"b": [1.0, 1e-7, 1e21, 0.000001, -0.0], "a": {"10": True, "2": None}})
    '{"a":{"10":true,"2":null},"b":[1,1e-7,1e+21,0.000001,0]}'
    """
    if isinstance(value, (dict, list)):
        text = _PLAIN_WRITER(value)
        if text.isascii() and not _NUMBERS_APART.search(text):
            return text
    if isinstance(value, dict):
        return "{" + ",".join(f"{canonical_json(k)}:{canonical_json(value[k])}" for k in canonical_order(value)) + "}"
    if isinstance(value, list) and len(value) > _FEW:  # halves, as perhaps one entry alone needs another form
        middle = len(value) // 2
        return f"{canonical_json(value[:middle])[:-1]},{canonical_json(value[middle:])[1:]}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical_json, value)) + "]"
    if value is None or isinstance(value, (str, bool)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int) and abs(value) <= _EXACT:
        return str(value)
    return _number(float(value))


def _number(value: float) -> str:
    """Write a float as ECMAScript does: the shortest digits that give it back, an exponent below 1e-6 and from 1e21."""
    if value == 0.0:
        return "0"
    if not math.isfinite(value):
        raise ValueError(f"{value} is a number that JSON does not know")
    sign, digit_tuple, exponent = Decimal(repr(value)).as_tuple()
    assert isinstance(exponent, int)
    digits = "".join(map(str, digit_tuple)).rstrip("0")
    point = len(digit_tuple) + exponent  # the value is 0.DIGITS * 10 ** point
    if 0 < point <= 21:
        text = digits.ljust(point, "0")
        text = text if len(digits) <= point else f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        text = f"0.{'0' * -point}{digits}"
    else:
        text = f"{digits[0]}{'.' * (len(digits) > 1)}{digits[1:]}e{point - 1:+d}"
    return "-" * sign + text
