"""
Many recordings
===============

A thousand recordings and several machines: Dask keeps a queue, each worker holds the program once on the native
executor, one worker is stopped in the middle, and every result equals that of one process bit for bit.
"""

# %%
# A program, and recordings in files
# ----------------------------------
# Weights are random here. On a cluster both lie on a disk that all machines see, or in a store that they reach.
import os
import signal
import sys
import time
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from distributed import Client, SubprocessCluster, as_completed, get_worker

import neuromorphic
from neuromorphic.executors.native import NativeNetwork
from pnbx_snn import PNBX

torch.set_num_threads(1)
torch.manual_seed(0)
fast = "--fast" in sys.argv
d_hidden, num_recordings, in_a_task = (64, 60, 5) if fast else (512, 1000, 20)

folder = Path("runs/examples/recordings").resolve()
folder.mkdir(parents=True, exist_ok=True)
model = PNBX(in_features=64, num_classes=10, num_steps=8, d_hidden=d_hidden)
model.calibrate(torch.rand(256, 64) * (torch.rand(256, 64) < 0.3))
program = neuromorphic.compile(model.eval(), num_steps=400)
program.save(folder / "program.npz")
rng, recordings = np.random.default_rng(0), []
for number in range(num_recordings):
    sound = rng.random((rng.integers(50, 400), 1, 64)) * (rng.random(64) < 0.3)  # of any length
    recordings.append(str(folder / f"{number:04}.npy"))
    np.save(recordings[-1], program.prepare_inputs(sound))


# %%
# One process
# -----------
def answer(network: NativeNetwork, recording: str) -> tuple[list[int], str]:
    """Return the logits after the last step, and a hash of everything that the program holds then."""
    network.reset()
    network.run(np.load(recording))
    held = (network.view(name) for name in network.variables if not name.endswith(".E"))
    return network.view(network.output)[0].tolist(), sha256(b"".join(array.tobytes() for array in held)).hexdigest()


network = NativeNetwork.from_file(folder / "program.npz")
start = time.perf_counter()
alone = {recording: answer(network, recording) for recording in recordings}
alone_s = time.perf_counter() - start
print(f"one process: {num_recordings / alone_s:,.0f} recordings a second")


# %%
# A queue and two workers
# -----------------------
# A task is some names of files: a worker reads the recordings itself, and only results travel. Dask needs about a
# millisecond for a task, so a task should take tens. On many machines the workers are started by themselves, and this
# script is told where: ``--scheduler-file queue.json``, as in ``examples/slurm/queue.sbatch``.
def in_worker(program_file: str, recordings: list[str]) -> dict[str, tuple[list[int], str]]:
    """Run in a worker, which loads the program for its first task."""
    worker = get_worker()
    if getattr(worker, "program_file", None) != program_file:
        worker.program_file, worker.network = program_file, NativeNetwork.from_file(program_file)
    return {recording: answer(worker.network, recording) for recording in recordings}


start = time.perf_counter()
cluster = None
if "--scheduler-file" in sys.argv:
    client = Client(scheduler_file=sys.argv[sys.argv.index("--scheduler-file") + 1])
else:
    cluster = SubprocessCluster(
        n_workers=2, dashboard_address=None, worker_class="distributed.Worker", worker_kwargs={"nthreads": 1}
    )
    client = Client(cluster)
client.wait_for_workers(2)
print(f"{len(client.scheduler_info()['workers'])} workers after {time.perf_counter() - start:.1f} s")


def through_queue(stop_one: bool) -> dict[str, tuple[list[int], str]]:
    """Return the results of all recordings; stop a worker after a third, whose tasks go back into the queue."""
    start, found = time.perf_counter(), {}
    tasks = [recordings[first : first + in_a_task] for first in range(0, num_recordings, in_a_task)]
    file = str(folder / "program.npz")
    for future in as_completed([client.submit(in_worker, file, task, pure=False) for task in tasks]):
        found |= future.result()
        if stop_one and len(found) > num_recordings / 3:
            os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
            stop_one = False
    workers = len(client.scheduler_info()["workers"])
    speed = num_recordings / (time.perf_counter() - start)
    print(f"queue: {speed:,.0f} recordings a second, {workers} worker(s) at the end")
    return found


runs = [through_queue(stop_one=False)]  # workers load the program
runs += [through_queue(stop_one=False), through_queue(stop_one=cluster is not None)]  # others' workers are left alone

# %%
# The same integers
# -----------------
assert all(found == alone for found in runs)
print(f"all {num_recordings} results equal those of one process, {len(runs)} times")
client.close()
if cluster is not None:
    cluster.close()
