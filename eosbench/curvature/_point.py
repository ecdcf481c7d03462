"""A loss at one point: the Hessian of any scalar loss over a pytree of parameters, as a linear map on flat vectors."""

from collections.abc import Callable
from typing import Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec, get_abstract_mesh
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray, PyTree

from eosbench.curvature._layout import Layout
from eosbench.curvature._loss import Loss, check_loss, form, measurable
from eosbench.curvature._mesh import types_of, with_types, without_types
from eosbench.curvature._program import layout_of


class Product(Protocol):
    """A symmetric linear map on flat vectors."""

    def __call__(self, vector: Float[Array, " p"], /) -> Float[Array, " p"]: ...


class Point(eqx.Module):
    """A loss at one point, of a run or alone: what every measurement of it starts from.

    Loss, gradient and products share one forward and backward pass. A point lives inside one compiled function, for
    `product` closes over the intermediate values of that pass.

    Attributes:
        params: where it is, the pytree that the loss takes.
        loss: the value, a scalar.
        gradient: the flat gradient, shape (p,), in the order of `jax.flatten_util.ravel_pytree(params)`; with params or
            data on a mesh of devices in that of `layout`, as all flat vectors.
        product: v -> H v for one flat vector of shape (p,).
        optimizer: in a run, the state of the optimizer before the step that is taken from here; else None.
        step: how many steps were taken to get here, scalar.
        key: for random measurements; in a run another one at each step.
        function: the loss as a function of params, for probes that look elsewhere.
        root: D^1/2 of a point that is `preconditioned`, flat or one number for all; else None.
        layout: how the parameters lie in flat vectors.
    """

    params: PyTree[Array]
    loss: Float[Array, ""]
    gradient: Float[Array, " p"]
    product: Product
    optimizer: PyTree[Array]
    step: Int[Array, ""]
    key: PRNGKeyArray
    function: Loss
    root: Float[Array, " *p"] | None = None
    layout: Layout = eqx.field(static=True, kw_only=True)

    def products(self, vectors: Float[Array, "b p"]) -> Float[Array, "b p"]:
        """H applied to each row; a block of b rows costs less than b single products."""
        return block_product(self.product, vectors)

    def preconditioned(self, scale: PyTree[ArrayLike]) -> "Point":
        """The point in the coordinates D^-1/2 params: its gradient is D^1/2 g, its Hessian D^1/2 H D^1/2.

        Parameters, loss and all else stay as they are; roots are taken in the wider precision of scale and gradient, so
        that what single precision cannot hold may still scale. Eigenvalues are in units of `scale` times sharpness, so
        without any with scale = eta/2, in which the edge of stability of gradient descent is 1. Where an entry is
        negative, all is nan, and a probe marks what it measures there as not converged.

        Args:
            scale: D >= 0, a number for each parameter as a pytree like `params`, or one number for all.

        Raises:
            ValueError: `scale` is of another shape.
            TypeError: it is not real.
        """
        return self._scaled(_root("scale", scale, self.params, self.gradient.dtype, self.layout))

    def at(self, params: PyTree[Array]) -> "Point":
        """The same loss at other parameters, in the same coordinates; it costs a forward and a backward pass."""
        point = linearize(
            self.function, params, optimizer=self.optimizer, step=self.step, key=self.key, layout=self.layout
        )
        return point if self.root is None else point._scaled(self.root)

    def _scaled(self, root: Float[Array, " *p"]) -> "Point":
        """In the coordinates params / root, on top of those that it is in."""
        whole = root if self.root is None else root * self.root
        scaled = (root * self.gradient, _Preconditioned(root, self.product), whole)
        return eqx.tree_at(lambda p: (p.gradient, p.product, p.root), self, scaled, is_leaf=lambda leaf: leaf is None)


class _Preconditioned(eqx.Module):
    """v -> D^1/2 H D^1/2 v."""

    root: Float[Array, " *p"]
    product: Product

    def __call__(self, vector: Float[Array, " p"], /) -> Float[Array, " p"]:
        return self.root * self.product(self.root * vector)


