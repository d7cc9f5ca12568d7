"""Products of packed weights in C: functions that all products of a network share, by the types that they take.

A function goes block by block through the sources that are not zero, and adds their words to sums that share registers:

* of spikes (0 or 1), a mask leaves every second field of a word, so that the fields have room to add up: seven words
  of ternary weights fit four bits each and go on to fields of eight bits, which 126 spikes fill; words of 8-bit weights
  fit sixteen bits;
* of other values, where every sum is proven to fit 16 bits, two sums share a register: a word with two weights in it is
  multiplied by a value at once, modulo 2^32. In the end the lower sum is read, and taken from the upper one;
* of all others, every sum has a register, modulo 2^32.

The bias of the weights, times the sum of all values, is subtracted last.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import Template
from typing import Any

from numpy.typing import NDArray

from neuromorphic.executors.c.arrays import Array, Arrays, Events
from neuromorphic.executors.c.packing import Packed, bits_of, packed
from neuromorphic.executors.c.text import indented
from neuromorphic.integers.symbols import Range

_SHORT = 1 << 15
_WORD = 32
_AT_ONCE = 8  # sums that registers hold


@dataclass(frozen=True)
class Product:
    """What is multiplied and where the sums go.

    Attributes
    ----------
    weights : NDArray
        ``[out, in]``, within -128..127.
    source : Array or None
        What is multiplied; of spikes that are listed it is not needed.
    ends : tuple of int
        Its lowest and highest value.
    events : Events or None
        Its elements that are not zero; without them all are looked at.
    to : Array
        Where the sums go, with room for whole blocks, and for the sum of any of the terms.
    sums : Range
        Lowest and highest of every sum.
    """

    weights: NDArray[Any]
    source: Array | None
    ends: tuple[int, int]
    events: Events | None
    to: Array
    sums: Range


def product(arrays: Arrays, p: Product) -> list[str]:
    """Return the statements of a product; its weights and its function enter the file."""
    if p.events is not None and is_spikes(p.ends):
        w = packed(p.weights, parts=4 if bits_of(p.weights) == 2 else 2)
        function, source = _spikes(w, p.events, p.to), f"{p.events.places.name}, {p.events.count.name}[0]"
    else:
        w = packed(p.weights)
        assert p.source is not None
        is_short = int(p.sums[0].min()) >= -_SHORT and int(p.sums[1].max()) < _SHORT
        function = _values(w, p, pair=is_short and w.word_bits == _WORD and w.per_word > 1)
        listed = f"{p.events.places.name}, {p.events.count.name}[0]" if p.events else f"{p.weights.shape[1]}"
        source = f"{listed}, {p.source.name}"
    blocks, stride = w.words.shape
    return [
        f"{arrays.function(*function)}({arrays.constant(w.words, w.type)}, {stride}, {blocks}, {source}, {p.to.name});"
    ]


def is_spikes(span: tuple[int, int]) -> bool:
    """Whether a range holds nothing but 0 and 1."""
    return span[0] >= 0 and span[1] <= 1


SPIKES = Template("""
(const $word *word, int32_t stride, int32_t blocks, const $place *places, int32_t count, $sum *y)
{
    for (; blocks > 0; blocks--, word += stride, y += $outputs) {
        const $place *place = places;
        for (int32_t k = 0; k < $outputs; k++)
            y[k] = 0;
        for (int32_t left = count; left > 0; left -= $most) {
            const int32_t here = left < $most ? left : $most;
            const $place *const end = place + here;
            uint32_t $zeros;
$chunks
            for (int32_t k = 0; k < $fields; k++) {
$spread
            }
        }
    }
}
""")
CHUNK = 7
"""Columns that are added up without a loop, for ternary weights in fields of four bits."""


def _spikes(w: Packed, events: Events, to: Array) -> tuple[str, str]:
    """Return name and text of the function that adds up columns, one for each spike."""
    mask = (0x33333333 if w.bits == 2 else 0x00FF00FF) & (1 << w.word_bits) - 1
    column = ["w = word[*place++];", f"even += w & 0x{mask:x}u;", f"odd += w >> {w.bits} & 0x{mask:x}u;"]
    if w.bits == 2:
        names, width, most = ["s0", "s1", "s2", "s3"], 8, 255 // (2 * CHUNK) * CHUNK
        chunk, rest = (
            ["uint32_t even = 0, odd = 0, w;"],
            [
                "s0 += even & 0x0f0f0f0fu;",
                "s1 += odd & 0x0f0f0f0fu;",
                "s2 += even >> 4 & 0x0f0f0f0fu;",
                "s3 += odd >> 4 & 0x0f0f0f0fu;",
            ],
        )
    else:
        names, width, most = ["even", "odd"][: w.per_word], 16, 65535 // 255
        chunk, rest = ["uint32_t w;"], []
    column = column[: 1 + len(names)]
    while_any = ["do {", *indented(column), "} while (place < end);"]
    chunks = [f"while (end - place >= {CHUNK}) {{", *indented([*chunk, *column * CHUNK, *rest]), "}"]
    chunks += ["if (place < end) {", *indented([*chunk, *while_any, *rest]), "}"]
    fields = w.per_word // len(names)
    spread = []
    for part, name in enumerate(names):
        place = f"y[{part * fields} + k]"
        value = f"(int32_t)({name} & {(1 << width) - 1}u)"
        spread.append(f"{place} = ({to.type})({place} + {value} - {f'{w.bias} * ' if w.bias > 1 else ''}here);")
        spread.append(f"{name} >>= {width};")
    facts = {
        "word": w.type,
        "place": events.places.type,
        "sum": to.type,
        "outputs": w.per_word,
        "most": most,
        "zeros": ", ".join(f"{name} = 0" for name in names),
        "fields": fields,
        "chunks": "\n".join(indented(indented(indented(chunks)))),
        "spread": "\n".join(indented(indented(indented(indented(spread))))),
    }
    name = f"add_{w.word_bits // w.bits}x{w.bits}_spikes_{_short(events.places.type)}_{_short(to.type)}"
    return name, SPIKES.substitute(facts).strip()


VALUES = Template("""
(const $word *word, int32_t stride, int32_t blocks, $parameters, const $value *x, $sum *y)
{
    uint32_t bias = 0;
    $each
        bias += (uint32_t)x[$at];
    bias *= ${times}u;
    for (; blocks > 0; blocks--, word += stride) {
        for (int32_t part = 0; part < $parts; part++, y += $at_once) {
            uint32_t $zeros;
            $each {
                const uint32_t v = (uint32_t)x[$at];
                const uint32_t w = (uint32_t)word[$at]$shift;
$add
            }
$spread
        }
    }
}
""")


def _values(w: Packed, p: Product, *, pair: bool) -> tuple[str, str]:
    """Return name and text of the function that adds up multiples of columns, two sums to a register if they pair."""
    assert p.source is not None
    field = (1 << w.bits) - 1
    in_word = w.per_word // 2 if pair else w.per_word
    at_once = min(in_word, _AT_ONCE)
    mask = f"0x{field | field << 16 if pair else field:x}u"
    add = [f"a{k} += (w{f' >> {w.bits * k}' if k else ''} & {mask}) * v;" for k in range(at_once)]
    spread = [
        line
        for k in range(at_once)
        for line in (
            [f"y[{k}] = ({p.to.type})lower_of(a{k} - bias);", f"y[{k + in_word}] = ({p.to.type})upper_of(a{k} - bias);"]
            if pair
            else [f"y[{k}] = ({p.to.type})signed_of(a{k} - bias);"]
        )
    ]
    place = p.events.places.type if p.events else ""
    each = (
        f"for (const {place} *place = places; place < places + count; place++)"
        if place
        else "for (int32_t k = 0; k < count; k++)"
    )
    facts = {
        "word": w.type,
        "parameters": f"const {place} *places, int32_t count" if place else "int32_t count",
        "value": p.source.type,
        "sum": p.to.type,
        "each": each,
        "at": "*place" if place else "k",
        "times": w.bias * (0x10001 if pair else 1),
        "parts": in_word // at_once,
        "at_once": w.per_word if pair else at_once,
        "zeros": ", ".join(f"a{k} = 0" for k in range(at_once)),
        "shift": f" >> {w.bits * at_once} * part" if in_word > at_once else "",
        "add": "\n".join(indented(indented(indented(indented(add))))),
        "spread": "\n".join(indented(indented(indented(spread)))),
    }
    kinds = [_short(kind) for kind in (place, p.source.type, p.to.type) if kind]
    return "_".join([f"add_{w.per_word}x{w.bits}", "pairs" if pair else "values", *kinds]), VALUES.substitute(
        facts
    ).strip()


def _short(kind: str) -> str:
    """Return a type in few letters: uint8_t is u8."""
    return kind.removesuffix("_t").replace("uint", "u").replace("int", "s")


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
