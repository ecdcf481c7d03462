"""Linear networks on random inputs, and gradient descent on them."""

from functools import cache

import jax
import numpy as np

from eosbench.dynamics import gd_step, trajectory
from eosbench.problems import LinearNetwork, linear_states, power_law_inputs, random_units

ALGEBRA = dict(
    scalars="eta h k",
    matrices={"A": ("m", "1"), "W": ("m", "d"), "X": ("d", "n"), "Y": ("n", "1"), "a": ("m", "1"), "w": ("m", "d")},
    where={
        "S": "X.T@X",
        "F": "k*X.T@W.T@A",
        "D": "F - Y",
        "M": "2*h*k**2*((A.T@A)*S + X.T@W.T@W@X)",
        "A1": "A - eta*2*h*k*W@X@D",
        "W1": "W - eta*2*h*k*A@D.T@X.T",
        "F1": "k*X.T@W1.T@A1",
        "D1": "F1 - Y",
        "M1": "2*h*k**2*((A1.T@A1)*S + X.T@W1.T@W1@X)",
        "change": "k*(X.T@W.T@a + X.T@w.T@A)",  # of F in first order, along (a, w)
        "bend": "k*X.T@w.T@a",
    },
)
"""The network and one step in matrices of any size, with h for 1/n and k for 1/√m; columns where the review has rows.

F has the derivative `change` along (a, w), and the loss h DᵀD the gradients 2 h k W X D and 2 h k A Dᵀ Xᵀ: `GRADIENT`.
"""

GRADIENT = (
    ("F along (a, w)", "k*X.T@(W + w).T@(A + a)", "=", "F + change + bend"),
    ("∂L/∂A and ∂L/∂W", "2*h*D.T@change", "=", "(2*h*k*W@X@D).T@a + 2*h*k*A.T@w@X@D"),
)

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
