import json

import optuna
import pytest

from pnbx_snn.errors import ConfigError
from pnbx_snn.search.sources import default_space, load_space
from pnbx_snn.search.space import ONLY_WITH, Choice, Lists, Range
from pnbx_snn.training.config import load_config, make_config, section_classes
from pnbx_snn.training.kinds import KINDS

optuna.logging.set_verbosity(optuna.logging.WARNING)


def written(tmp_path, search, network="[model]"):
    path = tmp_path / "space.toml"
    path.write_text(f"{network}\n[search]\n{search}\n")
    return load_space(load_config(path), path)


def draws(space, number=40, seed=0):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [space.draw(study.ask()) for _ in range(number)]


def test_what_is_drawn_is_in_the_space_and_all_of_it_is_drawn(tmp_path):
    space = written(
        tmp_path,
        "model.hidden = {low = 4, high = 6, length = [1, 2]}\n"
        "model.num_steps = [1, 2]\nmodel.learn_beta = [false, true]\n"
        "train.learning_rate = {low = 0.001, high = 0.1, log = true}\n"
        "train.label_smoothing = {low = 0, high = 0.2, step = 0.1}\n"
        "train.batch_size = {low = 16, high = 32, step = 8}",
    )
    found = draws(space, 60)
    assert {len(drawn["model.hidden"]) for drawn in found} == {1, 2}
    assert {width for drawn in found for width in drawn["model.hidden"]} == {4, 5, 6}
    assert {drawn["model.num_steps"] for drawn in found} == {1, 2}
    assert {drawn["train.batch_size"] for drawn in found} == {16, 24, 32}
    assert {round(drawn["train.label_smoothing"], 6) for drawn in found} == {0.0, 0.1, 0.2}
    rates = sorted(drawn["train.learning_rate"] for drawn in found)
    assert 0.001 <= rates[0] < 0.005
    assert rates[30] < 0.03  # evenly on a log scale: the median is near 0.01
    config = space.config(found[0], where="here")
    assert config.model.hidden == found[0]["model.hidden"]
    assert config.train.learning_rate == found[0]["train.learning_rate"]
    assert config.model.beta == space.base.model.beta


def refused(space, drawn):
    """Return why a draw is no configuration: widths of a torus, domains of glia."""
    try:
        space.config(drawn, where="x")
    except ConfigError as error:
        return str(error)
    return ""


def test_sizes_of_spaces():
    numbers = Range(4, 6)
    assert (Choice((1, 2)).size, numbers.size, Lists(numbers, (1, 2)).size) == (2, 3, 3 + 9)
    assert (Range(0.0, 1.0, step=0.25).size, Range(0.0, 1.0).size) == (5, float("inf"))


def test_keys_of_a_part_that_is_off_are_not_drawn(tmp_path):
    space = written(
        tmp_path,
        'pnbx.d_ssm = [8, 16]\npnbx.ssm = ["none", "real"]\npnbx.rank = [2, 4]\npnbx.slots = [3, 5]',
        '[pnbx]\nd_hidden = 64\nfast_weights = "none"',
    )
    found = draws(space)
    assert {("pnbx.d_ssm" in drawn, drawn["pnbx.ssm"]) for drawn in found} == {(False, "none"), (True, "real")}
    assert all("pnbx.rank" not in drawn and "pnbx.slots" in drawn for drawn in found)


def test_every_key_that_hangs_on_another_exists():
    fields = {f"{name}.{key}" for name, cls in section_classes().items() for key in cls.model_fields}
    assert {*ONLY_WITH, *ONLY_WITH.values()} <= fields


@pytest.mark.parametrize(
    ("section", "keys", "drawable"),
    [
        ("pnbx", {"d_hidden": 256}, {"pnbx.ssm", "pnbx.num_blocks", "pnbx.d_hidden", "pnbx.glia"}),
        ("model", {"hidden": [64, 32]}, {"model.hidden", "model.num_steps", "model.learn_beta", "model.reset"}),
        ("conv", {}, {"conv.channels", "conv.kernel_size", "conv.num_steps", "conv.reset"}),
    ],
)
def test_the_default_space_fits_its_network(section, keys, drawable):
    space = default_space(make_config({"data": {"name": "mnist"}, section: keys}))
    found = draws(space, 12)
    assert drawable <= set(found[0])
    why = [refused(space, drawn) for drawn in found]
    assert "" in why
    assert all("torus" in text or "divide" in text for text in why if text)
    assert len({json.dumps(drawn) for drawn in found}) > 6


def test_words_of_an_option_come_from_the_signature():
    space = default_space(make_config({"pnbx": {"d_hidden": 128, "d_ssm": 32}}))
    assert space.domains["pnbx.ssm"] == Choice(("selective", "real", "complex", "none"))
    assert space.domains["pnbx.d_hidden"] == Choice((16, 32, 64, 128))
    assert space.domains["pnbx.messages"] == Choice((False, True))


def test_a_network_without_a_default_space_is_named():
    assert "cnn" in KINDS
    with pytest.raises(ConfigError, match=r"no default space for \[cnn\] .* write a section \[search\]"):
        default_space(make_config({"data": {"name": "mnist"}, "cnn": {}}))


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("model.hiden = [[3]]", r"search\.model\.hiden: unknown key model\.hiden; the keys are hidden"),
        ("pnbx.ssm = ['none']", r"the configuration has no section \[pnbx\]"),
        ("model.beta = [0.5, 1.5]", r"model\.beta: each value must be a number in \[0, 1\], got 1.5"),
        ("model.reset = ['zero', 'never']", r"each value must be 'zero', 'subtract' or 'none', got 'never'"),
        ("model.beta = {low = 0.5, high = 1.5}", r"must be a number in \[0, 1\], got 1.5"),
        ("model.hidden = {low = 4, high = 8}", r"length must be a whole number of 1 or more, .* got \[None\]"),
        ("model.hidden = {low = 0, high = 8, length = 1}", r"whole numbers in \[1, 65536\], got \[0\]"),
        ("model.hidden = {low = 4, high = 8.5, length = 1}", "high must be a whole number, got 8.5"),
        ("model.beta = {low = 0.5, high = 0.5}", "low must be below high"),
        ("model.beta = {low = 0.0, high = 0.5, log = true}", "low above 0 with log"),
        ("model.beta = {low = 0.1, high = 0.5, log = true, step = 0.1}", "true goes without step"),
        ("model.beta = {low = 0.1, up = 0.5}", "unknown key up; a range has high, length, log, low, step"),
        ("model.beta = {low = 0.1}", "high must be a number, got None"),
        ("model.beta = {low = 0.1, high = 0.2, length = 1}", "length is for keys that are lists"),
        ("model.reset = {low = 1, high = 2}", "a range is for numbers"),
        ("model.beta = []", "must be a list of choices, or a table"),
        ("model.beta = 0.5", "must be a list of choices, or a table .* got 0.5"),
        ("train.epochs = [1, 2]", "epochs are the same in every trial"),
        ("data.part = ['train']", "measured on the validation part"),
        ("hidden = [1]", r"search\.hidden must be a key of a section"),
        ("", "must be a section with keys"),
    ],
)
def test_what_cannot_be_searched_is_named(tmp_path, search, message):
    with pytest.raises(ConfigError, match=message):
        written(tmp_path, search)


def test_other_commands_pass_over_the_section(tmp_path):
    path = tmp_path / "space.toml"
    path.write_text("[model]\nhidden = [3]\n[search]\nmodel.hidden = [[2], [3]]")
    assert load_config(path) == make_config({"model": {"hidden": [3]}})
