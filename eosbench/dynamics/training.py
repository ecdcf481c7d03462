"""The compiled training loop: any optax optimizer, with measurements of the curvature along the way."""

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TextIO, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial
from jaxtyping import Array, Bool, Float, Int, PyTree

from eosbench.curvature.arguments import as_integer
from eosbench.curvature.operator import Linearization, Loss, check_loss, check_params, linearize


class Probe(Protocol):
    """A measurement with a memory: `init` at the first point, `measure` at every `every`-th point.

    A plain function of the parameters that returns an array (or a pytree of arrays) is a probe too.
    """

    every: int

    def init(self, point: Linearization) -> PyTree[Array]: ...

    def measure(self, point: Linearization, state: PyTree[Array]) -> tuple[PyTree[Array], PyTree[Array]]: ...


Optimizer: TypeAlias = optax.GradientTransformation | Callable[[], optax.GradientTransformation]


class TrainState(eqx.Module):
    """Everything that the rest of a run depends on: give it to `train` in place of params to continue exactly.

    Attributes:
        params: as they stand.
        optimizer: the state of the optimizer.
        probes: the memory of each probe, the tracked vectors and their random keys among it.
        step: how many steps were taken, scalar.
    """

    params: PyTree[Array]
    optimizer: PyTree[Array]
    probes: dict[str, Any]
    step: Int[Array, ""]


class Run(eqx.Module):
    """A finished stretch of training.

    Attributes:
        loss: before each step, shape (steps,); the first is the loss at the start.
        params: after the last step.
        probes: for each name what the probe recorded, with a leading axis of measurements (steps / every of them),
            taken at the same points as `loss`.
        state: where the run stands, for `train` to continue and `save_state` to write.
    """

    loss: Float[Array, " steps"]
    params: PyTree[Array]
    probes: dict[str, Any]
    state: TrainState


def train(
    loss: Loss,
    params: PyTree[Array] | TrainState,
    optimizer: Optimizer,
    steps: int,
    probes: Mapping[str, Probe | Callable[[Any], PyTree[Array]]] | None = None,
    *,
    chunk: int | None = None,
    on_chunk: Callable[[Run], None] | None = None,
) -> Run:
    """Full-batch training in one compiled loop; nothing crosses to the host between steps.

    It is compiled once for a loss, an optimizer, probes, the shapes of `params`, and `steps`. Loss and optimizer are
    recognized by identity where they are functions, and by their arrays' shapes where they are pytrees:

    * a loss that carries its data should be an `eqx.Module` or a `jax.tree_util.Partial`;
    * for a sweep over step sizes pass the optimizer as a recipe, `Partial(optax.sgd, eta)`: its floating numbers are
      arguments of the compiled loop, while every new `optax.sgd(eta)` is a new function and compiles again.

    A run that diverges completes, with non-finite entries.

    Args:
        loss: a map from a pytree to a real scalar.
        params: where to start, any pytree of float32 or float64 arrays; or the `state` of an earlier run, to continue.
        optimizer: an `optax.GradientTransformation`, or a `Partial` that returns one.
        steps: how many.
        probes: measurements by name: a `Sharpness`, or functions of the parameters.
        chunk: for long runs, how many steps to keep on the device before their history moves to the host. The result
            is the same, bit for bit; its histories are NumPy arrays.
        on_chunk: called with the run of each chunk, to show progress (`progress_line`) or to save its `state`.

    Raises:
        TypeError, ValueError: an argument that has no answer, named in one sentence.
    """
    start = params.params if isinstance(params, TrainState) else params
    check_params(start)
    steps = as_integer("steps", steps)
    chunk = steps if chunk is None else as_integer("chunk", chunk)
    wrapped = _as_probes(probes)
    recipe = _with_array_numbers(optimizer, start)
    state = params if isinstance(params, TrainState) else _begin(loss, params, recipe, wrapped)
    # The counter is read only to continue: a fresh run may itself be traced.
    taken = int(state.step) if isinstance(params, TrainState) else 0
    if chunk >= steps:
        run = _stretch(loss, state, recipe, steps, wrapped, taken)
        if on_chunk is not None:
            on_chunk(run)
        return run
    runs: list[Run] = []
    for done in range(0, steps, chunk):
        run = _stretch(loss, state, recipe, min(chunk, steps - done), wrapped, taken + done)
        state = run.state
        runs.append(eqx.tree_at(lambda r: (r.params, r.state), jax.device_get(run), (None, None)))
        if on_chunk is not None:
            on_chunk(run)
    joined = jax.tree.map(lambda *parts: np.concatenate(parts), *runs)
    return Run(joined.loss, state.params, joined.probes, state)


