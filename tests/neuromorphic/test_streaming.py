"""One step at a time, for ever: resident memory stays flat and the state keeps its size.

The default run is short. ``make stream`` (PNBX_LONG=1) runs 1,000,000 steps of a small network and 100,000 of the
reference one, each step a call of ``stream``.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pnbx_snn import PNBX, keep_ternary

LONG = bool(os.environ.get("PNBX_LONG"))
SMALL = {"in_features": 4, "d_hidden": 32, "d_ssm": 8, "d_rnn": 4, "rank": 4, "slots": 4}
REFERENCE = {"in_features": 784, "d_hidden": 2048}
SCRIPT = Path(__file__).parents[1] / "support" / "streaming_run.py"


@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    ("sizes", "num_steps"),
    [
        pytest.param(SMALL, 1_000_000 if LONG else 5_000, id="small"),
        pytest.param(REFERENCE, 100_000 if LONG else 200, id="reference"),
    ],
)
def test_memory_is_constant_in_the_number_of_steps(sizes, num_steps):
    done = subprocess.run(
        [sys.executable, SCRIPT, str(num_steps), json.dumps(sizes)], capture_output=True, text=True, check=True
    )
    result = json.loads(done.stdout)
    # The first tenth fills the allocator's pools; after it nothing may grow with the number of steps.
    settled = result["resident_bytes"][10]
    growth = max(result["resident_bytes"][10:]) - settled
    print(f"{num_steps:,} steps: state {result['state_bytes']} bytes, resident {settled:,} bytes, growth {growth:,}")
    assert result["steps"] == num_steps
    assert len(result["state_bytes"]) == 1
    assert growth < 2 << 20
    assert result["finite"]
    assert 0.02 < result["rate"] < 0.6  # it still lives


def test_kept_ternary_weights_change_nothing():
    torch.manual_seed(0)
    model = PNBX(num_classes=3, num_steps=4, **SMALL)
    x = torch.rand(16, 4)
    model.calibrate(x)
    model(model.encode(x))
    model.eval()
    expected = model(model.encode(x)).logits
    with keep_ternary(model):
        assert torch.equal(model(model.encode(x)).logits, expected)
    assert not any("_kept_ternary" in module.__dict__ for module in model.modules())
