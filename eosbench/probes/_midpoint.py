"""Measuring in the middle of a step, where a run never stands."""

from typing import Any

import equinox as eqx
from jaxtyping import Array, Float, PyTree

from eosbench.curvature._point import Point
from eosbench.dynamics._probe import Probe


class _Memory(eqx.Module):
    before: Float[Array, " p"]
    probe: PyTree[Array]


class Midpoint(eqx.Module):
    """A probe that measures another one half-way between this point and the one of the measurement before.

    `Midpoint(Sharpness())` is the sharpness at the middle of each step. It costs one more forward and backward pass
    than the probe itself. The first record of a run, which no step led to, is that at its start.

    Attributes:
        probe: what is measured there.
    """

    probe: Probe

    def init(self, point: Point) -> _Memory:
        """The start of the first step, and the memory of the probe there."""
        return _Memory(point.layout.ravel(point.params), self.probe.init(point))

    def measure(self, point: Point, memory: _Memory) -> tuple[Any, _Memory]:
        """The record of the probe in the middle of the step that led here, and the memory for the next one."""
        x, unravel = point.layout.ravel(point.params), point.layout.unravel
        record, after = self.probe.measure(point.at(unravel(memory.before + (x - memory.before) / 2)), memory.probe)
        return record, _Memory(x, after)