def progress_line(steps: int, stream: TextIO = sys.stderr) -> Callable[[Run], None]:
    """An `on_chunk` for `train` that tells how far a run of `steps` steps is, its loss and the time left.

    On a terminal it keeps to one line; elsewhere it writes a line for each chunk.
    """
    begun = time.monotonic()
    before: list[int] = []

    def tell(run: Run) -> None:
        step = int(run.state.step)
        before.append(step - len(run.loss))
        rate = (step - before[0]) / max(time.monotonic() - begun, 1e-9)
        left = (before[0] + steps - step) / rate
        line = f"step {step} of {before[0] + steps}, loss {float(run.loss[-1]):.4g}, {left:.0f} s left"
        stream.write(f"\r{line:<72}" if stream.isatty() else f"{line}\n")
        stream.flush()

    return tell


def save_state(path: str | Path, state: TrainState) -> None:
    """Write the state of a run to a file, for `load_state`."""
    eqx.tree_serialise_leaves(path, _with_key_data(state))


def load_state(
    path: str | Path,
    loss: Loss,
    params: PyTree[Array],
    optimizer: Optimizer,
    probes: Mapping[str, Probe | Callable[[Any], PyTree[Array]]] | None = None,
) -> TrainState:
    """Read a state that `save_state` wrote, for the same loss, optimizer and probes and `params` of the same shapes.

    Raises:
        RuntimeError: the file holds the state of something else.
    """
    wrapped = _as_probes(probes)
    like = eqx.filter_eval_shape(_begin, loss, params, _with_array_numbers(optimizer, params), wrapped)
    data = eqx.tree_deserialise_leaves(path, eqx.filter_eval_shape(_with_key_data, like))
    return jax.tree.map(lambda leaf, shape: jax.random.wrap_key_data(leaf) if _is_key(shape) else leaf, data, like)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _with_key_data(state: TrainState) -> TrainState:
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, state)


class _Function(eqx.Module):
    function: Callable[[Any], PyTree[Array]]
    every: int = 1

    def init(self, point: Linearization) -> None:
        return None


def _as_probes(probes: Any) -> dict[str, Any]:
    if probes is not None and not isinstance(probes, Mapping):
        raise TypeError(
            f"probes is a {type(probes).__name__}: it must map names to probes, as in "
            "probes={'sharpness': Sharpness()}."
        )
    return {name: _as_probe(name, probe) for name, probe in (probes or {}).items()}


def _as_probe(name: str, probe: Any) -> Any:
    if isinstance(probe, type):
        raise TypeError(f"probes[{name!r}] is the class {probe.__name__}: it must be an instance, {probe.__name__}().")
    if hasattr(probe, "init") and hasattr(probe, "measure"):
        return probe
    if not callable(probe):
        raise TypeError(
            f"probes[{name!r}] is a {type(probe).__name__}: it must be a probe, or a function of the parameters."
        )
    return _Function(probe)


_OPTIMIZERS = (
    "it must be an optax.GradientTransformation, such as optax.sgd(0.1), or a recipe for one, such as "
    "Partial(optax.sgd, 0.1)."
)


