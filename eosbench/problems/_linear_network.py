"""The two-layer linear network `f(x) = Aᵀ W x / √m` of Li, Wang and Li (2022), and its Gram matrix."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class LinearNetwork(eqx.Module):
    """The loss `‖D‖²/n`, `D = F - Y`, of a two-layer linear network on n inputs, the columns of X.

    Its argument holds one hidden unit per row, `units[i] = (A_i, W_i1, ..., W_id)`: an array, so that `gd_step`,
    `trajectory` and `gradient_flow` take it as it is.
    """

    X: Float[Array, "d n"]
    Y: Float[Array, "n"]

    def __call__(self, units: Float[Array, "m d+1"]) -> Float[Array, ""]:
        """The loss at the units."""
        return jnp.mean(self.residual(units) ** 2)

    def outputs(self, units: Float[Array, "m d+1"]) -> Float[Array, "n"]:
        """F, what the network answers to every input."""
        return units[:, 0] @ units[:, 1:] @ self.X / jnp.sqrt(len(units))

    def residual(self, units: Float[Array, "m d+1"]) -> Float[Array, "n"]:
        """D = F - Y."""
        return self.outputs(units) - self.Y

    def gram(self, units: Float[Array, "m d+1"]) -> Float[Array, "n n"]:
        """M = 2/(mn) (‖A‖² XᵀX + XᵀWᵀWX), whose top eigenvalue stands for the sharpness."""
        hidden = units[:, 1:] @ self.X
        return 2 / (len(units) * len(self.Y)) * (jnp.sum(units[:, 0] ** 2) * self.X.T @ self.X + hidden.T @ hidden)

    def jacobian(self, units: Float[Array, "m d+1"]) -> Float[Array, "n p"]:
        """∂F/∂θ by differentiation, one row per input and p = m (d + 1) columns."""
        return jax.jacrev(self.outputs)(units).reshape(len(self.Y), units.size)


class LinearState(NamedTuple):
    """A linear network at one iterate, or with a leading axis at many.

    Attributes:
        A: weights of the output layer, shape (m,).
        W: weights of the hidden layer, shape (m, d).
        F: outputs, shape (n,).
        D: residual F - Y, shape (n,).
        M: Gram matrix, shape (n, n).
    """

    A: Float[Array, "m"]
    W: Float[Array, "m d"]
    F: Float[Array, "n"]
    D: Float[Array, "n"]
    M: Float[Array, "n n"]


@eqx.filter_jit
def linear_states(network: LinearNetwork, units: Float[Array, "iterates m d+1"]) -> LinearState:
    """The states of a linear network along a trajectory."""
    return jax.vmap(lambda u: LinearState(u[:, 0], u[:, 1:], network.outputs(u), network.residual(u), network.gram(u)))(
        units
    )


def power_law_inputs(n: int, d: int, *, decay: float, seed: int) -> Float[np.ndarray, "d n"]:
    """Random inputs X for which `XᵀX` has the eigenvalues `n i^-decay`, i = 1 ... min(n, d), so that ‖XᵀX‖ = n."""
    random = np.random.default_rng(seed)
    left, right = (np.linalg.qr(random.normal(size=(size, size)))[0][:, : min(n, d)] for size in (d, n))
    return left * np.sqrt(n * np.arange(1.0, min(n, d) + 1) ** -decay) @ right.T


def random_units(
    m: int, d: int, *, seed: int, symmetric: bool = True, output_scale: float = 1.0
) -> Float[Array, "m d+1"]:
    """Random units with W_ij from N(0, 1/d) and A_i from N(0, output_scale²).

    Symmetric ones come in pairs with the same W and opposite A, so that every output is zero.

    Raises:
        ValueError: symmetric, and m is odd.
    """
    if symmetric and m % 2:
        raise ValueError(f"m is {m}: it must be even, for symmetric units come in pairs, or pass symmetric=False.")
    random = np.random.default_rng(seed)
    rows = m // 2 if symmetric else m
    A, W = output_scale * random.normal(size=(rows, 1)), random.normal(size=(rows, d)) / np.sqrt(d)
    units = np.concatenate([A, W], axis=1)
    if symmetric:
        units = np.concatenate([units, np.concatenate([-A, W], axis=1)])
    return jnp.asarray(units)
