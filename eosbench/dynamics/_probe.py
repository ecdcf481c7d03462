"""What a probe is: a measurement that `train` takes along the way."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import equinox as eqx
from jaxtyping import Array, PyTree

from eosbench.curvature._arguments import as_integer
from eosbench.curvature._point import Point


class Probe(Protocol):
    """A measurement with a memory: `init` gives it at the start of a run, `measure` a record and the next memory.

    The memory is any pytree of arrays, and None for a probe that needs none. A plain function of the parameters that
    returns an array (or a pytree of arrays) is a probe too. Both functions may be called in a loop of your own, inside
    the function that you compile, with `linearize(loss, params)` as the point.
    """

    def init(self, point: Point, /) -> PyTree[Array]: ...

    def measure(self, point: Point, memory: PyTree[Array], /) -> tuple[PyTree[Array], PyTree[Array]]: ...


class Every(eqx.Module):
    """A probe, or a function of the parameters, that measures at every n-th step alone; nothing is computed between.

    Attributes:
        n: measured are the steps 0, n, 2n ... of a run.
        probe: what is measured there.
    """

    n: int = eqx.field(converter=lambda n: as_integer("n of Every", n))
    probe: Probe | Callable[[Any], PyTree[Array]]

    def __check_init__(self) -> None:
        if isinstance(self.probe, Every):
            raise TypeError(
                f"probe of Every({self.n}, ...) is an Every: write Every({self.n * self.probe.n}, ...) of its probe."
            )


class OnBatch(eqx.Module):
    """A probe that measures the loss on the mini-batch of the step that is taken, in place of that over all data.

    It shares the pass that the step takes anyway. `Every(n, OnBatch(probe))` measures at every n-th step alone.

    Attributes:
        probe: what is measured.
    """

    probe: Probe

    def __check_init__(self) -> None:
        if isinstance(self.probe, Every | OnBatch):
            raise TypeError(
                f"probe of OnBatch is an {type(self.probe).__name__}: write Every(n, OnBatch(probe)) of a plain one."
            )


Probes = Mapping[str, Probe | Every | OnBatch | Callable[[Any], PyTree[Array]]]
