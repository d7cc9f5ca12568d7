import re
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import pytest
import torch
from annotated_types import Interval, Len
from hypothesis import given
from hypothesis import strategies as st

from pnbx_snn.checks import Size, Written
from pnbx_snn.errors import ConfigError, PnbxTypeError, PnbxValueError
from pnbx_snn.networks.base import Network
from pnbx_snn.networks.cnn import SmallCNN
from pnbx_snn.surrogate import SURROGATES
from pnbx_snn.training.checkpoint import load_run
from pnbx_snn.training.config import Config, differing_keys, load_config, make_config, section_classes, to_toml
from pnbx_snn.training.kinds import KINDS, SIZES, Kind, register
from pnbx_snn.training.run import train
from pnbx_snn.training.settings import allowed_values

CONFIGS = Path(__file__).parents[3] / "pnbx_snn" / "configs"
DIGITS = CONFIGS / "digits.toml"
SECTIONS = {name: cls for name, cls in section_classes().items() if name != "baseline"}


@pytest.fixture(autouse=True)
def _core_alone(monkeypatch):
    """Take away the kind that studies register, where other tests have imported them."""
    monkeypatch.delitem(KINDS, "baseline", raising=False)


def write(folder: Path, text: str) -> Path:
    path = folder / "c.toml"
    path.write_text(text)
    return path


def test_an_empty_file_is_the_default_configuration(tmp_path):
    assert load_config(write(tmp_path, "")) == Config()


def test_the_examples_name_every_key():
    values = tomllib.loads(DIGITS.read_text())
    assert {s: list(keys) for s, keys in values.items() if s != "data"} == {
        s: list(SECTIONS[s].model_fields) for s in ("model", "train")
    }
    named = [tomllib.loads(path.read_text()) for path in CONFIGS.glob("*.toml")]
    for section, cls in SECTIONS.items():
        assert {key for values in named for key in values.get(section, {})} == set(cls.model_fields), section


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_loads(path):
    config = load_config(path)
    assert make_config(tomllib.loads(to_toml(config))) == config


configs = st.fixed_dictionaries(
    {
        "data": st.fixed_dictionaries({"part": st.sampled_from(["train", "train_all"])}),
        "model": st.fixed_dictionaries(
            {
                "hidden": st.lists(st.integers(1, 65_536), min_size=1, max_size=5),
                "beta": st.floats(0, 1),
                "threshold": st.floats(0, exclude_min=True, allow_infinity=False),
                "spike_grad": st.sampled_from(SURROGATES),
                "learn_beta": st.booleans(),
                "encoder": st.sampled_from(["direct", "rate", "latency"]),
            }
        ),
        "train": st.fixed_dictionaries(
            {"learning_rate": st.floats(0, 10, exclude_min=True), "seed": st.integers(0, 2**63 - 1)}
        ),
    }
)


@given(configs)
def test_written_and_read_again_is_identical(values):
    config = make_config(values)
    assert make_config(tomllib.loads(to_toml(config))) == config
    assert differing_keys(config, config) == []


def test_overrides_win_and_are_toml_or_bare_strings(tmp_path):
    path = write(tmp_path, "[train]\nepochs = 3\nseed = 5\n")
    overrides = ["train.epochs=7", "model.hidden=[4, 5]", "model.learn_beta=true", "model.reset=subtract"]
    config = load_config(path, [*overrides, 'model.encoder="rate"', "train.learning_rate=1e-3", "train.epochs = 9"])
    assert (config.train.epochs, config.train.seed, config.train.learning_rate) == (9, 5, 1e-3)
    assert (config.model.hidden, config.model.learn_beta) == ((4, 5), True)
    assert (config.model.reset, config.model.encoder) == ("subtract", "rate")


