"""What is measured of a network and its program: the same from either executor, and on any number of threads."""

import numpy as np
import pytest
import torch

from neuromorphic import run
from neuromorphic.compiler import answers as module
from neuromorphic.compiler import compile_model, measure_agreement, runs
from neuromorphic.compiler.answers import answers
from pnbx_snn import PNBX

STEPS, SAMPLES = 9, 21
LAYERS = ["encoder", "block1"]


@pytest.fixture(scope="module")
def network():
    """A network whose program is not its equal, its inputs and the lengths of samples."""
    torch.manual_seed(0)
    sizes = {"d_hidden": 48, "d_ssm": 16, "d_rnn": 8, "rank": 6, "slots": 8, "num_steps": STEPS}
    model = PNBX(in_features=6, num_classes=3, threshold=0.4, **sizes)
    x = torch.rand(SAMPLES, STEPS, 6)
    model.calibrate(x)
    return model.eval(), model.encode(x), torch.arange(SAMPLES) % STEPS + 1


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(runs, "BATCH", 8)


def prepared(monkeypatch):
    """Let every program be worth preparing the native executor, and count how often that was done."""
    made = []
    native = module._native
    monkeypatch.setattr(module, "WORTH_PREPARING", 0)
    monkeypatch.setattr(module, "_native", lambda *args: made.append(args) or native(*args))
    return made


@pytest.mark.filterwarnings("ignore::neuromorphic.errors.CompileWarning")
@pytest.mark.parametrize("own", [False, True])
def test_both_executors_measure_the_same(network, own, small_batches, monkeypatch):
    """Batches of 8, 8 and 5: the native network keeps its size, and each batch starts anew."""
    model, inputs, lengths = network
    program, labels = compile_model(model), torch.arange(SAMPLES) % 3
    options = {"lengths": lengths} if own else {}
    expected = measure_agreement(model, program, inputs, labels, **options)
    made = prepared(monkeypatch)
    assert measure_agreement(model, program, inputs, labels, **options) == expected
    assert len(made) == 1
    assert 0.5 < expected["spikes_equal"] < 1


@pytest.mark.parametrize("count", [1, 5, 8])
def test_answers_are_those_of_a_run(network, count, monkeypatch):
    model, inputs, lengths = network
    program = compile_model(model)
    made = prepared(monkeypatch)
    answer = answers(program, LAYERS, num_steps=STEPS, samples=SAMPLES, batch=8, threads=2)
    shown, own = inputs[:, :count].numpy(), lengths[:count].numpy()
    for steps in (own, None):
        found, expected = answer(shown, steps), run(program, shown, lengths=steps)
        np.testing.assert_array_equal(found.labels(), expected.labels())
        for layer in LAYERS:
            np.testing.assert_array_equal(found.spikes()[layer], expected.spikes()[layer])
    assert made


def test_a_network_becomes_the_same_program_on_any_number_of_threads(network):
    """The mean of many weights, a scale, depends on how many threads sum it."""
    torch.manual_seed(0)
    model = PNBX(in_features=784, num_classes=3, d_hidden=512, d_ssm=64, d_rnn=32, slots=8)
    model.calibrate(torch.rand(32, 784))
    model.eval()
    threads = torch.get_num_threads()
    try:
        made = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            made.append(compile_model(model).sha256)
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert len(set(made)) == 1
