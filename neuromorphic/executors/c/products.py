"""Products of packed weights in C: functions that all products of a network share, by the types that they take.

A function goes block by block through the sources that are not zero, and adds their words to sums that share registers:

* of spikes (0 or 1), a mask leaves every second field of a word, so that the fields have room to add up: seven words of
  ternary weights fit four bits each and go on to fields of eight bits, which 126 spikes fill; words of 8-bit weights fit
  sixteen bits;
* of other values, where every sum is proven to fit 16 bits, two sums share a register: a word with two weights in it is
  multiplied by a value at once, modulo 2^32. In the end the lower sum is read, and taken from the upper one;
* of all others, every sum has a register, modulo 2^32.

The bias of the weights, times the sum of all values, is subtracted last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.executors.c.arrays import Array, Arrays, Events
from neuromorphic.executors.c.packing import Packed, packed
from neuromorphic.executors.c.text import indented
from neuromorphic.integers.symbols import Range

CHUNK = 7
"""Ternary words that add up within four bits: lists of events end with places of the column of zeros, to whole chunks."""
_SHORT = 1 << 15


@dataclass(frozen=True)
class Product:
    """What is multiplied and where the sums go.

    Attributes
    ----------
    weights : NDArray
        ``[out, in]``, within -128..127.
    source : Array
        What is multiplied.
    ends : tuple of int
        Its lowest and highest value.
    events : Events or None
        Its elements that are not zero; without them all are looked at.
    to : Array
        Where the sums go, with room for whole blocks.
    sums : Range
        Lowest and highest of every sum.
    """

    weights: NDArray[Any]
    source: Array
    ends: tuple[int, int]
    events: Events | None
    to: Array
    sums: Range

    @property
    def is_of_spikes(self) -> bool:
        """Whether the source gives 0 and 1, as a list."""
        return self.events is not None and self.ends[0] >= 0 and self.ends[1] <= 1

    @property
    def is_short(self) -> bool:
        """Whether every sum fits 16 bits."""
        return -_SHORT <= int(self.sums[0].min()) and int(self.sums[1].max()) < _SHORT


def product(arrays: Arrays, p: Product) -> list[str]:
    """Return the statements of a product; its weights and its function enter the file."""
    w = packed(p.weights)
    words = arrays.constant(w.words, "uint32_t")
    given = f"{words}, {w.stride}, {w.blocks}"
    if p.is_of_spikes and p.events:
        function = arrays.function(*_spikes(w, p))
        return [f"{function}({given}, {p.events.places.name}, {p.events.count.name}[0], {p.to.name});"]
    function = arrays.function(*_graded(w, p))
    if p.events:
        given += f", {p.events.places.name}, {p.events.count.name}[0]"
    else:
        given += f", {p.weights.shape[1]}"
    return [f"{function}({given}, {p.source.name}, {p.to.name});"]


def _spikes(w: Packed, p: Product) -> tuple[str, list[str]]:
    """Return name and text of the function that adds up columns, one for each spike."""
    assert p.events
    place, to, mask = p.events.places.type, p.to.type, "0x33333333u" if w.bits == 2 else "0x00ff00ffu"
    column = ["w = word[*place++];", f"even += w & {mask};", f"odd += w >> {w.bits} & {mask};"]
    inner = ["do {", *indented(column * CHUNK), "} while (place < end);"]
    names, width, most = ["even", "odd"], 16, (1 << 16) // 255 // CHUNK * CHUNK
    if w.bits == 2:
        names, width, most = ["s0", "s1", "s2", "s3"], 8, 255 // (2 * CHUNK) * CHUNK
        chunk = ["uint32_t even = 0, odd = 0, w;", *column * CHUNK]
        chunk += [f"s{k} += {'odd' if k % 2 else 'even'}{' >> 4' if k > 1 else ''} & 0x0f0f0f0fu;" for k in range(4)]
        inner = ["do {", *indented(chunk), "} while (place < end);"]
    spread = []
    for output in range(w.per_word):
        part, name = divmod(output, len(names))
        field = f"{names[name]}{f' >> {width * part}' if part else ''} & {(1 << width) - 1}u"
        spread.append(f"y[{output}] = ({to})(y[{output}] + (int32_t)({field}) - n);")
    body = [
        f"for (; blocks > 0; blocks--, word += stride, y += {w.per_word}) {{",
        f"    const {place} *place = places;",
        f"    for (int32_t k = 0; k < {w.per_word}; k++)",
        "        y[k] = 0;",
        f"    for (int32_t left = count; left > 0; left -= {most}) {{",
        f"        const int32_t here = left < {most} ? left : {most}, n = {w.bias} * here;".replace(
            ", n = 1 * here", ", n = here"
        ),
        f"        const {place} *const end = place + here;",
        f"        uint32_t {' = 0, '.join(names)} = 0{'' if w.bits == 2 else ', w'};",
        *indented(indented([*inner, *spread])),
        "    }",
        "}",
    ]
    name = f"add_spikes_{w.bits}_{place}_{to}".replace("_t", "")
    return name, _function(f"const {place} *places, int32_t count, {to} *y", body)


def _graded(w: Packed, p: Product) -> tuple[str, list[str]]:
    """Return name and text of the function that adds up multiples of columns."""
    field, pair = (1 << w.bits) - 1, p.is_short
    mask = f"0x{field | field << 16 if pair else field:x}u"
    value, to = p.source.type, p.to.type
    in_word = w.per_word // 2 if pair else w.per_word
    at_once = min(in_word, 8)
    add = [f"a{k} += (w{f' >> {w.bits * k}' if k else ''} & {mask}) * v;" for k in range(at_once)]
    if p.events:
        place = p.events.places.type
        header = "for (const {0} *place = places; place < places + count; place++) {{".format(place)
        take = ["const uint32_t v = (uint32_t)x[*place];", "uint32_t w = word[*place];"]
        total = ["uint32_t sum = 0;", "for (int32_t k = 0; k < count; k++)", "    sum += (uint32_t)x[places[k]];"]
        parameters = f"const {place} *places, int32_t count, const {value} *x, {to} *y"
    else:
        place = ""
        header = "for (int32_t k = 0; k < count; k++) {"
        take = ["const uint32_t v = (uint32_t)x[k];", "uint32_t w = word[k];"]
        total = ["uint32_t sum = 0;", "for (int32_t k = 0; k < count; k++)", "    sum += (uint32_t)x[k];"]
        parameters = f"int32_t count, const {value} *x, {to} *y"
    total.append(f"sum *= {w.bias * (0x10001 if pair else 1)}u;")
    parts = in_word // at_once
    if parts > 1:
        take += [f"w >>= {w.bits * at_once} * part;"]
    body = [
        f"uint32_t {', '.join(f'a{k} = 0' for k in range(at_once))};",
        header,
        *indented([*take, *add]),
        "}",
    ]
    for k in range(at_once):
        if pair:
            body += [f"y[{k}] = ({to})lower_of(a{k} - sum);", f"y[{k + in_word}] = ({to})upper_of(a{k} - sum);"]
        else:
            body.append(f"y[{k}] = ({to})signed_of(a{k} - sum);")
    if parts > 1:
        body = [f"for (int32_t part = 0; part < {parts}; part++, y += {at_once}) {{", *indented(body), "}"]
        step = "word += stride"
    else:
        step = f"word += stride, y += {w.per_word}"
    lines = [*total, f"for (; blocks > 0; blocks--, {step}) {{", *indented(body), "}"]
    name = "_".join(filter(None, ("add", "pairs" if pair else "values", str(w.bits), place, value, to))).replace(
        "_t", ""
    )
    return name, _function(parameters, lines)


def _function(parameters: str, body: list[str]) -> list[str]:
    return [f"(const uint32_t *word, int32_t stride, int32_t blocks, {parameters})", "{", *indented(body), "}"]


READERS = {
    "signed_of": """
static int32_t signed_of(uint32_t a)
{
    return a < 0x80000000u ? (int32_t)a : -1 - (int32_t)~a;
}
""",
    "lower_of": """
static int32_t lower_of(uint32_t a)
{
    return (int32_t)((a & 0xffffu) ^ 0x8000u) - 0x8000;
}

static int32_t upper_of(uint32_t a)
{
    return (int32_t)((a - (uint32_t)lower_of(a)) >> 16 ^ 0x8000u) - 0x8000;
}
""",
}
"""What reads a number modulo 2^32, and two of 16 bits that share one."""


def with_readers(functions: list[str]) -> list[str]:
    """Return functions after those that they call."""
    return [text.lstrip() for name, text in READERS.items() if any(f"{name}(" in f for f in functions)] + functions