def test_a_whole_number_is_a_number_but_not_the_other_way_round(tmp_path):
    assert load_config(write(tmp_path, "[model]\nbeta = 1\n")).model.beta == 1.0
    with pytest.raises(ConfigError, match="num_steps must be a whole number"):
        load_config(write(tmp_path, "[model]\nnum_steps = 8.0\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[modle]\nbeta = 0.5", r"c.toml: unknown section [modle], the nearest known one is [model]"),
        ("[model]\nbeat = 0.5", r"c.toml: unknown key model.beat, the nearest known one is model.beta"),
        ("[model]\nxyz = 0.5", r"c.toml: unknown key model.xyz, the nearest known one is model."),
        ("[model]\nepochs = 3", r"c.toml: unknown key model.epochs, epochs belongs to [train]"),
        ("epochs = 3", r"c.toml: unknown section [epochs], the nearest known one is "),
        ("train = 3", r"c.toml: train must be a section [train], got 3"),
        ("[model]\nbeta = 1.3", r"c.toml: model.beta must be a number in [0, 1], got 1.3"),
        ("[model]\nbeta = nan", r"c.toml: model.beta must be a number in [0, 1], got nan"),
        ("[model]\nbeta = true", r"c.toml: model.beta must be a number in [0, 1], got True"),
        ("[model]\nbeta = '0.5'", r"c.toml: model.beta must be a number in [0, 1], got '0.5'"),
        ("[model]\nthreshold = inf", r"c.toml: model.threshold must be a number above 0, got inf"),
        ("[model]\nhidden = []", r"c.toml: model.hidden must be a list of 1 to 64 whole numbers in [1, 65536], got []"),
        ("[model]\nhidden = [8, 0, -1]", r"c.toml: model.hidden must be a list of 1 to 64 whole numbers in [1, 65536]"),
        ("[model]\nhidden = 8", r"c.toml: model.hidden must be a list of 1 to 64 whole numbers in [1, 65536], got 8"),
        ("[model.hidden]\na = 8", r"c.toml: model.hidden must be a list of 1 to 64 whole numbers"),
        ("[model]\nreset = 'zeor'", r"c.toml: model.reset must be 'zero', 'subtract' or 'none', got 'zeor'"),
        ("[model]\nspike_grad = 'atn'", r"unknown name 'atn', did you mean 'atan'?"),
        ("[model]\nlearn_beta = 1", r"c.toml: model.learn_beta must be true or false, got 1"),
        ("[data]\npart = 'test'", r"c.toml: data.part must be 'train' or 'train_all', got 'test'"),
        ("[train]\nepochs = 0", r"c.toml: train.epochs must be a whole number in [1, 1000000], got 0"),
        ("[train]\nbatch_size = 1", r"c.toml: train.batch_size must be a whole number in [2, 65536], got 1"),
        ("[train]\nseed = -1", r"c.toml: train.seed must be a whole number in [0, 9223372036854775807], got -1"),
        (
            "[train]\nepochs = 3\n[train]\n",
            r"c.toml: is no TOML: Cannot declare ('train',) twice (at line 3, column 7)",
        ),
        ("[pnbx]\nd_hidden = 100", r"c.toml: pnbx.neurons_per_domain is not usable: must divide pnbx.d_hidden = 100"),
        ("[pnbx]\nd_hidden = 34\nglia = false", r"c.toml: pnbx.messages is not usable: pnbx.d_hidden must fit a torus"),
        ("[pnbx]\nrank = -1", r"c.toml: pnbx.rank must be a whole number in [1, 4096], got -1"),
        ("[pnbx]\nssm = 's4'", r"c.toml: pnbx.ssm must be 'selective', 'real', 'complex' or 'none', got 's4'"),
        ("[pnbx]\nedges = 'learned'", r"c.toml: pnbx.edges must be 'equal' or 'ternary', got 'learned'"),
        ("[pnbx]\nhipocampus = 'none'", r"unknown key pnbx.hipocampus, the nearest known one is pnbx.hippocampus"),
        (
            "[pnbx]\n[model]",
            r"c.toml: only one of [model], [pnbx], [cnn] and [conv] may be there, got [model] and [pnbx]",
        ),
        (
            "[data]\nname = 'fsdd'",
            r"c.toml: data.name = 'fsdd' is a sequence and needs [pnbx] or [cnn], got [model]",
        ),
        (
            "[baseline]\nkind = 'gru'",
            "c.toml: unknown section [baseline], networks here are [model], [pnbx], [cnn] and [conv]; the repository's "
            "studies register [baseline]: run `python -m studies.rivals` in its folder in place of `pnbx-snn`",
        ),
        ("[train]\nepochs = \n", r"c.toml: is no TOML: Invalid value (at line 2, column 10)"),
    ],
)
def test_what_is_wrong_is_said_with_file_key_value_and_what_is_allowed(tmp_path, text, message):
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        load_config(write(tmp_path, text))
    assert str(caught.value).count("\n") == 0


