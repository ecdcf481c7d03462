"""Probes as the compiled loop takes them: read anew at each run, and measured when they are due."""

from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.tree_util import Partial
from jaxtyping import Array, Int, PyTree

from eosbench.curvature._layout import Layout
from eosbench.curvature._loss import Loss, widened
from eosbench.curvature._mesh import on_the_mesh_of, with_automatic_axes
from eosbench.curvature._point import Point, linearize
from eosbench.curvature._program import Recorded, content, layout_of, read
from eosbench.dynamics._linear_step import gain
from eosbench.dynamics._probe import Every, OnBatch
from eosbench.dynamics._shapes import difference, shapes

T = TypeVar("T")


class ReadFunction(eqx.Module):
    """A function of the parameters."""

    name: str = eqx.field(static=True)
    every: int = eqx.field(static=True)
    program: Recorded

    def measure(self, step: Int[Array, ""], params: PyTree[Array]) -> PyTree[Array]:
        """The record, where it is due; else a blank one."""
        run = lambda: self.program(params)  # noqa: E731
        return when_due(self.every, step, run, lambda: _blank(jax.eval_shape(run)))


class ReadProbe(eqx.Module):
    """A probe with a memory: its arrays, and whatever else it holds."""

    name: str = eqx.field(static=True)
    every: int = eqx.field(static=True)
    on_batch: bool = eqx.field(static=True)
    arrays: PyTree[Array]
    rest: "_Rest" = eqx.field(static=True)

    def init(self, point: Point) -> PyTree[Array]:
        """The memory at the start; a Python number in it has the dtype that the first measurement gives it."""
        memory = jax.tree.map(jnp.asarray, eqx.combine(self.arrays, self.rest.probe).init(point))
        if not any(jax.typeof(leaf).weak_type for leaf in jax.tree.leaves(memory)):
            return memory
        _, after = eqx.filter_eval_shape(self._measure, point, memory)
        structure: Any = jax.tree.structure(memory)
        if structure == jax.tree.structure(after):
            return jax.tree.map(lambda now, later: jnp.asarray(now, later.dtype), memory, after)
        return memory  # which the measurement refuses in a sentence

    def measure(
        self, point: Callable[[], Point], step: Int[Array, ""], memory: PyTree[Array]
    ) -> tuple[PyTree[Array], PyTree[Array]]:
        """The record and the next memory, where it is due; else a blank record, and the memory as it is.

        The point is a function, so that one that nothing else needs costs nothing at the other steps.
        """
        run = lambda: self._kept(point(), memory)  # noqa: E731
        return when_due(self.every, step, run, lambda: (_blank(eqx.filter_eval_shape(run)[0]), memory))

    def _kept(self, point: Point, memory: PyTree[Array]) -> tuple[PyTree[Array], PyTree[Array]]:
        """The record and the next memory, if that is of the shapes of this one."""
        record, after = self._measure(point, memory)
        if (jax.tree.structure(after), shapes(after)) != (jax.tree.structure(memory), shapes(memory)):
            was, turned = (words or "nothing" for words in difference(shapes(memory), shapes(after)))
            raise TypeError(
                f"probes[{self.name!r}] turned its memory from {was} into {turned}: it must keep its structure, shapes "
                "and dtypes."
            )
        return record, after

    def _measure(self, point: Point, memory: PyTree[Array]) -> tuple[PyTree[Array], PyTree[Array]]:
        result = eqx.combine(self.arrays, self.rest.probe).measure(point, memory)
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(
                f"probes[{self.name!r}] measured {result!r}: it must return a pair, the record and the memory."
            )
        _check_record(self.name, result[0])
        measured: tuple[PyTree[Array], PyTree[Array]] = jax.tree.map(jnp.asarray, result)
        return measured


class _Rest:
    """What a probe is without its arrays, equal to what computes the same."""

    def __init__(self, probe: Any, key: Hashable) -> None:
        self.probe, self.key = probe, key

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Rest) and self.key == other.key


