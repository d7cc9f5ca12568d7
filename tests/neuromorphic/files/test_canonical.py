"""Canonical JSON: RFC 8785's own examples, and what is stored, refused or becomes something else on the way in."""

import json
import math
import random
import shutil
import struct
import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuromorphic.files.canonical import canonical_json, plain_json, read_json

NUMBERS = {  # RFC 8785, appendix B: the bits of a number and its text
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}


@pytest.mark.parametrize(("bits", "text"), NUMBERS.items())
def test_numbers_of_the_standard(bits, text):
    assert canonical_json(struct.unpack(">d", bytes.fromhex(bits))[0]) == text


TEXTS = st.sampled_from(
    ["a", ":1.5", ",2e5", "[-1", ":1234567890123456", "é", "\ue000", "\U0001f600", '"', "\\", "[NaN"]
)
NUMBERS_OF_ALL_KINDS = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.just(2**53 + 1)
NESTED = st.recursive(
    st.none() | st.booleans() | NUMBERS_OF_ALL_KINDS.filter(lambda x: abs(x) < 1e300) | TEXTS,
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=40,
)


@given(NESTED)
def test_what_is_written_at_once_is_what_its_parts_make(value):
    """A list or mapping without odd numbers goes through json's own encoder, one with them part by part."""

    def composed(value):
        if isinstance(value, list):
            return f"[{','.join(map(composed, value))}]"
        if isinstance(value, dict):
            keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
            return f"{{{','.join(f'{canonical_json(key)}:{composed(value[key])}' for key in keys)}}}"
        return canonical_json(value)

    assert canonical_json(value) == composed(value)


def test_text_of_the_standard():
    """Section 3.2.2 and 3.2.3: what is escaped, and that keys are sorted by UTF-16, not by code points."""
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": '€$\u000f\nA\'B"\\\\"/',
        "literals": [None, True, False],
    }
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert canonical_json(value) == expected
    keys = ["€", "\r", "\ufb33", "1", "\U0001f600", "\x80", "ö"]
    assert list(json.loads(canonical_json(dict.fromkeys(keys)))) == [
        "\r",
        "1",
        "\x80",
        "ö",
        "€",
        "\U0001f600",
        "\ufb33",
    ]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_comes_back(value):
    assert float(json.loads(canonical_json(value))) == value


def test_integers_are_the_nearest_float_in_the_text_alone():
    assert canonical_json(2**53) == "9007199254740992"
    assert canonical_json(2**60 + 1) == canonical_json(2.0**60) == "1152921504606847000"
    assert plain_json(2**60 + 1, "seed") == 2**60 + 1


def test_plain_values_are_what_a_file_gives_back():
    given_value = {
        "epochs": {2: 0.5, np.int64(10): np.float32(0.25)},
        "shape": (1, (np.uint8(2), np.True_)),
        "text": np.str_("a"),
        "nothing": None,
    }
    plain = plain_json(given_value, "metadata")
    assert plain == {"epochs": {"2": 0.5, "10": 0.25}, "shape": [1, [2, True]], "text": "a", "nothing": None}
    assert json.loads(json.dumps(plain)) == plain
    assert plain_json(plain, "metadata") == plain


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1.0, math.nan]}, r'm\["a"\]\[1\] is nan, which JSON does not know; use None or a text'),
        ({"a": np.float32(math.inf)}, r'm\["a"\] is inf'),
        ({"a": np.zeros(2)}, r'm\["a"\] is of type ndarray; it must be text, a number'),
        ({"a": {1, 2}}, r'm\["a"\] is of type set'),
        ({"a": b"x"}, r'm\["a"\] is of type bytes'),
        ({"a": 1j}, r'm\["a"\] is of type complex'),
        ({1.5: 0}, "m has the key 1.5 of type float; keys must be text or integers"),
        ({True: 0}, "m has the key True of type bool"),
        ({None: 0}, "m has the key None"),
        ({1: 0, "1": 1}, "m has two keys that are '1' as text"),
        ({"a": "\ud800"}, r'm\["a"\] is no Unicode text'),
        ({"\udfff": 1}, "is no Unicode text"),
        ({"a": 10**400}, r'm\["a"\] is an integer of 1329 bits, beyond any 64-bit float'),
    ],
)
def test_what_json_cannot_hold_is_refused_by_name(value, message):
    with pytest.raises(ValueError, match=message):
        plain_json(value, "m")


def test_endless_values_are_refused():
    value: dict = {}
    value["self"] = value
    with pytest.raises(ValueError, match="lies too deep"):
        plain_json(value, "m")


@pytest.mark.parametrize("text", [b'{"a": 1, "b": 2, "a": 3}', b"[" * 100_000, b"\xff", b"{"])
def test_json_that_two_readers_could_read_differently_is_refused(text):
    with pytest.raises(ValueError):
        read_json(text)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node: JavaScript is what RFC 8785 is defined by")
def test_javascript_writes_the_same_text(tmp_path):
    rng = random.Random(0)

    def value(depth=0):
        kind = rng.random()
        if kind < 0.4 or depth > 3:
            bits = rng.getrandbits(64)
            number = struct.unpack("<d", struct.pack("<Q", bits))[0]
            return rng.choice([number if math.isfinite(number) else 0.5, rng.random() * 10.0 ** rng.randrange(-12, 26)])
        if kind < 0.5:
            return rng.choice([None, True, False, rng.randrange(-(2**60), 2**60)])
        if kind < 0.7:
            return "".join(chr(rng.choice([rng.randrange(256), rng.randrange(0xE000, 0x110000)])) for _ in range(4))
        if kind < 0.85:
            return [value(depth + 1) for _ in range(3)]
        return {
            chr(rng.choice([rng.randrange(256), rng.randrange(0xE000, 0x110000)])): value(depth + 1) for _ in "1234"
        }

    values = [value() for _ in range(2000)]
    (tmp_path / "in.json").write_text(json.dumps(values))
    script = """
    const write = v => Array.isArray(v) ? '[' + v.map(write).join(',') + ']'
      : v !== null && typeof v === 'object'
      ? '{' + Object.keys(v).sort().map(k => JSON.stringify(k) + ':' + write(v[k])).join(',') + '}' : JSON.stringify(v);
    const values = JSON.parse(require('fs').readFileSync(process.argv[1], 'utf8'));
    require('fs').writeFileSync(process.argv[2], JSON.stringify(values.map(write)));
    """
    subprocess.run(["node", "-e", script, str(tmp_path / "in.json"), str(tmp_path / "out.json")], check=True)
    assert [canonical_json(v) for v in values] == json.loads((tmp_path / "out.json").read_text())
