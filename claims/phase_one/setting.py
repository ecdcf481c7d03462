"""Where Phase I starts, and where it ends."""

import equinox as eqx
import jax
import numpy as np

from eosbench.dynamics import limiting_map
from eosbench.problems import curved_valley, raised_valley, rippled_trough, skewed_valley, valley

START = {
    curved_valley: np.array([0.9, 0.7, 1.3, -0.6]),
    valley: np.array([1.5, 0.7]),
    skewed_valley: np.array([1.2, -0.9]),
    rippled_trough: np.array([0.3, 0.7, -0.4]),
    raised_valley: np.array([1.5, 0.7]),
}
ETAS = (0.02, 0.01, 0.005, 0.0025)


@eqx.filter_jit
def loss_along(loss, x):
    return jax.vmap(loss)(x)


def first_rise(loss, x):
    """The first index after which the loss is larger than at it; the last one if it never rises."""
    rises = np.flatnonzero(np.diff(loss_along(loss, x)) > 0)
    return rises[0] if rises.size else len(x) - 1


def across_the_manifold(loss):
    """Φ of the start, the eigenvalues of the Hessian there from the largest on, and the vectors of those not zero."""
    limit = limiting_map(loss, START[loss]).point
    values, vectors = np.linalg.eigh(jax.hessian(loss)(limit))
    return np.asarray(limit), values[::-1], vectors[:, ::-1][:, values[::-1] > 1e-4 * values[-1]]