def when_due(every: int, step: Int[Array, ""], measure: Callable[[], T], otherwise: Callable[[], T]) -> T:
    """What is measured at the steps 0, `every`, 2 `every` ...; nothing is computed at the others."""
    if every == 1:
        return measure()
    result: T = jax.lax.cond(step % every == 0, measure, otherwise)
    return result


def _blank(record: PyTree[jax.ShapeDtypeStruct]) -> PyTree[Array]:
    return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), record)


def read_probes(
    probes: "dict[str, Reading]",
    losses: "Losses",
    params: PyTree[Array],
    batch: tuple,
    optimizer: PyTree[jax.ShapeDtypeStruct],
) -> tuple[dict[str, ReadFunction], dict[str, ReadProbe]]:
    """Those that are functions, and those that have a memory, as they are now.

    Args:
        probes: what `readings` told.
        losses: what they measure.
        params, batch, optimizer: the shapes of the parameters, of a mini-batch, if any, and of the optimizer's state.

    Raises:
        TypeError: one of them does not return what it must.
    """
    functions, with_memory = {}, {}
    for name, reading in probes.items():
        if has_memory(reading.probe):
            with_memory[name] = _read_probe(name, reading, losses, params, batch, optimizer)
        else:
            functions[name] = ReadFunction(name, reading.every, read(_checked(name, reading.probe), params))
    return functions, with_memory


class Losses(eqx.Module):
    """What a run descends, and what its probes measure: the same, unless it takes mini-batches or half precision.

    Attributes:
        descended: a function of the parameters, and of the mini-batch where there is one.
        measured: for probes that are on the batch (True) and for others (False) what they measure, where it is
            something else: the loss over all data, a function of the parameters alone, or the loss of float32 copies.
    """

    descended: Recorded
    measured: dict[bool, Recorded]

    def of(self, on_batch: bool, batch: tuple) -> Loss:
        """The loss that a probe measures, as a function of the parameters."""
        loss = self.measured.get(on_batch, self.descended)
        return Partial(_on, loss, batch if on_batch or self.is_descended(on_batch) else ())

    def layout(self, on_batch: bool) -> Layout:
        """How the parameters lie in flat vectors where such a probe measures."""
        return layout_of(self.measured.get(on_batch, self.descended), None)

    def is_descended(self, on_batch: bool) -> bool:
        """Whether such a probe can share the pass of the step."""
        return on_batch not in self.measured


def _on(loss: Recorded, batch: tuple, params: PyTree[Array]) -> Array:
    value: Array = loss(params, *batch)
    return value


class Reading(NamedTuple):
    """A probe without what was said about it: how often it measures, and whether on the mini-batch of the step."""

    every: int
    on_batch: bool
    probe: Any


def readings(probes: Any, batches: bool) -> dict[str, Reading]:
    """For each name what is measured; `batches` is whether the run takes mini-batches.

    Raises:
        ValueError: one of them is to measure on a mini-batch, and there is none.
        TypeError: one of them is no probe.
    """
    if probes is not None and not isinstance(probes, Mapping):
        raise TypeError(
            f"probes is a {type(probes).__name__}: it must map names to probes, as in "
            "probes={'sharpness': Sharpness()}."
        )
    found = {}
    for name, probe in (probes or {}).items():
        every, probe = (probe.n, probe.probe) if isinstance(probe, Every) else (1, probe)
        on_batch, probe = (True, probe.probe) if isinstance(probe, OnBatch) else (False, probe)
        if on_batch and not batches:
            raise ValueError(
                f"probes[{name!r}] is an OnBatch, and the run takes no mini-batches: pass batches=Batches(data, size), "
                "or the probe itself."
            )
        if on_batch and not has_memory(probe):
            raise TypeError(
                f"probes[{name!r}] is OnBatch({probe!r}), which is no probe with init and measure, and a function of "
                "the parameters sees no batch: pass it without OnBatch."
            )
        if isinstance(probe, type):
            raise TypeError(
                f"probes[{name!r}] is the class {probe.__name__}: it must be an instance, {probe.__name__}()."
            )
        if not has_memory(probe) and not callable(probe):
            raise TypeError(
                f"probes[{name!r}] is a {type(probe).__name__}: it must be a probe, with init(point) and "
                "measure(point, memory), or a function of the parameters."
            )
        found[name] = Reading(every, on_batch, probe)
    return found


