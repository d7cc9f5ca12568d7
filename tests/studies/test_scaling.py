"""The model of more machines has the limits that it must have, and the table says what was measured."""

import math

import pytest

from studies.bench.scaling import link
from studies.bench.scaling.model import recordings_per_s, step_seconds
from studies.bench.scaling.table import markdown
from studies.bench.scaling.training import command

STEP = {"alone_s": 1.0, "gradient_bytes": 1e6, "bytes_per_s": 1e9, "latency_s": 1e-5}
QUEUE = {"recording_s": 0.1, "task_s": 1e-3, "in_a_task": 1, "recording_bytes": 1e6, "bytes_per_s": 1e9}


def test_one_machine_sends_nothing():
    assert step_seconds(1, **STEP) == STEP["alone_s"]


def test_a_network_without_limits_shares_all_work():
    assert step_seconds(8, **{**STEP, "bytes_per_s": math.inf, "latency_s": 0.0}) == 1 / 8


def test_two_machines_send_their_gradients_once_and_wait_for_every_sum():
    expected = 0.5 + 1e6 / 1e9 + 2 * (3 + 1) * 1e-5
    assert step_seconds(2, **STEP, sums=3) == pytest.approx(expected)


def test_the_measured_constants_give_back_what_was_measured():
    found = link.constants(1_000_000, sum_s=3e-3, small_s=4e-4)
    again = step_seconds(
        2, alone_s=0.0, gradient_bytes=1e6, bytes_per_s=found["bytes_per_s"], latency_s=found["latency_s"], sums=0
    )
    assert again == pytest.approx(found["sum_s"])


@pytest.mark.parametrize(
    ("changed", "expected"),
    [({}, 20.0), ({"task_s": 0.1}, 10.0), ({"task_s": 0.1, "in_a_task": 20}, 20.0), ({"bytes_per_s": 5e6}, 5.0)],
)
def test_the_least_of_workers_scheduler_and_store_decides(changed, expected):
    assert recordings_per_s(2, **{**QUEUE, **changed}) == pytest.approx(expected)


def test_one_process_needs_no_launcher(tmp_path):
    assert "torch.distributed.run" not in command(1, 2, tmp_path / "run", 64, 2)
    assert command(2, 1, tmp_path / "run", 64, 2)[2] == "torch.distributed.run"


def test_the_table_says_how_many_times_as_much():
    found = {
        "machine": {
            "processor": "p",
            "logical_cpus": 2,
            "vectors": "v",
            "versions": {"torch": "1"},
            "load_average": [0.5],
        },
        "training": {
            "network": "n",
            "gradient_bytes": 4_000,
            "batch": 100,
            "rows": [
                {"processes": p, "threads": 1, "samples_per_s": 100.0 * p, "low": 1.0, "high": 2.0, "loss": 0.5}
                for p in (1, 2)
            ],
        },
        "inference": {
            "network": "n",
            "step_bytes": 3136,
            "rows": [{"batch": b, "threads": 1, "steps_per_s": 10.0 * b, "low": 1.0, "high": 2.0} for b in (1, 8)],
        },
        "link": {"sum_s": 1e-3, "latency_s": 1e-5, "bytes_per_s": 1e9, "task_s": None},
    }
    text = markdown(found)
    assert "| 2 processes, 1 thread each | 200 (1 - 2) | 2.00 | 0.5000 |" in text
    assert "| batch 8, 1 thread | 80 (1 - 2) | 8.00 |" in text
    assert "measured were 2.00 times" in text
    assert "| training, 100 Gb/s | 2.0 |" in text
    assert "| a task of Dask that does nothing | not measured |" in text
