"""The Hessian of any scalar loss over a pytree of parameters, as a linear map on flat vectors."""

from collections.abc import Callable
from typing import Any, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial
from jaxtyping import Array, Float, PyTree

Loss = Callable[[Any], Float[Array, ""]]
"""A map from a pytree of parameters to a scalar."""


def with_args(loss: Callable, args: Any) -> Loss:
    """A `loss(params, *args)` as a function of params alone.

    Raises:
        TypeError: `args` is no tuple, or `loss` no function.
    """
    check_callable(loss)
    if not isinstance(args, tuple | list):
        raise TypeError(
            f"args is a {type(args).__name__}: it must be a tuple, so write args=(x,) for a loss(params, x)."
        )
    return Partial(_applied, loss, tuple(args)) if args else loss


def _applied(loss: Callable, args: tuple, params: PyTree[Array]) -> Float[Array, ""]:
    return loss(params, *args)


class Product(Protocol):
    """A symmetric linear map on flat vectors."""

    def __call__(self, vector: Float[Array, " p"], /) -> Float[Array, " p"]: ...


class Linearization(eqx.Module):
    """A loss at one point: its value, its gradient and its Hessian as a map, sharing one forward and backward pass.

    It lives inside one compiled function: `product` closes over the intermediate values of that pass.

    Attributes:
        loss: the value, a scalar.
        gradient: the flat gradient, shape (p,).
        product: v -> H v for one flat vector of shape (p,).
    """

    loss: Float[Array, ""]
    gradient: Float[Array, " p"]
    product: Product

    def products(self, vectors: Float[Array, "b p"]) -> Float[Array, "b p"]:
        """H applied to each row; a block of b rows costs less than b single products."""
        return block_product(self.product, vectors)


def block_product(product: Product, vectors: Float[Array, "b p"]) -> Float[Array, "b p"]:
    """The map applied to each row of a block, shape (b, p)."""
    if vectors.shape[0] == 1:  # vmap over one row would turn matrix-vector kernels into slower batched ones
        return product(vectors[0])[None]
    return jax.vmap(product)(vectors)


def linearize(loss: Loss, params: PyTree[Array]) -> Linearization:
    """Loss, gradient and Hessian map of `loss` at `params`.

    Args:
        loss: a scalar function of a pytree.
        params: any pytree of float32 or float64 arrays with p entries in all.

    Raises:
        TypeError: a leaf of `params` is not such an array, or `loss` does not return a real scalar.
        ValueError: `params` has no entries.
    """
    check_params(params)
    check_loss(loss, params)
    x, unravel = ravel_pytree(params)

    def flat_gradient(x: Float[Array, " p"]) -> tuple[Float[Array, " p"], Float[Array, ""]]:
        value, gradient = jax.value_and_grad(lambda x: loss(unravel(x)))(x)
        return gradient, value

    with jax.default_matmul_precision("highest"):  # TensorFloat-32 products are off by 1e-3: the accuracy asked for
        gradient, product, value = jax.linearize(flat_gradient, x, has_aux=True)
    return Linearization(value, gradient, product)


def check_params(params: PyTree[Array]) -> None:
    """Reject parameters that have no Hessian, with one sentence that names the argument."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    for path, leaf in leaves:
        name = f"params{jax.tree_util.keystr(path)}"
        if not hasattr(leaf, "dtype"):
            raise TypeError(
                f"{name} is a {type(leaf).__name__}, not an array: keep the arrays of a model "
                "with eqx.partition(model, eqx.is_inexact_array)."
            )
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(f"{name} has dtype {leaf.dtype}: params must be real floating point to have a Hessian.")
        if leaf.dtype not in (jnp.float32, jnp.float64):
            raise TypeError(
                f"{name} has dtype {leaf.dtype}, too short for a Hessian: params must be float32 or float64, so cast "
                "them with jax.tree.map(lambda x: x.astype(jnp.float32), params)."
            )
    if sum(leaf.size for _, leaf in leaves) == 0:
        raise ValueError("params has no entries: there is nothing to differentiate with respect to.")


def check_loss(loss: Loss, params: PyTree[Array]) -> None:
    """Reject what is not a scalar function of `params`; it traces the loss."""
    check_callable(loss)
    eqx.filter_eval_shape(lambda params: as_scalar(loss(params)), params)


def check_callable(loss: Loss) -> None:
    if not callable(loss):
        raise TypeError(f"loss is a {type(loss).__name__}: it must be a function of params.")


def as_scalar(result: Any) -> Float[Array, ""]:
    """What a loss returned, if it is a real scalar."""
    if not hasattr(result, "shape") or result.shape != () or not jnp.issubdtype(result.dtype, jnp.floating):
        what = f"shape {result.shape}, dtype {result.dtype}" if hasattr(result, "shape") else type(result).__name__
        raise TypeError(f"loss must return a real scalar, but returned {what}.")
    return result
