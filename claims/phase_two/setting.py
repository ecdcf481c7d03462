"""Iterates of Phase II."""

import jax
import numpy as np

from eosbench.dynamics import iterate, trajectory
from eosbench.problems import curved_valley, raised_valley, rippled_trough, skewed_valley, valley

PHASE_I = 2.0  # more than T_1 from any of the starts
PHASE_II = 1.0
SAMPLES = 900
STARTS = {
    curved_valley: np.array([[0.9, 0.7, 1.3, -0.6], [1.1, 0.4, 0.8, 0.9], [0.7, 1.0, -0.4, 0.5]]),
    valley: np.array([[1.5, 0.7], [1.2, -0.6], [0.8, 0.5]]),
    skewed_valley: np.array([[1.5, 0.7], [1.2, -0.6], [0.8, 0.5]]),
    raised_valley: np.array([[1.5, 0.7], [1.2, -0.6], [0.8, 0.5]]),
    rippled_trough: np.array([[0.3, 0.7, -0.4], [0.1, -0.6, 0.5], [1.4, 0.5, 0.8]]),  # the last drifts the other way
}


def samples(loss, step, eta):
    """Iterates at regular intervals of Phase II, from all starts: shape (starts * samples, p).

    The interval is odd: the iterates alternate between two sides of Γ, and an even one would see one side only.
    """
    settle, every = round(PHASE_I / eta), round(PHASE_II / eta**2 / SAMPLES) | 1
    x = jax.vmap(lambda x: trajectory(step, iterate(step, x, settle), SAMPLES * every, every=every))(STARTS[loss])
    return x.reshape(-1, x.shape[-1])
