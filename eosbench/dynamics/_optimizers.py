"""Optimizers of optax as the training loop takes them: read anew at each run, and given all that optax documents."""

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import Partial
from jaxtyping import Array, PyTree

from eosbench.curvature._loss import Loss
from eosbench.curvature._program import Recorded, read, with_jax_arrays
from eosbench.dynamics._shapes import difference, listed, shapes

Optimizer: TypeAlias = optax.GradientTransformation | Callable[[], optax.GradientTransformation]

_OPTIMIZERS = (
    "it must be an optax.GradientTransformation, such as optax.sgd(0.1), or a recipe for one, such as "
    "Partial(optax.sgd, 0.1)."
)


def read_optimizer(
    optimizer: Optimizer, loss: Recorded, params: PyTree[Array], batch: tuple = ()
) -> tuple[Recorded, Recorded]:
    """Two functions: params -> state, and (value, gradient, state, params, *batch) -> (params, state), one step.

    A state that the optimizer widens at its first step, as in double precision for params in single, is wide from the
    start on, so that a loop can carry it.

    Raises:
        TypeError: this is no optimizer, or not one for these params.
    """
    recipe, value = _with_array_numbers(optimizer, params), jax.eval_shape(loss, params, *batch)

    def init(params: PyTree[Array]) -> PyTree[Array]:
        made = _transformation(recipe)
        with _explained(params):
            return made.init(params)

    def update(value: Array, gradient: PyTree, state: PyTree, params: PyTree, *batch: PyTree) -> tuple[PyTree, PyTree]:
        made = _transformation(recipe)
        offered = _extra_arguments(made, lambda params: loss(params, *batch), value, gradient)
        with _explained(params):
            updates, state = made.update(gradient, state, params, **offered)
        if jax.tree.map(jnp.shape, updates) != jax.tree.map(jnp.shape, params):
            ours, theirs = difference(shapes(params), shapes(updates))
            raise TypeError(
                f"optimizer returned an update {theirs} for params {ours}: it must return one of their shapes."
            )
        return optax.apply_updates(params, updates), state

    start = read(init, params)
    for _ in range(2):
        before = jax.eval_shape(start, params)
        step = read(update, value, params, before, params, *batch)
        _, after = jax.eval_shape(step, value, params, before, params, *batch)
        if _kind(before) == _kind(after):
            return start, step
        if _kind(before)[0] != _kind(after)[0]:
            break
        start = read(lambda params, start=start, after=after: jax.tree.map(_widened, start(params), after), params)
    was, turned = (words or "nothing" for words in difference(shapes(before), shapes(after)))
    raise TypeError(f"optimizer turned its state from {was} into {turned}: it must keep its shapes and dtypes.")


def _kind(state: PyTree[Array]) -> tuple:
    return jax.tree.structure(state), shapes(state)


def _widened(entry: Array, later: jax.ShapeDtypeStruct) -> Array:
    with jax.numpy_dtype_promotion("standard"):  # what the flag forbids by accident is meant here
        return entry.astype(jnp.promote_types(entry.dtype, later.dtype))


def _with_array_numbers(optimizer: Optimizer, params: PyTree[Array]) -> Optimizer:
    """The floats of a recipe as arrays, so that another step size is another argument and not another program."""
    if not callable(optimizer) and not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(f"optimizer is {optimizer!r}, a {type(optimizer).__name__}: {_OPTIMIZERS}")
    if not isinstance(optimizer, Partial):
        return optimizer
    dtype = jax.tree.leaves(params)[0].dtype  # a wider scalar would widen the updates
    made = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype) if isinstance(leaf, float) else leaf, optimizer)
    return with_jax_arrays(made)


def _transformation(optimizer: Optimizer) -> optax.GradientTransformationExtraArgs:
    made = optimizer if isinstance(optimizer, optax.GradientTransformation) else optimizer()
    if not isinstance(made, optax.GradientTransformation):
        raise TypeError(f"optimizer returned a {type(made).__name__}: {_OPTIMIZERS}")
    return optax.with_extra_args_support(made)


def _extra_arguments(
    optimizer: optax.GradientTransformationExtraArgs, loss: Loss, value: Array, gradient: PyTree[Array]
) -> dict[str, Any]:
    """What line searches, Polyak's step, momo, SAM and Sophia ask for, each by the name that optax has given to it."""

    # A line search refuses arguments that its function does not take.
    def value_fn(params: PyTree[Array], obj_fn: Any = None, grad_fn: Any = None) -> Array:
        return loss(params)

    def grad_fn(params: PyTree[Array], step: Any) -> PyTree[Array]:
        return jax.grad(loss)(params)

    offered = {"value": value, "grad": gradient, "value_fn": value_fn, "obj_fn": loss, "grad_fn": grad_fn}
    taken = inspect.signature(optimizer.update).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
        return offered
    return {name: argument for name, argument in offered.items() if name in taken}


@contextlib.contextmanager
def _explained(params: PyTree[Array]) -> Iterator[None]:
    """An optimizer that asks for something else fails in many ways, of which none says what it was given."""
    try:
        yield
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        remedy = "it must work on the params of the loss and on their gradient over all data, and ask for no more than "
        remedy += "value, grad, value_fn, obj_fn and grad_fn"
        if jax.dtypes.canonicalize_dtype(float) == jnp.float64 and any(
            leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params)
        ):
            remedy += "; line searches of optax, while jax_enable_x64 is on, want params in float64"
        raise TypeError(
            f"optimizer cannot take a step from params {listed(shapes(params))} ({type(error).__name__}: {reason}): "
            f"{remedy}."
        ) from error
