"""What a tracked sharpness remembers: the vectors that it carries, and which of them are nearest to a new point.

At the edge of stability the iterates jump to and fro across a valley, and the Hessian with them: a point is nearer to
the last but one than to the last. So the blocks of the last two measurements are kept, and the next one starts from
that of the nearer point.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray

from eosbench.curvature._layout import Layout
from eosbench.probes._search_space import orthogonal, orthonormal

NEAR = 1 / 3
"""A point has come back if its distance to the last but one is less than this share of that to the last."""

NEWS = 0.01
"""Share of a wanted vector from which on it is news to the block of the last but one."""

EXPLORE = 6
"""Measurements after which the explorer is multiplied again."""

STRAIGHTEN = 15
"""Measurements after which rounding is taken out of a block, whose rows are orthonormal by calculation only. Odd, so
that it is the turn of either where two alternate."""


class Block(NamedTuple):
    """The vectors that a measurement leaves to later ones, and what is known of them."""

    vectors: Float[Array, "b p"]  # orthonormal rows, the wanted ones first; the last one is the explorer
    values: Float[Array, " b"]
    ages: Float[Array, " b"]  # these and the next as in a `Space`, of the measurement that comes next
    reach: Float[Array, " b"]
    drift: Float[Array, " b"]
    spread: Float[Array, ""]

    def times(self, unit: Float[Array, ""]) -> "Block":
        """In another unit of curvature."""
        scaled = {name: unit * getattr(self, name) for name in ("values", "reach", "drift", "spread")}
        return self._replace(**scaled)

    def exploring(
        self, vector: Float[Array, " p"], value: Float[Array, ""], age: Float[ArrayLike, ""], reach: Float[Array, ""]
    ) -> "Block":
        """The block with another explorer: the part of a vector outside the other rows."""
        return self._replace(
            vectors=self.vectors.at[-1].set(orthogonal(vector, self.vectors[:-1])),
            values=self.values.at[-1].set(value),
            ages=self.ages.at[-1].set(age),
            reach=self.reach.at[-1].set(reach),
        )


class Memory(NamedTuple):
    """The state of a `Sharpness` probe."""

    last: Block
    before: Block  # of the measurement before the last
    places: Float[Array, "2 p"]  # of the two; infinite where there was none, or one that started from random vectors
    motion: Float[Array, "k p"]  # how the wanted vectors moved, outside the block, with the last measurement
    factor: Float[Array, " k"]  # times this they are taken to move on
    measured: Int[Array, ""]  # so many times
    begun: Bool[Array, ""]  # whether the vectors are not random any more
    key: PRNGKeyArray

    def times(self, unit: Float[Array, ""]) -> "Memory":
        """In another unit of curvature."""
        return self._replace(last=self.last.times(unit), before=self.before.times(unit))

    def nearest(self, place: Float[Array, " p"], layout: Layout) -> tuple[Block, Bool[Array, ""]]:
        """The block from which to start at a place, and whether it is that of the last measurement but one."""
        ways = jnp.stack([jnp.linalg.norm(place - former) for former in self.places])
        back = ways[1] < NEAR * ways[0]
        block: Block = jax.lax.cond(back, lambda: self._informed(layout), lambda: self._predicted(layout))
        rows = block.vectors
        straight = self.measured % STRAIGHTEN == 0
        rows = jax.lax.cond(straight, lambda: orthonormal(rows, layout), lambda: rows)
        return block._replace(vectors=layout.constrain(rows)), back

    def _predicted(self, layout: Layout) -> Block:
        """The last block, the wanted vectors moved on by what the last two measurements tell."""
        k = len(self.motion)
        moved = self.last.vectors[:k] + self.factor[:, None] * self.motion  # orthogonal to the rest of the block
        return self.last._replace(vectors=self.last.vectors.at[:k].set(orthonormal(moved, layout)))

    def _informed(self, layout: Layout) -> Block:
        """The block before the last, with what was learned since in the place of its explorer.

        That is the last explorer, which so takes its power steps one after the other; or, where the last measurement
        led a wanted vector out of this block, the part of it that is outside, to be multiplied at once.
        """
        last, rows = self.last, self.before.vectors[:-1]
        wanted = last.vectors[: len(self.motion)]
        outside = wanted - layout.inner(wanted, rows) @ rows
        shares = jnp.sum(outside**2, axis=1)
        news = shares.max() > NEWS
        explorer = jnp.where(news, outside[jnp.argmax(shares)], last.vectors[-1])
        age = jnp.where(news, 2 * EXPLORE, last.ages[-1])
        older = self.before._replace(ages=self.before.ages + 1)
        return older.exploring(explorer, last.values[-1], age, last.reach[-1])

    def followed_by(self, block: Block, place: Float[Array, " p"], layout: Layout) -> "Memory":
        """The memory after a measurement that left this block."""
        motion, factor = _motion(block.vectors, self, layout)
        places = jnp.stack([jnp.where(self.begun, place, jnp.inf), self.places[0]])
        return self._replace(last=block, before=self.last, places=places, motion=motion, factor=factor)


def _motion(vectors: Float[Array, "b p"], memory: Memory, layout: Layout) -> tuple[Array, Array]:
    """The displacement of the wanted vectors outside the block, and the factor of the next one.

    At the edge of stability the displacement of a step is minus that of the step before; along a smooth path it is the
    same again. The factor is fitted. Only displacements outside the block matter, for inside it the projected matrix is
    solved anyway.
    """
    k = len(memory.motion)
    former = memory.last.vectors[:k]
    overlap = layout.inner(vectors[:k], former)  # also aligns signs
    before = overlap @ former
    # Divided so that the vectors before are the wanted ones minus this: tangents, not sines, of the angles between.
    squares = jnp.sum(overlap**2, axis=1, keepdims=True)
    motion = jnp.where(squares > 0.25, (layout.inner(before, vectors) @ vectors - before) / squares, 0)
    last = overlap @ memory.motion
    length = jnp.diag(layout.inner(last, last))
    factor = jnp.where(length > 0, jnp.diag(layout.inner(motion, last)) / jnp.where(length > 0, length, 1), 0)
    return motion, jnp.clip(factor, -1, 1)
