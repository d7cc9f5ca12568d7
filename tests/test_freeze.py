"""``train.freeze``: at the end of a training, batch norms and glia stand still, so what learns is what is used."""

import itertools

import pytest
import torch

from pnbx_snn.checkpoint import as_trained, build_model
from pnbx_snn.config import make_config
from pnbx_snn.data import Split
from pnbx_snn.devices import Workers
from pnbx_snn.errors import ConfigError
from pnbx_snn.trainer import Trainer

SIZES = {"d_hidden": 32, "num_steps": 2, "d_ssm": 4, "d_rnn": 4, "rank": 2, "slots": 3}


def still(model):
    """What may not move: running statistics and glia's state."""
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


@pytest.mark.parametrize("freeze", [0.0, 0.5, 1.0])
def test_statistics_and_thresholds_stand_still_in_the_last_epochs(freeze):
    config = make_config({"pnbx": SIZES, "train": {"epochs": 2, "freeze": freeze, "threads": 1, "max_shift": 0}})
    data = Split(torch.rand(128, 64), torch.arange(128) % 10)
    with Workers() as workers:
        run = Trainer(config, data, workers)
        seen = [still(run.model)]
        for epoch in (1, 2):
            before = run.model.readout.weight.clone()
            run.train_epoch(epoch)
            seen.append(still(run.model))
            assert not torch.equal(before, run.model.readout.weight)
    moved = [any(not torch.equal(now[name], then[name]) for name in now) for then, now in itertools.pairwise(seen)]
    assert moved == {0.0: [True, True], 0.5: [True, False], 1.0: [False, False]}[freeze]


def test_a_frozen_network_is_not_moved_afterwards():
    with pytest.raises(
        ConfigError, match="train.settle moves the thresholds .* must be 0 with train.freeze = 0.5, got 3"
    ):
        make_config({"pnbx": SIZES, "train": {"freeze": 0.5, "settle": 3}})


def test_what_is_trained_is_what_is_deployed_by_default_and_old_files_keep_their_meaning():
    """quantize is on where nothing says otherwise; a file that was written before it existed was trained without it."""
    assert build_model(make_config({"pnbx": SIZES})).quantize
    assert not build_model(make_config(as_trained({"pnbx": SIZES}))).quantize
    assert build_model(make_config(as_trained({"pnbx": {**SIZES, "quantize": True}}))).quantize
    assert as_trained({"model": {}}) == {"model": {}}
