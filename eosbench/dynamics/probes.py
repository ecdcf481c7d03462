"""Measurements along training: functions of the parameters, and probes with a memory."""

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PyTree

from eosbench.curvature.arguments import as_integer
from eosbench.curvature.operator import Linearization, linearize
from eosbench.curvature.program import Recorded, content, on_the_mesh_of
from eosbench.curvature.tracker import Sharpness


class Probe(Protocol):
    """A measurement with a memory: `init` at the first point, `measure` at every `every`-th point.

    A plain function of the parameters that returns an array (or a pytree of arrays) is a probe too.
    """

    every: int

    def init(self, point: Linearization) -> PyTree[Array]: ...

    def measure(self, point: Linearization, state: PyTree[Array]) -> tuple[PyTree[Array], PyTree[Array]]: ...


Probes = Mapping[str, Probe | Callable[[Any], PyTree[Array]]]


class Tracker(eqx.Module):
    """A probe with a memory as the compiled loop takes it: its arrays, and whatever else it holds."""

    name: str = eqx.field(static=True)
    every: int = eqx.field(static=True)
    arrays: PyTree[Array]
    rest: "_Rest" = eqx.field(static=True)

    def init(self, point: Linearization) -> PyTree[Array]:
        """The memory at the start."""
        return jax.tree.map(jnp.asarray, eqx.combine(self.arrays, self.rest.probe).init(point))

    def measure(self, point: Linearization, memory: PyTree[Array]) -> tuple[PyTree[Array], PyTree[Array]]:
        """The record and the next memory."""
        result = eqx.combine(self.arrays, self.rest.probe).measure(point, memory)
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(
                f"probes[{self.name!r}] measured {result!r}: it must return a pair, the record and the state."
            )
        _check_record(self.name, result[0])
        return result

    def measure_if(self, due: Bool[Array, ""], point: Linearization, memory: PyTree[Array]) -> tuple[PyTree, PyTree]:
        """The same where it is due; elsewhere a blank record, and the memory as it is."""
        record, _ = eqx.filter_eval_shape(self.measure, point, memory)
        blank = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), record)
        return jax.lax.cond(due, lambda: self.measure(point, memory), lambda: (blank, memory))


class _Rest:
    """What a probe is without its arrays, equal to what computes the same."""

    def __init__(self, probe: Any, key: Hashable) -> None:
        self.probe, self.key = probe, key

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Rest) and self.key == other.key


def sorted_probes(probes: Any) -> tuple[dict[str, Callable], dict[str, Probe]]:
    """Those that are functions, and those that have a memory.

    Raises:
        TypeError: one of them is neither.
    """
    if probes is not None and not isinstance(probes, Mapping):
        raise TypeError(
            f"probes is a {type(probes).__name__}: it must map names to probes, as in "
            "probes={'sharpness': Sharpness()}."
        )
    functions, others = {}, {}
    for name, probe in (probes or {}).items():
        if isinstance(probe, type):
            raise TypeError(
                f"probes[{name!r}] is the class {probe.__name__}: it must be an instance, {probe.__name__}()."
            )
        if hasattr(probe, "init") and hasattr(probe, "measure"):
            others[name] = probe
        elif callable(probe):
            functions[name] = probe
        else:
            raise TypeError(
                f"probes[{name!r}] is a {type(probe).__name__}: it must be a probe, or a function of the parameters."
            )
    return functions, others


def observer(functions: dict[str, Callable]) -> Callable[[PyTree[Array]], dict[str, PyTree[Array]]]:
    """All functions of the parameters in one."""

    def observe(params: PyTree[Array]) -> dict[str, PyTree[Array]]:
        records = {name: function(params) for name, function in functions.items()}
        for name, record in records.items():
            _check_record(name, record)
        return records

    return observe


def as_tracker(name: str, probe: Any, loss: Recorded, params: PyTree[Array]) -> Tracker:
    """A probe with a memory as it is now.

    What a `Sharpness` does is in its fields. What another probe does is traced, at the cost of its own trace.
    """
    if not hasattr(probe, "every"):
        raise TypeError(f"probes[{name!r}] has no attribute every: it must say how often it measures, as in every = 1.")
    every = as_integer(f"every of probes[{name!r}]", probe.every)
    arrays, rest = eqx.partition(probe, eqx.is_array)
    if type(probe) is Sharpness:
        return Tracker(name, every, arrays, _Rest(rest, rest))

    def whole(arrays: PyTree[Array], params: PyTree[Array]) -> tuple[PyTree, PyTree]:
        with on_the_mesh_of(loss):
            tracker, point = Tracker(name, every, arrays, _Rest(rest, None)), linearize(loss, params)
            memory = tracker.init(point)
            return memory, tracker.measure(point, memory)

    return Tracker(name, every, arrays, _Rest(rest, content(whole, arrays, params)))


def _check_record(name: str, record: Any) -> None:
    leaves = jax.tree.leaves(record)
    if not leaves or not all(eqx.is_array_like(leaf) for leaf in leaves):
        raise TypeError(f"probes[{name!r}] returned {record!r}: it must return an array or a pytree of arrays.")
