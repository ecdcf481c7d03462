"""A network on its way to the edge of stability, and at it."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from eosbench import sharpness
from eosbench.curvature import self_stabilization
from eosbench.dynamics import edge_point, gd_step, trajectory
from eosbench.problems import SelfStabilizingLoss, digits, flattened, mlp


def network(seed, **options):
    """A tanh network of width 16 on 200 digits in float64, as a loss of a flat vector, and its start."""
    return flattened(*mlp(digits(200, seed=seed), jax.random.key(seed), **(dict(width=16) | options)))


class Approach(NamedTuple):
    """Gradient descent up to the first iterate at which the sharpness is 2/eta or more; all of it if there is none."""

    loss: Callable
    path: np.ndarray
    sharpness: np.ndarray  # in units of 2/eta
    second: np.ndarray  # λ_2, in these units
    alpha: np.ndarray
    products: np.ndarray  # Hessian-vector products that these took

    @property
    def crosses(self) -> bool:
        return bool(self.sharpness[0] < 1 <= self.sharpness[-1])


@eqx.filter_jit
def spectrum_and_alpha(loss, x):
    """S, λ_2 and alpha = -∇L·∇S at a point, and the products that they took."""
    spectrum = sharpness(loss, x, k=2, rtol=1e-3, max_hvps=3000, throw=False)
    alpha = self_stabilization(loss, x, spectrum.vectors[0]).alpha
    return *spectrum.values, alpha, spectrum.hvps


@cache
def approach(seed, step_factor=1.3, steps=400, **options):
    """From a network's start, where the sharpness is 2/eta over step_factor."""
    loss, start = network(seed, **options)
    threshold = step_factor * float(spectrum_and_alpha(loss, start)[0])
    path, seen = np.asarray(trajectory(gd_step(loss, 2 / threshold), start, steps)), []
    for x in path:
        seen.append([float(number) for number in spectrum_and_alpha(loss, x)])
        if seen[-1][0] >= threshold:
            break
    sharpness, second, alpha, products = np.array(seen).T
    return Approach(loss, path[: len(seen)], sharpness / threshold, second / threshold, alpha, products)


@cache
def at_the_edge(seed):
    """A network, the point near its crossing of 2/eta at which ∇L·u = 0, and λ_2 in units of 2/eta."""
    run = approach(seed)
    if not run.crosses:
        raise ValueError(f"the sharpness comes to {run.sharpness.max():.4f} of 2/eta in {len(run.path) - 1} steps")
    return run.loss, edge_point(run.loss, run.path[-1]), run.second[-1]


def normal_form_edge(seed):
    """The normal form with a fourth derivative, at its edge, where λ_2 is 0."""
    loss = SelfStabilizingLoss(0.5, 0.04, 3.0, 1.0)
    return loss, edge_point(loss, jnp.zeros(2)), 0.0


def first(condition):
    """Index of the first true entry; the last index if there is none."""
    return int(np.argmax(condition)) if np.any(condition) else len(condition) - 1


def peak(values):
    """Index of the first local maximum that is above the start; the last index if there is none."""
    falls = np.append(np.diff(values) < 0, False) & (values > values[0])
    return first(falls)
