"""Several processes that train the trials of one search, and what they say."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

from pnbx_snn.console import listening
from pnbx_snn.errors import PnbxError
from pnbx_snn.search.objectives import Objective
from pnbx_snn.search.records import Limits
from pnbx_snn.search.sources import load_space
from pnbx_snn.search.space import Space
from pnbx_snn.search.study import Study
from pnbx_snn.search.trials import Event, Pruning, work
from pnbx_snn.training.config import Config, make_config, resolve


class Plan(NamedTuple):
    """All that a process must know of a search, as values that go from process to process."""

    values: dict[str, dict[str, Any]]
    space_file: Path
    out: Path
    objectives: tuple[Objective, ...]
    limits: Limits
    most: int
    pruning: Pruning
    seed: int

    def space(self) -> Space:
        """Return what is searched."""
        return load_space(self.config, self.space_file)

    def study(self) -> Study:
        """Open the search."""
        return Study(self.out, self.space(), self.objectives, self.limits, seed=self.seed)

    @property
    def config(self) -> Config:
        """What all trials have in common."""
        return make_config(self.values)


def searched_config(config: Config) -> Config:
    """Return a configuration as trials have it.

    They learn from part ``"train"``, every epoch is saved, and they use one thread unless it says how many.
    """
    values = resolve(config).model_dump()
    values["data"]["part"] = "train"
    values["train"] |= {"checkpoint_every": 1, "threads": config.train.threads or 1}
    return make_config(values)


def run(plan: Plan, processes: int, told: Callable[[Event], None]) -> None:
    """Train until there are enough trials, in this process or in others that it starts.

    A signal that raises an exception here ends the others too. What they leave unfinished goes on at the next start.

    Raises
    ------
    PnbxError
        What a process raised; or they were all killed.
    """
    if plan.most == 0:
        return  # only what is there is shown: what was left unfinished stays so
    if processes == 1:
        work(plan.study(), plan.most, pruning=plan.pruning, told=told)
        return
    plan.study()  # made, or refused, before anything is started
    context = multiprocessing.get_context("spawn")
    pipes, workers = [], []
    try:
        for _ in range(processes):
            ours, theirs = context.Pipe(duplex=False)
            worker = context.Process(target=_work, args=(plan, theirs), daemon=True)
            worker.start()
            theirs.close()
            pipes.append(ours)
            workers.append(worker)
        problems = _listen(pipes, told)
        for worker in workers:
            worker.join()
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()
    killed = [worker.exitcode for worker in workers if worker.exitcode]
    if problems:
        raise PnbxError(problems[0])
    if killed:
        raise PnbxError(
            f"search: {len(killed)} of {processes} processes ended with code {killed[0]} "
            "(-9: killed, perhaps for memory); the same command goes on"
        )


def _listen(pipes: Sequence[Connection], told: Callable[[Event], None]) -> list[str]:
    """Pass on what the processes say until the last one has ended; return their errors."""
    problems: list[str] = []
    left: list[Any] = list(pipes)
    while left:
        ready: list[Any] = wait(left)
        for pipe in ready:
            try:
                event = pipe.recv()
            except EOFError:
                left.remove(pipe)
                continue
            if event["what"] == "error":
                problems.append(event["text"])
            else:
                told(event)
    return problems


def _work(plan: Plan, pipe: Connection) -> None:
    """Train trials in a process of its own; it ends when nobody listens any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the first one decides
    try:
        with listening("pnbx_snn.kernels"):
            work(plan.study(), plan.most, pruning=plan.pruning, told=pipe.send)
    except BrokenPipeError:
        os._exit(1)
    except PnbxError as error:
        pipe.send({"what": "error", "text": str(error)})