def has_memory(probe: Any) -> bool:
    """Whether it is a `Probe`, and not a plain function."""
    return hasattr(probe, "init") and hasattr(probe, "measure")


def _read_probe(
    name: str,
    reading: Reading,
    losses: Losses,
    params: PyTree[Array],
    batch: tuple,
    optimizer: PyTree[jax.ShapeDtypeStruct],
) -> ReadProbe:
    every, on_batch, probe = reading
    arrays, rest = eqx.partition(probe, eqx.is_array)
    own = _key_of_fields(probe, widened(params))
    if own is not None:
        return ReadProbe(name, every, on_batch, arrays, _Rest(rest, own))

    layout = losses.layout(on_batch)

    def measured(
        losses: Losses,
        arrays: PyTree[Array],
        params: PyTree[Array],
        batch: tuple,
        optimizer: PyTree[Array],
        step: Array,
    ) -> tuple:
        read = ReadProbe(name, 1, on_batch, arrays, _Rest(rest, None))
        loss = losses.of(on_batch, batch)
        point = linearize(loss, widened(params), optimizer=optimizer, step=step, layout=layout)
        memory = read.init(point)
        return memory, read.measure(lambda: point, step, memory)

    def on_the_mesh(*arguments: PyTree[Array]) -> tuple:
        with on_the_mesh_of(arguments):
            result: tuple = with_automatic_axes(measured, layout.specs)(*arguments)
            return result

    # The data of the losses are arguments here as they are in the run: other data are no other program.
    key = content(on_the_mesh, losses, arrays, params, batch, optimizer, jnp.asarray(0))
    return ReadProbe(name, every, on_batch, arrays, _Rest(rest, key))


def _key_of_fields(probe: Any, params: PyTree[Array]) -> Hashable | None:
    """A key for what one of this package's probes does, if all of it is in its fields; this spares its trace.

    These are numbers, and optimizers, which are read by what a step of theirs computes, and by its derivatives.
    """
    if not (isinstance(probe, eqx.Module) and type(probe).__module__.startswith("eosbench.")):
        return None

    def key_of(field: Any) -> Hashable:
        if eqx.is_array(field):
            return None  # an argument of the program
        return content(_linearized(field), params) if _is_optimizer(field) else (type(field), field)

    fields, structure = jax.tree.flatten(probe, is_leaf=_is_optimizer)
    known = all(eqx.is_array_like(field) or _is_optimizer(field) for field in fields)
    return (structure, tuple(map(key_of, fields))) if known else None


def _is_optimizer(field: Any) -> bool:
    return isinstance(field, optax.GradientTransformation)


def _linearized(optimizer: optax.GradientTransformation) -> Callable[[PyTree[Array]], PyTree[Array]]:
    def step(params: PyTree[Array]) -> PyTree[Array]:
        state = optimizer.init(params)
        return state, optimizer.update(params, state, params), gain(optimizer, state, params)

    return step


def _checked(name: str, function: Callable) -> Callable:
    def observe(params: PyTree[Array]) -> PyTree[Array]:
        record = function(params)
        _check_record(name, record)
        return record

    return observe


def _check_record(name: str, record: Any) -> None:
    leaves = jax.tree.leaves(record)
    if not leaves or not all(eqx.is_array_like(leaf) for leaf in leaves):
        raise TypeError(f"probes[{name!r}] returned {record!r}: it must return an array or a pytree of arrays.")