def _with_array_numbers(optimizer: Optimizer, params: PyTree[Array]) -> Optimizer:
    """The floats of a recipe as arrays, so that another step size is another argument and not another program."""
    if not callable(optimizer) and not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(f"optimizer is {optimizer!r}, a {type(optimizer).__name__}: {_OPTIMIZERS}")
    if not isinstance(optimizer, Partial):
        return optimizer
    dtype = jax.tree.leaves(params)[0].dtype  # a wider scalar would widen the updates
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype) if isinstance(leaf, float) else leaf, optimizer)


def _transformation(optimizer: Optimizer) -> optax.GradientTransformation:
    made = optimizer if isinstance(optimizer, optax.GradientTransformation) else optimizer()
    if not isinstance(made, optax.GradientTransformation):
        raise TypeError(f"optimizer returned a {type(made).__name__}: {_OPTIMIZERS}")
    return made


@eqx.filter_jit
def _begin(loss: Loss, params: PyTree[Array], optimizer: Optimizer, probes: dict[str, Any]) -> TrainState:
    check_loss(loss, params)
    with_memory = {name: probe for name, probe in probes.items() if not isinstance(probe, _Function)}
    memory = {}
    if with_memory:
        point = linearize(loss, params)
        memory = {name: probe.init(point) for name, probe in with_memory.items()}
    params = jax.tree.map(jnp.asarray, params)
    return TrainState(params, _transformation(optimizer).init(params), memory, jnp.asarray(0))


def _stretch(
    loss: Loss, state: TrainState, optimizer: Optimizer, steps: int, probes: dict[str, Any], taken: int
) -> Run:
    run = _advance(loss, state, optimizer, steps, probes)
    due = {name: slice(-taken % probe.every, None, probe.every) for name, probe in probes.items()}
    records = {name: jax.tree.map(lambda x, rows=due[name]: x[rows], run.probes[name]) for name in run.probes}
    return Run(run.loss, run.params, records, run.state)


@eqx.filter_jit
def _advance(loss: Loss, state: TrainState, optimizer: Optimizer, steps: int, probes: dict[str, Any]) -> Run:
    transformation = _transformation(optimizer)
    _, unravel = ravel_pytree(state.params)

    def measured(state: TrainState) -> tuple:
        records = {name: probe.function(state.params) for name, probe in probes.items() if isinstance(probe, _Function)}
        if not state.probes:
            value, gradient = jax.value_and_grad(loss)(state.params)
            return value, gradient, records, state.probes
        point = linearize(loss, state.params)
        memory = dict(state.probes)
        for name in memory:
            measure, every = Partial(_measure, name, probes[name]), probes[name].every
            if every == 1:
                records[name], memory[name] = measure(point, memory[name])
            else:
                records[name], memory[name] = _only_if(state.step % every == 0, measure, point, memory[name])
        return point.loss, unravel(point.gradient), records, memory

    def update(state: TrainState, _: None) -> tuple[TrainState, tuple]:
        value, gradient, records, memory = measured(state)
        for name, record in records.items():
            _check_record(name, record)
        updates, optimizer_state = transformation.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(params, optimizer_state, memory, state.step + 1), (value, records)

    state, (values, records) = jax.lax.scan(update, state, None, length=steps)
    return Run(values, state.params, records, state)


def _measure(name: str, probe: Probe, point: Linearization, state: PyTree[Array]) -> tuple:
    result = probe.measure(point, state)
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(f"probes[{name!r}] measured {result!r}: it must return a pair, the record and the state.")
    return result


def _check_record(name: str, record: Any) -> None:
    leaves = jax.tree.leaves(record)
    if not leaves or not all(eqx.is_array_like(leaf) for leaf in leaves):
        raise TypeError(f"probes[{name!r}] returned {record!r}: it must return an array or a pytree of arrays.")


def _only_if(due: Bool[Array, ""], measure: Callable, point: Linearization, state: PyTree[Array]) -> tuple:
    shapes = eqx.filter_eval_shape(measure, point, state)[0]
    blank = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    return jax.lax.cond(due, lambda: measure(point, state), lambda: (blank, state))
