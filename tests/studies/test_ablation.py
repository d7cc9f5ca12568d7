"""The ablation script: variants are valid configurations, matched sizes match, sums are right."""

import runpy
from pathlib import Path

import pytest

from pnbx_snn.training.checkpoint import build_model
from pnbx_snn.training.config import load_config

EXAMPLES = Path(__file__).parents[2] / "examples"
ablation = runpy.run_path(str(EXAMPLES / "ablation.py"), run_name="ablation")
FSDD = Path("fsdd")


def size(overrides):
    return sum(p.numel() for p in build_model(load_config(FSDD, overrides)).parameters())


@pytest.mark.parametrize("name", ablation["variants"](FSDD))
def test_every_variant_is_a_network_of_its_own(name):
    overrides = ablation["variants"](FSDD)[name]
    config = load_config(FSDD, overrides)
    assert build_model(config).d_hidden == config.pnbx.d_hidden
    assert (config == load_config(FSDD)) == (name == "whole")


@pytest.mark.parametrize("name", ablation["MATCHED"])
def test_matched_variants_have_the_parameters_of_the_whole(name):
    assert size(ablation["variants"](FSDD)[name]) == pytest.approx(size([]), rel=0.005)


def test_differences_are_paired_by_seed():
    results = [[{"accuracy": a, "firing_rate": 0.2} for a in accuracies] for accuracies in ((0.9, 0.8), (0.85, 0.78))]
    row = ablation["row"]("x", results[1], results[0], 7)
    assert row["accuracy"] == pytest.approx(81.5)
    assert row["difference"] == pytest.approx(-3.5)
    assert row["standard_error"] == pytest.approx(1.5)
    assert "| x | 81.50 (4.95) | -3.50 (1.50) | 7 | 20.0 | 2 |" in ablation["table"]([row])
