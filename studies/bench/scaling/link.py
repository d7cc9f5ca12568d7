"""What it costs two processes here to add up gradients, and a queue to hand out a task: the constants of the model.

torchrun --standalone --nproc_per_node 2 -m studies.bench.scaling.link BYTES FILE
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

REPEATS = 40
TASKS = 1000


def _median(values: Tensor) -> float:
    """Return seconds of adding up these values over all processes, which start at the same time."""
    seconds = []
    for _ in range(REPEATS):
        distributed.barrier()
        started = time.perf_counter()
        distributed.all_reduce(values)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def constants(gradient_bytes: int, sum_s: float, small_s: float) -> dict[str, float]:
    """Return bandwidth and latency of a ring of two: each sends its half twice, in two messages one after the other."""
    latency_s = small_s / 2
    bandwidth = gradient_bytes / max(sum_s - small_s, 1e-9)
    return {"sum_s": sum_s, "latency_s": latency_s, "bytes_per_s": bandwidth}


def measure(gradient_bytes: int) -> dict[str, Any]:
    """Start two processes that measure, and a queue if there is one."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "told.json"
        start = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", __name__]
        subprocess.run([sys.executable, *start, str(gradient_bytes), str(file)], check=True)
        sum_s, small_s = json.loads(file.read_text())
    return {**constants(gradient_bytes, sum_s, small_s), "task_s": _task()}


def _task() -> float | None:
    """Return seconds of a task that does nothing, of a thousand in a queue with two workers; ``None`` without Dask."""
    if find_spec("distributed") is None:
        return None
    from distributed import Client, SubprocessCluster

    options: dict[str, Any] = {"worker_class": "distributed.Worker", "worker_kwargs": {"nthreads": 1}}
    with SubprocessCluster(n_workers=2, dashboard_address=None, **options) as cluster, Client(cluster) as client:
        client.wait_for_workers(2)
        for _ in range(2):  # the first time, workers import
            started = time.perf_counter()
            client.gather(client.map(abs, range(TASKS), pure=False))
            seconds = (time.perf_counter() - started) / TASKS
    return seconds


def main() -> None:
    """Measure in one of the processes; the first one tells."""
    distributed.init_process_group("gloo")
    torch.set_num_threads(1)
    told = [_median(torch.zeros(int(sys.argv[1]) // 4)), _median(torch.zeros(1))]
    if distributed.get_rank() == 0:
        Path(sys.argv[2]).write_text(json.dumps(told))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
