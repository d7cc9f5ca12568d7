"""Runs the commands and Python blocks of the documentation in processes that have imported everything already.

A process that starts here is forked from one in which torch and both packages are loaded, which saves two seconds a
command. Data sets of files may be replaced by 60 made samples of the same shape.
"""

import gc
import multiprocessing
import os
import runpy
import sys
import traceback
from pathlib import Path

MODULES = ("torch", "norse.torch", "snntorch", "sklearn.datasets", "matplotlib.pyplot", "pnbx_demo", "pnbx_snn.cli")
MODULES += ("pnbx_snn.training.run", "pnbx_snn.metrics.report", "neuromorphic.cli", "neuromorphic.compiler")
# What a command imports where it needs it: the first step of an optimiser asks something of torch's compiler, which
# takes three seconds to load.
MODULES += ("torch._dynamo", "numba_loaded", "sklearn.metrics", "sklearn.model_selection", "bokeh.plotting", "onnx")
SAMPLES = 60


def processes():
    """Return the context whose processes are forked from a loaded one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["quick_commands", *MODULES])
    return context


def run_command(words, folder, environment, log, samples="made"):
    """Run ``pnbx-snn``, ``neuromorphic``, ``python SCRIPT`` or ``python -m MODULE`` as the main program."""
    _begin(folder, environment, log)
    if samples == "made":
        use_made_samples()
    program, *rest = words
    if program == "python" and rest[0] == "-m":
        sys.argv = rest[1:]
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` does
        runpy.run_module(rest[1], run_name="__main__", alter_sys=True)
    elif program == "python" and rest[0] == "-c":
        exec(rest[1], {"__name__": "__main__"})
    elif program == "python":
        sys.argv = rest
        sys.path.insert(0, str(Path(rest[0]).parent.resolve()))
        runpy.run_path(rest[0], run_name="__main__")
    else:
        import pnbx_commands

        sys.argv = words
        getattr(pnbx_commands, program.replace("-", "_"))()


def run_python(pipe, folder, environment, log):
    """Run blocks of Python in one namespace, and answer each with what went wrong, or with nothing."""
    _begin(folder, environment, log)
    use_made_samples()
    names = {"__name__": "__main__"}
    while source := pipe.recv():
        try:
            exec(compile(source, "block", "exec"), names)
        except Exception:
            pipe.send(traceback.format_exc())
        else:
            pipe.send("")


def _begin(folder, environment, log):
    gc.freeze()  # what was forked is no garbage: looking for it takes a second
    os.chdir(folder)
    os.environ.update(environment)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(file, stream)


def use_made_samples():
    """Let the data sets of files have few samples that need no file."""
    import torch
    from sklearn.datasets import load_digits

    from pnbx_snn.data.catalog import DATA_SETS
    from pnbx_snn.data.shrunk import shrunk
    from pnbx_snn.data.split import Split

    digits = load_digits()
    labels = torch.tensor(digits.target[:SAMPLES])
    images = torch.tensor(digits.images[:SAMPLES] / 16, dtype=torch.float32)[:, None]
    images = torch.nn.functional.interpolate(images, size=(28, 28))[:, 0]  # [n, 28, 28]

    def spoken(data, _part):
        return Split(
            images.flatten(1).repeat(1, 4)[:, : data.num_frames * data.num_bands].unflatten(1, (data.num_frames, -1)),
            labels,
        )

    made = {
        "mnist": lambda data, _part: shrunk(Split(images.flatten(1), labels), 28, data.side, keep_whole=True),
        "mnist_rows": lambda data, _part: shrunk(Split(images, labels), 28, data.side, keep_whole=True),
        "fsdd": spoken,
    }
    for name, load in made.items():
        DATA_SETS[name] = DATA_SETS[name]._replace(load=load)