def test_every_problem_has_its_line(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, "[model]\nbeta = 2\nbeat = 3\n[train]\nepochs = -1\n"))
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epochs=0", "--set train.epochs=0: train.epochs must be a whole number in [1, 1000000], got 0"),
        ("train.epochs=", "--set train.epochs=: train.epochs must be a whole number in [1, 1000000], got ''"),
        ("train.epochs=1\nseed=2", "train.epochs must be a whole number in [1, 1000000], got '1\\nseed=2'"),
        ("train.epoch=3", "--set train.epoch=3: unknown key train.epoch, the nearest known one is train.epochs"),
        ("trian.epochs=3", "--set trian.epochs=3: unknown section [trian], the nearest known one is [train]"),
        ("model.hidden=[8", "--set model.hidden=[8: model.hidden must be a list"),
        ("train.epochs", "--set must be section.key=value, for example train.epochs=10, got 'train.epochs'"),
        ("epochs=3", "--set must be section.key=value, for example train.epochs=10, got 'epochs=3'"),
        ("", "--set must be section.key=value, for example train.epochs=10, got ''"),
    ],
)
def test_bad_overrides(tmp_path, override, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config(write(tmp_path, "[train]\nepochs = 3\n"), [override])


def test_an_override_of_something_that_is_no_section(tmp_path):
    with pytest.raises(ConfigError, match=r"c.toml: train must be a section"):
        load_config(write(tmp_path, "train = 3"), ["train.epochs=3"])


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_override_raises_anything_else(name, value):
    with suppress(ConfigError):
        load_config(DIGITS, [f"{name}={value}", f"train.epochs={value}"])


def test_files_that_are_no_configuration(tmp_path):
    with pytest.raises(ConfigError, match=r"missing.toml: no such file"):
        load_config(tmp_path / "missing.toml")
    with pytest.raises(ConfigError, match=r"cannot be read: must be a regular file, is a folder"):
        load_config(tmp_path)
    (tmp_path / "b.toml").write_bytes(b"a = '\xff\xfe'")
    with pytest.raises(ConfigError, match="b.toml: is no TOML file: not UTF-8 text at byte 5"):
        load_config(tmp_path / "b.toml")
    with pytest.raises(ConfigError, match="nested too deeply"):
        load_config(write(tmp_path, "a = " + "[" * 100_000))


@pytest.mark.parametrize("section", SECTIONS)
def test_the_stated_ranges_are_the_ranges(section):
    """The text of an error and the check are written apart: the borders must agree."""
    checked = 0
    for key, field in SECTIONS[section].model_fields.items():
        text = allowed_values(field) or ""
        borders = re.search(r"(?:a|whole) number in ([\[(])([\d.]+), ([\d.]+)([\])])", text)
        if borders is None:
            continue
        number = int if "whole" in text else float
        # Of what d_hidden must fit; data that have a side.
        free = {"pnbx": {"glia": False, "messages": False}, "data": {"name": "mnist"}}.get(section, {})
        pairs = {"name": "pairs", "streams": ["a", "b"], "sources": ["digits", "digits"]}  # which may lose a stream
        data = {"stream_dropout": pairs, "voices": {"name": "fsdd"}}
        beside = {"data": data[key], "pnbx": {}} if section == "augment" and key in data else {}
        low, high = number(borders[2]), number(borders[3])
        outside = 1 if number is int else 1e-9
        for value, taken in [
            (low, borders[1] == "["),
            (high, borders[4] == "]"),
            (low - outside, False),
            (high + outside, False),
        ]:
            if taken:
                make_config({**beside, section: {**free, key: value}})
            else:
                with pytest.raises(ConfigError):
                    make_config({**beside, section: {**free, key: value}})
        checked += 1
    at_least = {
        "data": 2,
        "model": 2,
        "pnbx": 12,
        "cnn": 2,
        "conv": 2,
        "augment": 3,
        "distill": 2,
        "sparsity": 6,
        "train": 10,
    }
    assert checked >= at_least[section]


def test_differing_keys_name_both_values():
    new = make_config({"train": {"epochs": 3}, "model": {"hidden": [8]}})
    assert differing_keys(Config(), new) == ["model.hidden: saved (256,), now (8,)", "train.epochs: saved 60, now 3"]


class Linear(Network):
    """The smallest network that somebody could bring along.

    It has one option of each form that a signature may have.
    """

    section = "linear"

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        gain: Annotated[float, Interval(gt=0, le=8)] = 1.0,
        sizes: Annotated[Sequence[int], Written(Annotated[tuple[Size, ...], Len(1, 3)])] = (2,),
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.gain, self.sizes, self.map = gain, sizes, torch.nn.Linear(in_features, num_classes, bias=bias)

    def forward(self, x):
        return self.gain * self.map(x.flatten(1))


def test_a_network_of_ones_own_is_configured_trained_and_loaded(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"unknown section \[linear\]"):
        make_config({"linear": {}})
    monkeypatch.setitem(KINDS, "linear", Kind(Linear, SIZES, check=_no_small_gain))
    assert make_config({"linear": {"sizes": [3, 4]}}).linear.model_dump() == {"gain": 1, "sizes": (3, 4), "bias": True}
    for values, message in [
        ({"gain": 9}, "linear.gain must be a number in (0, 8], got 9"),
        ({"sizes": [1] * 4}, "linear.sizes must be a list of 1 to 3 whole numbers in [1, 65536], got [1, 1, 1, 1]"),
        ({"bias": 1}, "linear.bias must be true or false, got 1"),
        ({"in_features": 3}, "unknown key linear.in_features, the nearest known one is linear."),
        ({"gain": 0.5}, "configuration: a gain below 1 is not for digits"),
    ]:
        with pytest.raises(ConfigError, match=re.escape(message)):
            make_config({"linear": values})
    config = make_config({"linear": {"gain": 2.0}, "train": {"epochs": 1}})
    trained = train(config, tmp_path / "run").model
    model, saved = load_run(tmp_path / "run")
    assert saved == config
    assert (type(model), model.gain, model.sizes) == (Linear, 2.0, (2,))
    assert torch.equal(model.map.weight, trained.map.weight)
    with pytest.raises(PnbxTypeError, match=r"Linear.encode: a \[linear\] has no steps"):
        model.encode(torch.zeros(1, 64))


def _no_small_gain(data, options):
    if options.gain < 1:
        raise ValueError(f"a gain below 1 is not for {data.name}")


def test_a_section_belongs_to_one_kind():
    with pytest.raises(PnbxValueError, match=r"register: \[cnn\] is the section of SmallCNN already"):
        register(Kind(SmallCNN, SIZES))
    with pytest.raises(AttributeError, match=r"no section \[baseline\]"):
        _ = Config().baseline
