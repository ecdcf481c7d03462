"""A loss and its parameters as users give them: data bound to the loss, and what has no Hessian refused."""

import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial
from jaxtyping import Array, ArrayLike, Float, PyTree

Loss = Callable[[Any], Float[Array, ""]]
"""A map from a pytree of parameters to a scalar."""


def with_args(loss: Callable, args: Any) -> Loss:
    """A `loss(params, *args)` as a function of params, and of a batch where there is one.

    Raises:
        TypeError: `args` is no tuple, or `loss` no function.
    """
    check_callable(loss)
    if not isinstance(args, tuple | list):
        raise TypeError(
            f"args is a {type(args).__name__}: it must be a tuple, so write args=(x,) for a loss(params, x)."
        )
    return Partial(_applied, loss, tuple(args)) if args else loss


def _applied(loss: Callable, args: tuple, params: PyTree[Array], *batch: PyTree[Array]) -> Float[Array, ""]:
    return loss(params, *args, *batch)


def form(tree: PyTree[ArrayLike]) -> tuple[Any, list[tuple[int, ...]]]:
    """The structure of a tree and the shapes of its leaves, whatever their dtypes."""
    return jax.tree.structure(tree), [jnp.shape(leaf) for leaf in jax.tree.leaves(tree)]


def raveled(params: PyTree[Array]) -> tuple[Float[Array, " p"], Callable[[Float[Array, " p"]], PyTree[Array]]]:
    """The parameters as one flat vector, in the widest of their dtypes, and the way back, each in its own."""
    check_whole(params)
    with jax.numpy_dtype_promotion("standard"):  # what the flag forbids by accident is meant here
        return ravel_pytree(params)


def check_whole(params: PyTree[Array]) -> None:
    """Reject what is split over explicit axes of a mesh, for functions that take no layout."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        sharding = jax.typeof(leaf).sharding
        if any(entry is not None for entry in sharding.spec):
            raise TypeError(
                f"params{jax.tree_util.keystr(path)} is split over a mesh of explicit axes ({sharding}), which is not "
                "supported here: replicate it with jax.device_put(x, NamedSharding(mesh, PartitionSpec())), or make "
                "the mesh of axes of AxisType.Auto."
            )


def measurable(params: PyTree[Array]) -> PyTree[Array]:
    """The parameters, with float32 copies of those that are shorter, which is told in a warning.

    A product in half precision has two or three digits, and no eigenvalue could be told from it to 1e-3.

    Raises:
        TypeError, ValueError: they have no Hessian, in one sentence that names the argument.
    """
    check_params(params)
    short = [(path, leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(params) if _is_short(leaf.dtype)]
    if not short:
        return params
    path, leaf = short[0]
    warnings.warn(
        f"params{jax.tree_util.keystr(path)} has dtype {leaf.dtype}, too short for a Hessian: the loss is measured at "
        "float32 copies, where it is the function without that rounding of the parameters.",
        UserWarning,
        stacklevel=_frames_within(),
    )
    return widened(params)


def widened(params: PyTree[Array]) -> PyTree[Array]:
    """The same, without a word: for what has been told already."""
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32) if _is_short(x.dtype) else x, params)


def _is_short(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize < 4


def check_params(params: PyTree[Array]) -> None:
    """Reject parameters that have no Hessian, with one sentence that names the argument."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    for path, leaf in leaves:
        name = f"params{jax.tree_util.keystr(path)}"
        if isinstance(leaf, float):
            raise TypeError(f"{name} is a float, not an array: write jnp.asarray({leaf}).")
        if not hasattr(leaf, "dtype"):
            raise TypeError(
                f"{name} is a {type(leaf).__name__}, not an array: keep the arrays of a model "
                "with eqx.partition(model, eqx.is_inexact_array)."
            )
        if problem := _problem_of(leaf):
            raise TypeError(f"{name} {problem}")
    if sum(leaf.size for _, leaf in leaves) == 0:
        raise ValueError("params has no entries: there is nothing to differentiate with respect to.")


def _problem_of(leaf: Any) -> str | None:
    """What keeps an array from being among the parameters, as the rest of a sentence."""
    dtype = leaf.dtype
    if not jnp.issubdtype(dtype, jnp.floating):
        return f"has dtype {dtype}: params must be real floating point to have a Hessian."
    if getattr(dtype, "isnative", True) is False:
        return f"has dtype {dtype}, the bytes of another machine: write x.astype(x.dtype.newbyteorder('='))."
    if dtype.itemsize > 8:
        return f"has dtype {dtype}, too long for JAX: write x.astype(np.float64)."
    if isinstance(leaf, jax.Array) and not isinstance(leaf, jax.core.Tracer) and leaf.is_deleted():
        return "is an array that was deleted, as one that was donated is: pass the array that took its place."
    return None


def warn_of_state(params: PyTree[Array]) -> None:
    """Warn, once in a call and at the caller's line, of state among the parameters, as in the variables of flax."""
    if not isinstance(params, Mapping) or "params" not in params:
        return
    beside = [str(name) for name in params if name != "params"]
    if beside:
        told = ", ".join(map(repr, beside))
        warnings.warn(
            f"params holds {told} beside 'params', and what is there counts as parameters, as running statistics "
            "should not: pass variables['params'] alone, with a loss that closes over the rest.",
            UserWarning,
            stacklevel=_frames_within(),
        )


def _frames_within() -> int:
    """How many frames up, from the function that asks, the first one lies that is not of this package."""
    frame, n = sys._getframe(1), 1
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith("eosbench."):
        frame, n = frame.f_back, n + 1
    return n


def check_loss(loss: Loss, params: PyTree[Array]) -> None:
    """Reject what is not a scalar function of `params`; it traces the loss."""
    check_callable(loss)
    eqx.filter_eval_shape(lambda params: as_scalar(loss(params)), params)


def check_callable(loss: Loss) -> None:
    """Reject what cannot be called on params."""
    if isinstance(loss, type):
        raise TypeError(
            f"loss is the class {loss.__name__}: it must be a function of params, such as an instance of it."
        )
    if not callable(loss):
        kind = "an array" if isinstance(loss, jax.Array | np.ndarray) else f"a {type(loss).__name__}"
        raise TypeError(f"loss is {kind}: it must be a function of params.")


def as_scalar(result: Any) -> Float[Array, ""]:
    """What a loss returned, if it is a real scalar."""
    if hasattr(result, "shape") and result.shape == () and jnp.issubdtype(result.dtype, jnp.floating):
        return result
    if isinstance(result, float):
        what, remedy = "a float that does not depend on params", "compute it with jax.numpy"
    elif isinstance(result, tuple) and result and getattr(result[0], "shape", None) == ():
        what, remedy = f"a tuple of {len(result)}", "return the first alone, as in lambda params: loss(params)[0]"
    elif not hasattr(result, "shape"):
        what, remedy = f"{'None' if result is None else f'a {type(result).__name__}'}", "return the loss"
    elif result.shape != ():
        what, remedy = f"shape {result.shape}, dtype {result.dtype}", "take its mean or its sum"
    else:
        what, remedy = f"shape (), dtype {result.dtype}", "take its real part, or make it floating point"
    raise TypeError(f"loss must return a real scalar, but returned {what}: {remedy}.")
