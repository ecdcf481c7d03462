"""Linear networks on random inputs, and gradient descent on them."""

from functools import cache

import jax
import numpy as np

from eosbench.dynamics import gd_step, trajectory
from eosbench.problems import LinearNetwork, linear_states, power_law_inputs, random_units

N, D, M = 30, 20, 40  # inputs, their dimension, hidden units


def top_vectors(symmetric, k):
    """The k largest eigenvalues, descending, and their eigenvectors in columns."""
    values, vectors = np.linalg.eigh(symmetric)
    return values[::-1][:k], vectors[:, ::-1][:, :k]


def network(seed, n=N, d=D, decay=1.0, labels="random"):
    """A data set whose XᵀX has eigenvalues n i^-decay, with labels ±1."""
    X = power_law_inputs(n, d, decay=decay, seed=seed)
    random = np.random.default_rng(seed + 1)
    Y = np.sign(top_vectors(X.T @ X, 1)[1][:, 0]) if labels == "sign of v_1" else random.choice([-1.0, 1.0], size=n)
    return LinearNetwork(jax.numpy.asarray(X), jax.numpy.asarray(Y))


def descend(net, units, product, steps):
    """Step size and states of gradient descent with eta λ_1(M_0) = product."""
    eta = product / np.linalg.eigvalsh(net.gram(units))[-1]
    states = linear_states(net, trajectory(gd_step(net, eta), units, steps))
    return eta, type(states)(*map(np.asarray, states))


@cache
def short_run(seed, start):
    """60 steps at eta λ_1(M_0) = 1.2, from outputs that are zero or not."""
    net = network(seed)
    eta, states = descend(net, random_units(M, D, seed=seed, symmetric=start == "symmetric"), 1.2, 60)
    return np.asarray(net.X), np.asarray(net.Y), eta, states