def _root(
    name: str, numbers: PyTree[ArrayLike], params: PyTree[Array], dtype: jnp.dtype, layout: Layout
) -> Float[Array, " *p"]:
    """The root of a number for each parameter as a flat vector, or that of one for all as a scalar."""
    given, wanted = form(numbers), form(params)
    if given not in (form(0.0), wanted):
        raise ValueError(
            f"{name} has shapes {given[1]}, but params {wanted[1]}: give one number for each, or one for all."
        )

    def root(entries: ArrayLike) -> Float[Array, "..."]:
        kind = jnp.result_type(entries)
        if not any(jnp.issubdtype(kind, real) for real in (jnp.floating, jnp.integer, jnp.bool_)):
            raise TypeError(f"{name} has dtype {kind}: it must be real, so give its real part or its modulus.")
        with jax.numpy_dtype_promotion("standard"):  # what the flag forbids by accident is meant here
            entries = jnp.asarray(entries, jnp.promote_types(kind, dtype))
        # The root has no derivative at zero; taken as zero there, it does no harm to those of other entries.
        return jnp.where(entries == 0, 0, jnp.sqrt(jnp.where(entries == 0, 1, entries))).astype(dtype)

    roots = jax.tree.map(root, numbers)
    return roots if given == form(0.0) else layout.ravel(roots)


def block_product(product: Product, vectors: Float[Array, "b p"]) -> Float[Array, "b p"]:
    """The map applied to each row of a block, shape (b, p)."""
    if vectors.shape[0] == 1:  # vmap over one row would turn matrix-vector kernels into slower batched ones
        return product(vectors[0])[None]
    return jax.vmap(product)(vectors)


def linearize(
    loss: Loss,
    params: PyTree[Array],
    *,
    optimizer: PyTree[Array] = None,
    step: Int[Array, ""] | int = 0,
    key: PRNGKeyArray | None = None,
    layout: Layout | None = None,
) -> Point:
    """The point at `params`: loss, gradient and Hessian map, from one linearization of the gradient.

    Args:
        loss: a scalar function of a pytree.
        params: any pytree of real arrays with p entries in all.
        optimizer, step: see `Point`; for a probe that is called in a loop of your own.
        key: see `Point`; a fixed one for each step by default.
        layout: see `Point`; within a compiled function, which does not see how its arrays are split over devices, it is
            `Layout.of(params, data)` of the arrays outside.

    Raises:
        TypeError: a leaf of `params` is not such an array, or `loss` does not return a real scalar.
        ValueError: `params` has no entries.
    """
    params = measurable(params)
    check_loss(loss, params)
    layout = layout_of(loss, params) if layout is None else layout
    if AxisType.Explicit in get_abstract_mesh().axis_types:
        params = jax.sharding.reshard(params, PartitionSpec())  # so that each leaf has a whole gradient

    def gradient_and_value(params: PyTree[Array]) -> tuple[PyTree[Array], Float[Array, ""]]:
        value, gradient = jax.value_and_grad(loss)(params)
        return gradient, value

    with jax.default_matmul_precision("highest"):  # TensorFloat-32 products are off by 1e-3: the accuracy asked for
        gradient, push, value = jax.linearize(gradient_and_value, params, has_aux=True)
    key = jax.random.fold_in(jax.random.key(0), step) if key is None else key
    return Point(
        params,
        value,
        layout.ravel(gradient),
        _Hessian.of(push, layout),
        optimizer,
        jnp.asarray(step),
        key,
        loss,
        layout=layout,
    )


class _Hessian(eqx.Module):
    """v -> H v on flat vectors."""

    push: Callable[[PyTree[Array]], PyTree[Array]]
    types: tuple[NamedSharding | None, ...] = eqx.field(static=True)
    layout: Layout = eqx.field(static=True)

    @classmethod
    def of(cls, push: Callable[[PyTree[Array]], PyTree[Array]], layout: Layout) -> "_Hessian":
        types = tuple(types_of(push))
        return cls(without_types(push, types), types, layout)

    def __call__(self, vector: Float[Array, " p"], /) -> Float[Array, " p"]:
        push = with_types(self.push, self.types)
        return self.layout.ravel(push(self.layout.unravel(vector)))
