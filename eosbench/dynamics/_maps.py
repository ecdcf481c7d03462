"""The step maps of the papers, and their iteration inside one compiled loop.

A step is a callable `x -> x`: a pytree whose leaves are its step size and whatever arrays its loss holds. Iterating
it for another step size, another start or another number of steps therefore compiles nothing anew, and `jax.vmap` runs
a grid of them at once. Steps are read anew in every call (see `eosbench.curvature._program`).
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PyTree

from eosbench.curvature._program import read

Loss = Callable[[Float[Array, "..."]], Float[Array, ""]]
Step = Callable[[Float[Array, "..."]], Float[Array, "..."]]


def gd_step(loss: Loss, eta: Float[ArrayLike, ""]) -> Step:
    """Gradient descent: `x - eta ∇L(x)`."""
    return eqx.Partial(_gd, loss, jnp.asarray(eta, float))


def ngd_step(loss: Loss, eta: Float[ArrayLike, ""]) -> Step:
    """Normalized gradient descent: `x - eta ∇L(x)/‖∇L(x)‖`, every step of length eta (Arora et al. 2022).

    The norm is that of the whole array. Where the gradient vanishes the map is undefined, and the result is nan.
    """
    return eqx.Partial(_ngd, loss, jnp.asarray(eta, float))


def sqrt_gd_step(loss: Loss, eta: Float[ArrayLike, ""]) -> Step:
    """Gradient descent on the square root of a loss whose minimum is zero: `x - eta ∇√L(x)` (Arora et al. 2022).

    Where the loss vanishes its root has no gradient, and the result is nan.
    """
    return eqx.Partial(_sqrt_gd, loss, jnp.asarray(eta, float))


def iterate(step: Step, x0: Float[ArrayLike, "..."], steps: Int[ArrayLike, ""]) -> Float[Array, "..."]:
    """The iterate that `step` reaches from x0 after `steps` applications. Not reverse-mode differentiable."""
    # Arrays rather than numbers: filter_jit would take a Python number for part of the program.
    x0 = jnp.asarray(x0)
    return _iterate(read(step, x0), x0, jnp.asarray(steps, int))


def trajectory(
    step: Step,
    x0: Float[ArrayLike, "..."],
    steps: int,
    observe: Callable[[Float[Array, "..."]], PyTree[Array]] = lambda x: x,
    every: int = 1,
) -> PyTree[Float[Array, "records ..."]]:
    """What `observe` sees of x0 and of each `every`-th iterate after it, by default the iterates themselves.

    The leading axis has `steps // every + 1` entries.
    """
    x0 = jnp.asarray(x0)
    return _trajectory(read(step, x0), x0, steps // every, read(observe, x0), jnp.asarray(every, int))


def gradient_descent(
    loss: Loss, x0: Float[ArrayLike, "..."], eta: Float[ArrayLike, ""], steps: Int[ArrayLike, ""]
) -> Float[Array, "..."]:
    """The last of `steps` iterates of `gd_step`."""
    return iterate(gd_step(loss, eta), x0, steps)


def ends_where(
    step: Step,
    starts: Float[ArrayLike, "p starts"],
    steps: int,
    stays: Callable[[Float[Array, "p starts"]], Bool[Array, "starts"]],
) -> Float[Array, "p kept"]:
    """The iterates after `steps` from those starts at which, and at every iterate up to the last, `stays` holds.

    A start is a column, and all are iterated as one array. `stays` is part of the compiled program: see `trajectory`.
    """
    kept = jnp.all(trajectory(step, starts, steps, stays), axis=0)
    return iterate(step, jnp.asarray(starts)[:, kept], steps)


def normalized_gd(
    loss: Loss, x0: Float[ArrayLike, "..."], eta: Float[ArrayLike, ""], steps: Int[ArrayLike, ""]
) -> Float[Array, "..."]:
    """The last of `steps` iterates of `ngd_step`."""
    return iterate(ngd_step(loss, eta), x0, steps)


def sqrt_gd(
    loss: Loss, x0: Float[ArrayLike, "..."], eta: Float[ArrayLike, ""], steps: Int[ArrayLike, ""]
) -> Float[Array, "..."]:
    """The last of `steps` iterates of `sqrt_gd_step`."""
    return iterate(sqrt_gd_step(loss, eta), x0, steps)


def _gd(loss: Loss, eta: Float[Array, ""], x: Float[Array, "..."]) -> Float[Array, "..."]:
    return x - eta.astype(x.dtype) * jax.grad(loss)(x)


def _ngd(loss: Loss, eta: Float[Array, ""], x: Float[Array, "..."]) -> Float[Array, "..."]:
    gradient = jax.grad(loss)(x)
    return x - eta.astype(x.dtype) * gradient / jnp.sqrt(jnp.sum(gradient**2))


def _sqrt_gd(loss: Loss, eta: Float[Array, ""], x: Float[Array, "..."]) -> Float[Array, "..."]:
    value, gradient = jax.value_and_grad(loss)(x)
    return x - eta.astype(x.dtype) * gradient / (2 * jnp.sqrt(value))


@eqx.filter_jit
def _iterate(step: Step, x0: Float[Array, "..."], steps: Int[Array, ""]) -> Float[Array, "..."]:
    return jax.lax.fori_loop(0, steps, lambda _, x: step(x), x0)


@eqx.filter_jit
def _trajectory(
    step: Step,
    x0: Float[Array, "..."],
    records: int,
    observe: Callable[[Float[Array, "..."]], PyTree[Array]],
    every: Int[Array, ""],
) -> PyTree[Float[Array, "records+1 ..."]]:
    def record(x: Float[Array, "..."], _: None) -> tuple[Float[Array, "..."], PyTree[Array]]:
        return _iterate(step, x, every), observe(x)

    last, seen = jax.lax.scan(record, x0, length=records)
    return jax.tree.map(lambda head, tail: jnp.concatenate([head, tail[None]]), seen, observe(last))
