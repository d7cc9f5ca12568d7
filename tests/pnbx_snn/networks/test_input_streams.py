"""A network of several streams: scales of their own, encoders of their own, whole trainings, and their programs."""

import json

import pytest
import torch
from typer.testing import CliRunner

from pnbx_snn.cli import app
from pnbx_snn.data.streams import Pairs
from pnbx_snn.errors import PnbxValueError, ShapeError
from pnbx_snn.layers.bitlinear import BitLinear
from pnbx_snn.layers.stream_linear import StreamLinear
from pnbx_snn.networks.input_streams import InputStreams
from pnbx_snn.networks.pnbx import PNBX
from pnbx_snn.training.checkpoint import load_run
from pnbx_snn.training.config import make_config
from pnbx_snn.training.packed import load_packed, pack_run
from pnbx_snn.training.run import train

TINY = {"d_hidden": 32, "num_steps": 3, "d_ssm": 4, "d_rnn": 4, "fast_weights": "none", "hippocampus": "none"}
TINY |= {"messages": False, "norm": "affine", "encoders": "own"}
PAIRS = {"name": "pairs", "part": "train", "streams": ["left", "right"], "sources": ["digits", "digits"], "pairs": 64}


def net(**options):
    torch.manual_seed(0)
    return PNBX(in_features=5, num_classes=3, **{**TINY, "streams": {"sound": 2, "image": 3}, **options})


@pytest.mark.parametrize("encoders", ["own", "shared"])
def test_the_range_of_a_stream_makes_no_difference(encoders):
    x = torch.rand(16, 6, 5)
    one, two = net(encoders=encoders), net(encoders=encoders)
    one.calibrate(x)
    larger = x * torch.tensor([8.0, 8.0, 1.0, 1.0, 1.0])
    two.calibrate(larger)
    assert torch.equal(one.encode(x), two.encode(larger))
    assert one.encode(x).abs().amax(dim=(0, 1)).max() == 1
    assert torch.equal(one.eval().classify(x)[0], two.eval().classify(larger)[0])
    assert [stream["peak"] for stream in two.streams.layout()] == pytest.approx(
        [larger[:, :, :2].max().item(), larger[:, :, 2:].max().item()]
    )


def test_scales_look_at_a_samples_own_steps():
    x = torch.rand(4, 6, 5)
    x[:, 3:] = 100.0
    model = net()
    model.calibrate(x, lengths=torch.full((4,), 3))
    assert model.streams.peaks.max() <= 1


def test_own_encoders_hear_their_own_stream_only():
    x = torch.rand(16, 6, 5)
    model = net()
    model.calibrate(x)
    model.eval()
    whole = model.classify(x)[1][0]  # events [T, B, H]
    for lost, ours, others in ((slice(0, 2), slice(0, 16), slice(16, 32)), (slice(2, 5), slice(16, 32), slice(0, 16))):
        silent = x.clone()
        silent[:, :, lost] = 0
        events = model.classify(silent)[1][0]
        assert torch.equal(events[..., others], whole[..., others])
        assert not torch.equal(events[..., ours], whole[..., ours])


def test_a_layer_of_streams_is_ternary_blocks_along_a_diagonal():
    layer = StreamLinear([2, 3, 1], 8, input_range="int8")
    x = torch.rand(10, 6) * torch.tensor([1, 1, 3, 3, 3, 1.0])
    layer.calibrate_input(x)
    assert [part.out_features for part in layer.parts] == [3, 3, 2]
    assert len({part.input_scale.item() for part in layer.parts}) == 1
    whole = BitLinear(6, 8, input_range="int8")
    whole.calibrate_input(x)
    assert torch.equal(whole.input_scale, layer.input_scale)
    streams = torch.split(x, [2, 3, 1], dim=1)
    expected = torch.cat([part(values) for part, values in zip(layer.parts, streams, strict=True)], dim=1)
    assert torch.equal(layer(x), expected)
    with pytest.raises(PnbxValueError, match="one output or more for each stream, got 2 for 3"):
        StreamLinear([2, 3, 1], 2)
    with pytest.raises(ShapeError, match=r"must be \[..., 6\], got \[4, 5\]"):
        layer(torch.ones(4, 5))


def test_streams_are_refused_by_name():
    with pytest.raises(PnbxValueError, match="1 value or more and 5 together"):
        net(streams={"sound": 2, "image": 2})
    with pytest.raises(PnbxValueError, match="no scales yet; call calibrate"):
        net().encode(torch.rand(2, 5))
    streams = InputStreams("net", {"sound": 1, "image": 1}, 2)
    with pytest.raises(PnbxValueError, match="'image' must hold finite values that are not all zero"):
        streams.calibrate(torch.tensor([[1.0, 0.0]]))


def test_pairs_train_resume_pack_and_are_tested_without_a_sense(tmp_path):
    sections = {"data": PAIRS, "pnbx": TINY, "augment": {"stream_dropout": 0.5, "strength": 0.2}}
    config = make_config({**sections, "train": {"epochs": 2, "batch_size": 32, "threads": 1}})
    drawn = []
    draw = Pairs.draw

    def watched(self, seed):
        draw(self, seed)
        drawn.append(self.numbers.clone())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pairs, "draw", watched)
        whole = train(config, tmp_path / "whole").model
    first, second = [numbers for numbers in drawn if numbers.shape[1] == 64][-2:]
    assert not torch.equal(first, second)  # anew in every epoch

    def stop(metrics):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        train(config, tmp_path / "parts", progress=stop)
    resumed = train(config, tmp_path / "parts", resume=True).model
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name

    pack_run(tmp_path / "whole", tmp_path / "whole.safetensors")
    packed, _, _ = load_packed(tmp_path / "whole.safetensors")
    x = torch.rand(3, 128)
    assert torch.equal(packed.encode(x), load_run(tmp_path / "whole")[0].encode(x))

    def evaluated(*words, code=0):
        result = CliRunner().invoke(app, ["eval", str(tmp_path / "whole"), "--json", *words])
        assert result.exit_code == code, result.output
        return json.loads(result.stdout) if code == 0 else result.output

    assert "missing" not in evaluated()
    without = evaluated("--missing", "left", "--noise", "right=0.5")
    assert (without["missing"], without["noise"], without["n"]) == (["left"], {"right": 0.5}, 360)
    assert "STREAM=SIGMA" in evaluated("--noise", "left", code=2)
    assert "there is no 'smell'" in evaluated("--missing", "smell", code=1)
