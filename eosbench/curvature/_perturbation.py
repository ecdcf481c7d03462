"""The derivative of eigenvalues that a solver found, by perturbation theory instead of through the solver.

A simple eigenvalue with unit eigenvector u moves by dλ = u·(dH)u: the motion of u does not count in first order. So the
solver works on a Hessian that does not move, however many steps it takes, and only the found values are made to move.
"""

from typing import TypeVar

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from eosbench.curvature._point import Product, block_product

Found = TypeVar("Found")

_ONLY_VALUES = (
    "of a measured sharpness only `values` have a derivative: take it of them alone, or hold the rest fixed with "
    "jax.lax.stop_gradient."
)
_ONLY_FIRST = (
    "a measured sharpness has no second derivative, nor a Hessian where it is part of a loss: for a few hundred "
    "parameters differentiate jnp.linalg.eigvalsh(jax.hessian(loss)(x))[-1]."
)


def moving(found: Found, product: Product, vectors: Float[Array, "k p"], simple: Bool[Array, " k"]) -> Found:
    """What a solver found of a Hessian that was held fixed, with `found.values` moving as the Hessian does.

    Their derivative is that of <u, H u> in both modes, with respect to whatever H depends on: the parameters, the
    arrays of the loss, and what it closes over. It is nan for an eigenvalue that is not `simple`.

    Nothing else that was found has a derivative. JAX takes those of all outputs together in forward mode, where the
    others are therefore nan; in reverse mode, asking for one is refused.

    Raises:
        RuntimeError: a derivative in reverse mode of anything but `values`, or a second derivative.
    """
    floating, rest = eqx.partition(found, eqx.is_inexact_array)
    return eqx.combine(_moving(product, vectors, simple, floating), rest)


@jax.custom_jvp
def _moving(
    product: Product, vectors: Float[Array, "k p"], simple: Bool[Array, " k"], found: PyTree[Array]
) -> PyTree[Array]:
    return found


@_moving.defjvp
def _moved(primals: tuple, tangents: tuple) -> tuple[PyTree[Array], PyTree[Array]]:
    product, vectors, simple, found = primals
    # The vectors count as fixed, which holds in first order only.
    fixed_product, fixed = eqxi.nondifferentiable((product, vectors), msg=_ONLY_FIRST)

    def quotients(product: Product) -> Float[Array, " k"]:
        return jnp.sum(fixed * block_product(product, fixed), axis=1)

    _, moved = jax.jvp(quotients, (fixed_product,), tangents[:1])
    moved = _only_simple(moved, simple)
    nothing = eqxi.nondifferentiable_backward(jnp.nan * moved.sum(), msg=_ONLY_VALUES)
    others = jax.tree.map(lambda leaf: jnp.broadcast_to(nothing, leaf.shape).astype(leaf.dtype), found)
    return found, eqx.tree_at(lambda found: found.values, others, moved)


def _only_simple(moved: Float[Array, " k"], simple: Bool[Array, " k"]) -> Float[Array, " k"]:
    """Nan where not simple; in reverse mode only if it is asked for there, so that it does not spoil the others."""
    # Neither a product with nan nor a choice between nan and the value transposes to that, but a solve may say how.
    return jax.lax.custom_linear_solve(
        lambda moved: moved,
        moved,
        solve=lambda _, moved: jnp.where(simple, moved, jnp.nan),
        transpose_solve=lambda _, asked: jnp.where(simple | (asked == 0), asked, jnp.nan),
    )
