"""The compiled loop of `train`, for benchmarks that read it, and what one step of a run costs."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

from eosbench.dynamics import Probe
from eosbench.dynamics._training import _advance_in_place, _begin, _model, _read_step  # the parts of `train`


def begun(loss: Callable, params: Any, eta: float, probes: Mapping[str, Probe]) -> tuple[Any, Any]:
    """The step of gradient descent with these probes, and the state that it begins with."""
    model = _model(loss, (), None, Partial(optax.sgd, jnp.float32(eta)), dict(probes))
    step, init = _read_step(model, params)
    return step, _begin(step.problem, init, params)


def compiled(step: Any, state: Any, steps: int) -> Any:
    """The program of so many steps; it takes what is given here."""
    return _advance_in_place.lower(step, state, steps, False).compile()


def per_step(run: Callable[[int], Any], short: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of one step more, from runs of so many steps and three times as many, compiled before.

    What a run takes once, such as its traces, is in both.
    """

    def seconds(steps: int) -> float:
        start = clock()
        jax.block_until_ready(run(steps))
        return clock() - start

    seconds(short), seconds(3 * short)
    times = [(seconds(short), seconds(3 * short)) for _ in range(5)]  # interleaved, and the least of each kept
    least = np.min(times, axis=0)
    return float(least[1] - least[0]) / (2 * short)
