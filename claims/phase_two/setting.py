"""Iterates of Phase II."""

import jax
import jax.numpy as jnp
import numpy as np

from eosbench.dynamics import iterate, limiting_map, trajectory
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


class NearGamma:
    """A point of Γ, with λ_1, λ_2, v_1, v_2 and |∇³L(v_1, v_1, v_1)| there, and points next to it."""

    def __init__(self, loss):
        self.point = limiting_map(loss, STARTS[loss][0]).point
        values, vectors = np.linalg.eigh(jax.hessian(loss)(self.point))
        self.values, self.vectors = np.maximum(values[:-3:-1], 1e-9), vectors[:, :-3:-1]
        self.top, self.second = self.values
        self.third = abs(float(jax.grad(jax.grad(jax.grad(lambda s: loss(self.point + s * self.vectors[:, 0]))))(0.0)))

    def at(self, eta, share, angle, exponent):
        """Where x̃ is share λ_1 long, at this angle to v_1 in the plane of v_1 and v_2: shape (points, p).

        One step leads to within the next order of -(1 - share) λ_1 v_1. With a share of 1 the iterate comes as near to
        Γ as the angle allows, and the remainder of what two consecutive iterates add up to is the largest.
        """
        share, angle = np.broadcast_arrays(np.atleast_1d(share), angle)
        scale = self.values if exponent == 1 else np.sqrt(2 * self.values)  # x̃ = H x/eta or (2H)^½ x/eta
        x_tilde = self.top * share[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        return self.point + jnp.asarray(eta * x_tilde / scale @ self.vectors.T)


ANGLES = (0.008, 0.004, 0.002)  # of x̃ to v_1
HALVED = (0.002, 0.001, 0.0005)  # step sizes


def without_first_order(ratios):
    """From values at numbers each half of the one before."""
    return 2 * np.asarray(ratios)[1:] - np.asarray(ratios)[:-1]
