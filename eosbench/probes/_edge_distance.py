"""How far a run is from the edge of stability of its own optimizer, whatever that is: 1 is the edge."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PyTree

from eosbench.curvature._loss import form
from eosbench.curvature._point import Point
from eosbench.dynamics._linear_step import gain
from eosbench.dynamics._shapes import difference, shapes
from eosbench.dynamics._stability_line import made_from, stability, without_zeros
from eosbench.probes._sharpness import Sharpness, Track


class Distance(Track):
    """What `EdgeDistance` records: a `Track` in units of the edge, which is 1."""

    __slots__ = ()

    @property
    def edge(self) -> float:
        """1, the value at the edge of stability."""
        return 1.0


class EdgeDistance(eqx.Module):
    """A probe that measures l1(G^1/2 H G^1/2)/2 along training, so that the edge is 1 for any optimizer.

    G is what `eosbench.stability` derives: for gradient descent the record is the sharpness over 2/eta, for Adam the
    preconditioned sharpness over 38/eta. It is that of the optimizer as it stands when it has seen the gradient at the
    point: with its second moment, the learning rate of the next step and its bias corrections; and that of small
    gradients, which does not see a clip that is active. A parameter that never had a gradient, such as the weight of a
    pixel that is always zero, has a second moment of zero and no curvature: it counts with the number next to zero. A
    step at which G is not finite all the same, or not positive, is marked as not converged. In training on mini-batches
    the second moment is that of the state, to which the gradient of what the probe measures is added: all data, or the
    batch in an `OnBatch`. Give it the optimizer that trains: another step size with the same state cannot be told.

    Attributes:
        optimizer: the one that trains, an `optax.GradientTransformation` or a `Partial` that returns one.
        sharpness: how the eigenvalues are found; its `k` values are recorded, in units of the edge, as a `Distance`.
    """

    optimizer: Any
    sharpness: Sharpness

    def __init__(
        self, optimizer: Any, sharpness: Sharpness | None = None, *, params: PyTree[Array] | None = None
    ) -> None:
        """See the attributes; `params` are for the check alone, where an optimizer asks for a structure of them.

        Raises:
            ValueError: the optimizer has no line of stability, or not at each call of its `update`; the message says
                why.
        """
        self.optimizer = optimizer
        self.sharpness = Sharpness() if sharpness is None else sharpness
        found = stability(optimizer, params=params)
        reason = found.reason
        if found.calls is not None and found.calls > 1:
            reason = (
                f"a step of it takes {found.calls} calls of its update, and between them it has no state of its own"
            )
        if reason is not None:
            raise ValueError(
                f"optimizer has no line of stability: {reason}; measure its curvature by a Sharpness probe."
            )

    def init(self, point: Point) -> PyTree[Array]:
        """The block at the start, from a cold solve."""
        return self.sharpness.init(self._at_the_edge(point)[0])

    def measure(self, point: Point, memory: PyTree[Array]) -> tuple[Distance, PyTree[Array]]:
        """Values in units of the edge, and the memory for the next point."""
        scaled, usable = self._at_the_edge(point)
        track, memory = self.sharpness.measure(scaled, memory)
        return Distance(*track._replace(converged=track.converged & usable)), memory

    def _at_the_edge(self, point: Point) -> tuple[Point, Bool[Array, ""]]:
        """The point in the coordinates in which the edge is 1, and whether there are such."""
        optimizer = made_from(self.optimizer)
        own = jax.eval_shape(optimizer.init, point.params)
        if form(own) != form(point.optimizer):  # training may widen the dtypes
            ours, theirs = difference(shapes(own), shapes(point.optimizer))
            told = f" ({ours or 'nothing'} for {theirs or 'nothing'})" if ours or theirs else ""
            raise ValueError(
                f"optimizer of EdgeDistance has another state than the one at the point{told}: give it the optimizer "
                "that trains, and a point of your own its state, as in linearize(loss, params, optimizer=state)."
            )
        gradient = point.layout.unravel(point.gradient)
        _, state = optimizer.update(gradient, point.optimizer, point.params)
        scale = gain(optimizer, without_zeros(state), point.params)
        leaves = jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(scale)])
        usable = jnp.isfinite(leaves).all() & (leaves >= 0).all() & (leaves > 0).any()
        positive = jax.tree.map(lambda g: jnp.where(g > 0, g, 0) / 2, scale)
        return point.preconditioned(positive), usable
