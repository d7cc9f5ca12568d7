"""Programs of networks that hear several streams."""

import numpy as np
import pytest
import torch

import neuromorphic
from neuromorphic.ops import Dense, Input
from pnbx_snn.networks.pnbx import PNBX

SMALL = {"d_hidden": 32, "d_ssm": 4, "d_rnn": 4, "fast_weights": "none", "hippocampus": "none", "messages": False}


@pytest.mark.parametrize("encoders", ["own", "shared"])
def test_streams_of_different_ranges_compile_and_run_alike(encoders, tmp_path):
    torch.manual_seed(0)
    streams = {"sound": 3, "image": 5}
    model = PNBX(in_features=8, num_classes=4, num_steps=9, streams=streams, encoders=encoders, quantize=True, **SMALL)
    x = torch.rand(20, 9, 8) * torch.tensor([6.0] * 3 + [1.0] * 5)
    x[:5, :, :3] = 0.0  # no sound
    x[5:10, :, 3:] = 0.0  # no image
    model.calibrate(x)
    model.eval()
    program = neuromorphic.compile(model)
    assert program.input == Input("input", 8, -128, 127, scale=float(torch.tensor(1 / 127)))
    assert [(s["name"], s["first"], s["width"]) for s in program.metadata["streams"]] == [
        ("sound", 0, 3),
        ("image", 3, 5),
    ]
    weights = program["encoder_synapses"].weights
    assert isinstance(program["encoder_synapses"], Dense)
    apart = not weights[:16, 3:].any() and not weights[16:, :3].any()
    assert apart == (encoders == "own")
    program.save(tmp_path / "two.npz")
    program = neuromorphic.load(tmp_path / "two.npz")
    inputs = model.encode(x).numpy()
    with torch.no_grad():
        events = model.classify(x)[1][0].numpy()
    for executor in ("torch", "onnxruntime", "native", "c"):
        same, _, recording = neuromorphic.verify(program, inputs, executor)
        assert same.spikes_different == 0, executor
    assert np.mean(recording.spikes()["encoder"] == events) > 0.999
    # A unit of a stream is a 127th of its peak: integers that a device makes itself mean the same.
    units = np.repeat([s["peak"] / 127 for s in program.metadata["streams"]], [3, 5])
    codes = np.clip(np.rint(x.numpy() / units), -128, 127).astype(np.int32).transpose(1, 0, 2)
    assert np.abs(codes - program.prepare_inputs(inputs)).max() <= 1
