"""LIF neurons of JAX's libraries, forward and backward compiled whole; and a process of their own that runs them.

As a file it needs JAX, Spyx, jaxpike and NumPy, no torch: `studies.bench.jax_rivals` starts it with the Python of an
environment that has them. Both in the form that was fastest of those tried on a CPU: one step of time per turn of
JAX's scan (several a turn were 2 to 100 times slower), jaxpike's steps computed again on the way back
(``remat_step``), memory that is freed kept by the process.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable
from typing import Any

BETA = 0.9
Both = Callable[[], Any]


def both(layer: Callable[[Any], Any], x: Any, grad: Any, weight: Any = None) -> Both:
    """Return forward and backward of a layer, as one program of JAX; with a weight, a product before it.

    It returns the spikes and the gradient of the currents, or of the weight.
    """
    import jax

    @jax.jit
    def run(leaf: Any) -> Any:
        spikes, back = jax.vjp(lambda leaf: layer(leaf if weight is None else x @ leaf.T), leaf)
        return spikes, back(grad)[0]

    leaf = x if weight is None else weight
    return lambda: jax.block_until_ready(run(leaf))


def spyx(num_neurons: int) -> Callable[[Any], Any]:
    """Return Spyx's neuron over time: a spike is told a step late, its reset is by subtraction."""
    import spyx.axn
    import spyx.nn
    from flax import nnx

    lif = spyx.nn.LIF((num_neurons,), beta=BETA, activation=spyx.axn.arctan(), rngs=nnx.Rngs(0))
    return lambda currents: spyx.nn.run(lif, currents)[0]


def jaxpike(_num_neurons: int) -> Callable[[Any], Any]:
    """Return jaxpike's neuron over time, its input scaled so that the equations are ours."""
    import jaxpike

    lif = jaxpike.LIF(-1 / math.log(BETA), reset="zero", surrogate=jaxpike.ATan())
    return lambda currents: jaxpike.unroll(lif, currents / (1 - BETA), scan_unroll=1, remat_step=True)[0]


NEURONS = {"Spyx": spyx, "jaxpike": jaxpike}


def main() -> int:
    """Answer lines with lines: an empty one with what first calls took, a neuron's name with the seconds of one run.

    After a name may come a file, into which the result is written. The last argument, the number of threads, also says
    the clock: of one thread the time that it worked.
    """
    given, threads = sys.argv[1], int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # a library that prints does not answer
    if threads == 1:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    clock = time.process_time if threads == 1 else time.perf_counter
    import jax.numpy as jnp
    import numpy as np

    arrays = {name: jnp.asarray(array) for name, array in np.load(given).items()}
    cases, first_calls = {}, {}
    for name, neuron in NEURONS.items():
        try:
            cases[name] = both(neuron(arrays["x"].shape[2]), **arrays)
        except ModuleNotFoundError as error:
            first_calls[name] = f"{error.name} is not installed"
            continue
        started = time.perf_counter()
        cases[name]()
        first_calls[name] = time.perf_counter() - started
    for line in sys.stdin:
        name, _, file = line.strip().partition(" ")
        if not name:
            answers.write(json.dumps(first_calls) + "\n")
            continue
        started = clock()
        result = cases[name]()
        seconds = clock() - started
        if file:
            np.savez(file, spikes=result[0], slope=result[1])
        answers.write(json.dumps(seconds) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
