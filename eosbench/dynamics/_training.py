"""The compiled training loop: any optax optimizer, with measurements of the curvature along the way."""

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PyTree

from eosbench.curvature._arguments import as_integer
from eosbench.curvature._layout import Layout
from eosbench.curvature._loss import Loss, check_params, measurable, warn_of_state, widened, with_args
from eosbench.curvature._mesh import on_the_mesh_of, with_automatic_axes
from eosbench.curvature._point import Point, linearize
from eosbench.curvature._program import Recorded, read_copied_loss, read_loss
from eosbench.curvature._shown import as_html, has_numbers
from eosbench.dynamics._batches import Batches
from eosbench.dynamics._figure import figure
from eosbench.dynamics._history import History, dataset, histories, write_csv
from eosbench.dynamics._measuring import Losses, ReadFunction, ReadProbe, has_memory, read_probes, readings
from eosbench.dynamics._optimizers import Optimizer, read_optimizer
from eosbench.dynamics._probe import Probes
from eosbench.dynamics._shapes import listed, shapes
from eosbench.dynamics._state import TrainState, as_expected, read_state

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure


class Run(eqx.Module):
    """A finished stretch of training.

    Attributes:
        loss: before each step, shape (steps,); the first is the loss at the start. With `Batches` it is that on the
            batch of the step.
        params: after the last step.
        probes: for each name what the probe recorded, with a leading axis of measurements (steps / every of them),
            taken at the same points as `loss`.
        state: where the run stands, for `train` to continue and `save_state` to write.
        finite: whether the loss and all parameters were finite before each step, shape (steps,).
        step: the number of each step, counted from the start of training, shape (steps,).
        measured_at: for each probe the numbers of the steps at which it measured.
    """

    loss: Float[Array, " steps"]
    params: PyTree[Array]
    probes: dict[str, Any]
    state: TrainState
    finite: Bool[Array, " steps"]
    step: Int[Array, " steps"]
    measured_at: dict[str, Int[Array, " measurements"]]

    def plot(self, line: ArrayLike | None = None) -> "Figure":
        """A picture of the run: what its `Sharpness` and `EdgeDistance` probes measured, and below them the loss.

        It is drawn by Matplotlib, without its global state: `run.plot(line=2 / eta).savefig("run.png")`. A band around
        a curve is its error, and a dotted line stands where the run diverged.

        Args:
            line: the sharpness at the edge, drawn with what a `Sharpness` measured: 2/eta for gradient descent,
                `stability(optimizer).line` for others; a number, or one for each step. That of an `EdgeDistance` is 1.

        Raises:
            ModuleNotFoundError: Matplotlib is not installed.
            ValueError: `line` is of another shape, or there is no `Sharpness`; or the run is traced.
        """
        self._histories()
        return figure(self.step, self.loss, self.probes, self.measured_at, line, self.diverged_at)

    def to_csv(self, path: str | Path) -> None:
        """Write the run to a file: a row for each step, a column for each number of the loss and of the probes.

        A column is named as in `sharpness.values[0]`. A cell is empty at a step at which its probe did not measure.
        Numbers have the digits that give back the very same number of their dtype.

        Raises:
            ValueError: the run is traced.
        """
        write_csv(path, self.step, self._histories())

    def to_xarray(self) -> "xarray.Dataset":
        """The run as an `xarray.Dataset`, a variable for each part of what a probe records, as `sharpness_values`.

        Its dimensions are `step`, or `<probe>_step` for a probe under `Every`, with the numbers of the steps as their
        coordinate, and those of the record, such as `k`; where two probes differ in their k, `<probe>_k`.

        Raises:
            ModuleNotFoundError: xarray is not installed.
            ValueError: the run is traced.
        """
        return dataset(self.step, self._histories())

    def _histories(self) -> list[History]:
        own = {"loss": self.loss, "finite": self.finite}
        return histories(self.step, own, self.probes, self.measured_at)

    @property
    def diverged_at(self) -> int | None:
        """The index into `loss` of the first step at which loss or parameters were not finite.

        None if there is none, and the number of steps if only the parameters after the last one are not finite. It is
        looked up on the host; compiled code has `finite`.
        """
        if isinstance(self.finite, jax.core.Tracer) or self.finite.ndim != 1:
            raise ValueError("diverged_at is that of one run, outside of compiled functions: look at finite instead.")
        steps = np.append(self.finite, _all_finite(self.params))
        return None if steps.all() else int(np.argmin(steps))

    def __repr__(self) -> str:
        """How many steps, the loss at their ends, and the last of what each probe recorded; else the shapes."""
        if not has_numbers(self.loss, self.finite) or self.loss.ndim != 1 or not len(self.loss):
            return eqx.tree_pformat(self)
        told = [f"{len(self.loss)} steps", f"loss {float(self.loss[0]):.4g} to {float(self.loss[-1]):.4g}"]
        told += [f"diverged at step {self.diverged_at}"] if self.diverged_at is not None else []
        told += [f"{name}: {record!r}" for name, record in self.probes.items() if hasattr(record, "_repr_html_")]
        return f"Run({', '.join(told)})"

    def _repr_html_(self) -> str:
        return as_html(repr(self))


def train(
    loss: Loss,
    params: PyTree[Array] | TrainState,
    optimizer: Optimizer,
    steps: int,
    probes: Probes | None = None,
    *,
    args: tuple = (),
    batches: Batches | None = None,
    chunk: int | None = None,
    on_chunk: Callable[[Run], None] | None = None,
    stop_diverged: bool = False,
) -> Run:
    """Training in one compiled loop, on all data or on mini-batches; nothing crosses to the host between steps.

    Loss, optimizer and probes are read anew in each call (see `eosbench.curvature._program`), so any of them may be a
    method of an object that has changed. The loop is compiled once for what they compute, the shapes of `params` and of
    the data, and `steps`. Numbers in an optimizer are a part of what it computes: for a sweep over step sizes pass it
    as a recipe, `Partial(optax.sgd, eta)`, whose floating numbers are arguments of the compiled loop.

    A run that diverges completes, with non-finite entries; see `stop_diverged` and `Run.diverged_at`.

    Args:
        loss: a map from a pytree, `args`, and a mini-batch where `batches` are given, to a real scalar.
        params: where to start, any pytree of real arrays; or the `state` of an earlier run, to continue. Those in half
            precision are trained as they are, and probes measure the loss at float32 copies.
        optimizer: an `optax.GradientTransformation`, or a `Partial` that returns one. Its update is given the value,
            the gradient and the loss under the names that optax has for them, so that line searches work.
        steps: how many.
        probes: measurements by name: a `Sharpness` or another `Probe`, functions of the parameters, and an `Every`
            or `OnBatch` of one of them.
        args: what `loss` takes after `params`, such as data.
        batches: for training on mini-batches. `loss` then takes a batch, a pytree like `batches.data` of as many
            examples as each has, as its last argument. Probes measure the loss over all data, `loss(params, *args,
            batches.data)`, at a full pass each time (see `Every`), and on the batch of the step if they are `OnBatch`.
        chunk: for long runs, how many steps to keep on the device before their history moves to the host. The result
            is the same, bit for bit; its histories are NumPy arrays.
        on_chunk: called with the run of each chunk, to show progress (`progress_line`) or to save its `state`.
        stop_diverged: end with the first step at which loss or parameters are not finite, which is then the last of the
            histories. Steps after it cost nothing, and no further chunk is begun.

    Raises:
        TypeError, ValueError: an argument that has no answer, named in one sentence.
    """
    model = _model(loss, args, batches, optimizer, probes)
    steps = as_integer("steps", steps)
    chunk = steps if chunk is None else as_integer("chunk", chunk)
    if isinstance(params, Run):
        raise TypeError("params is a Run: pass its state, run.state, to continue, or run.params to start from there.")
    if isinstance(params, TrainState):
        step, init = _read_step(model, params.params, continued=True)
        state = as_expected(params, eqx.filter_eval_shape(_begin, step.problem, init, params.params))
        state, taken = _copied(state), _steps_taken(step, state)
    else:
        step, init = _read_step(model, params)
        state, taken = _begin(step.problem, init, params), 0
    if chunk >= steps:
        run = _stretch(step, state, taken, steps, stop_diverged)
        if on_chunk is not None:
            on_chunk(run)
        return run
    runs: list[Run] = []
    for done in range(0, steps, chunk):
        run = _stretch(step, state, taken + done, min(chunk, steps - done), stop_diverged)
        state = run.state
        runs.append(jax.device_get(eqx.tree_at(lambda r: (r.params, r.state), run, (None, None))))
        if on_chunk is not None:
            on_chunk(run)
            state = _copied(state)
        if stop_diverged and not run.finite.all():
            break
    joined = jax.tree.map(_joined, *runs)
    return Run(joined.loss, state.params, joined.probes, state, joined.finite, joined.step, joined.measured_at)


def load_state(
    path: str | Path,
    loss: Loss,
    params: PyTree[Array],
    optimizer: Optimizer,
    probes: Probes | None = None,
    *,
    args: tuple = (),
    batches: Batches | None = None,
) -> TrainState:
    """Read a state that `save_state` wrote, for the same loss, optimizer, probes and batches and alike `params`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or holds the state of something else.
    """
    step, init = _read_step(_model(loss, args, batches, optimizer, probes), params)
    like = eqx.filter_eval_shape(_begin, step.problem, init, params)
    return read_state(path, like, step.problem.layout)


class _Model(NamedTuple):
    """What is to be trained, as it was given."""

    loss: Callable[..., Float[Array, ""]]
    batches: Batches | None
    optimizer: Optimizer
    probes: Probes | None


def _model(loss: Callable, args: tuple, batches: Batches | None, optimizer: Optimizer, probes: Probes | None) -> _Model:
    if batches is not None and not isinstance(batches, Batches):
        raise TypeError(
            f"batches is a {type(batches).__name__}: it must be a Batches, such as Batches((x, y), size=64)."
        )
    return _Model(with_args(loss, args), batches, optimizer, probes)


class _Problem(eqx.Module):
    """What is descended, and the probes that look at it, as they were read."""

    losses: Losses
    batches: Batches | None
    probes: dict[str, ReadProbe]

    def draw(self, step: Int[Array, ""], order: Int[Array, " n"] | None) -> tuple[tuple, Int[Array, " n"] | None]:
        """The mini-batch of a step, alone in a tuple that is empty without mini-batches, and the order of its epoch."""
        if self.batches is None:
            return (), None
        batch, order = self.batches.draw(step, order)
        return (batch,), order

    def specs(self, measured: PyTree) -> PyTree[PartitionSpec]:
        """How what probes return is split."""
        return self.layout.specs(measured)

    @property
    def layout(self) -> Layout:
        """How the parameters lie in the flat vectors of the probes."""
        return self.losses.layout(all(probe.on_batch for probe in self.probes.values()))

    def point(self, on_batch: bool, batch: tuple, state: TrainState) -> Point:
        """What a probe measures at a state."""
        loss = self.losses.of(on_batch, batch)
        return linearize(
            loss,
            widened(state.params),
            optimizer=state.optimizer,
            step=state.step,
            layout=self.losses.layout(on_batch),
        )


class _Step(eqx.Module):
    """All that a step of training calls, as it was read."""

    problem: _Problem
    update: Recorded
    functions: dict[str, ReadFunction]

    @property
    def every(self) -> dict[str, int]:
        """How often each probe measures."""
        probes: dict[str, ReadFunction | ReadProbe] = {**self.functions, **self.problem.probes}
        return {name: probe.every for name, probe in probes.items()}


def _read_step(model: _Model, params: PyTree[Array], continued: bool = False) -> tuple[_Step, Recorded]:
    """The step, and the optimizer's init."""
    check_params(params)
    warn_of_state(params)
    batches = model.batches
    probes = readings(model.probes, batches is not None)
    measured = [reading for reading in probes.values() if has_memory(reading.probe)]
    batch: tuple = ()
    if batches is not None:
        batch = (jax.eval_shape(lambda: batches.draw(jnp.asarray(0), batches.start())[0]),)
    try:
        # A probe with a memory needs exact products; without one, the step is the user's own.
        with jax.default_matmul_precision("highest") if measured else contextlib.nullcontext():
            losses = _read_losses(model, params, batch, {reading.on_batch for reading in measured})
    except Exception as error:
        if not continued:
            raise
        raise TypeError(
            f"params is a state that holds params {listed(shapes(params))}, which loss does not take "
            f"({type(error).__name__}: {error}): continue with the loss that it was made with."
        ) from error
    init, update = read_optimizer(model.optimizer, losses.descended, params, batch)
    functions, with_memory = read_probes(probes, losses, params, batch, jax.eval_shape(init, params))
    return _Step(_Problem(losses, batches, with_memory), update, functions), init


def _read_losses(model: _Model, params: PyTree[Array], batch: tuple, probed: set[bool]) -> Losses:
    """What is descended, and what probes measure on the batch (True) and elsewhere (False), for those in `probed`."""
    there = measurable(params) if probed else params
    measured: dict[bool, Recorded] = {}
    for on_batch in probed:
        if model.batches is not None and not on_batch:
            measured[on_batch] = read_copied_loss(with_args(model.loss, (model.batches.data,)), params, there)
        elif there is not params:
            measured[on_batch] = read_copied_loss(model.loss, params, there, *batch)
    return Losses(read_loss(model.loss, params, *batch), measured)


@eqx.filter_jit
def _begin(problem: _Problem, init: Recorded, params: PyTree[Array]) -> TrainState:
    params = jax.tree.map(lambda leaf: jnp.array(leaf, leaf.dtype), params)  # copies
    order = None if problem.batches is None else problem.batches.start()
    state = TrainState(params, init(params), {}, jnp.asarray(0), order)
    if not problem.probes:
        return state
    batch, _ = problem.draw(state.step, order)

    def memories(problem: _Problem, batch: tuple, state: TrainState) -> dict[str, Any]:
        kinds = {probe.on_batch for probe in problem.probes.values()}
        points = {on_batch: problem.point(on_batch, batch, state) for on_batch in kinds}
        return {name: probe.init(points[probe.on_batch]) for name, probe in problem.probes.items()}

    with on_the_mesh_of(problem.losses, params):
        memory = with_automatic_axes(memories, problem.specs)(problem, batch, state)
    return eqx.tree_at(lambda s: s.probes, state, memory)


@jax.jit
def _copied(state: TrainState) -> TrainState:
    """For those who can see a state keep it: the steps after it take its memory."""
    return jax.tree.map(jnp.copy, state)


def _steps_taken(step: _Step, state: TrainState) -> int:
    """How many steps lie behind a state, read only where it matters: at which steps an `Every` measures."""
    sampled = [name for name, number in step.every.items() if number > 1]
    if not sampled:
        return 0
    if isinstance(state.step, jax.core.Tracer):
        raise ValueError(
            f"params is a traced state, and its count of steps decides how often probes[{sampled[0]!r}], an Every, "
            "measures: continue it outside of what jax.jit, jax.vmap or jax.grad transform, or without Every."
        )
    return int(state.step)


def _stretch(step: _Step, state: TrainState, taken: int, steps: int, stop_diverged: bool) -> Run:
    every = step.every
    # What is transformed by JAX reads a state more than once.
    traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((step, state)))
    run = (_advance if traced else _advance_in_place)(step, state, steps, stop_diverged)
    if stop_diverged and isinstance(run.finite, jax.core.Tracer):
        raise ValueError(
            "stop_diverged is True inside a compiled function, which cannot return fewer steps: leave it out."
        )
    if stop_diverged and not run.finite.all():
        steps = int(run.finite.argmin()) + 1
    due = {name: slice(-taken % every[name], steps, every[name]) for name in run.probes}
    records = {name: jax.tree.map(lambda x, rows=due[name]: x[rows], run.probes[name]) for name in run.probes}
    at = {name: run.step[due[name]] for name in run.probes}
    return Run(run.loss[:steps], run.params, records, run.state, run.finite[:steps], run.step[:steps], at)


def _advanced(step: _Step, state: TrainState, steps: int, stop_diverged: bool) -> Run:
    layout = step.problem.losses.layout(True)

    def measured(step: _Step, state: TrainState, batch: tuple) -> tuple:
        problem = step.problem
        records = {name: function.measure(state.step, state.params) for name, function in step.functions.items()}
        memory = {}
        shared = {name: problem.losses.is_descended(probe.on_batch) for name, probe in problem.probes.items()}
        if any(shared.values()):  # the step and these probes share one pass
            point = problem.point(True, batch, state)
            value, gradient = point.loss, layout.unravel(point.gradient)
        else:
            value, gradient = jax.value_and_grad(problem.losses.descended)(state.params, *batch)
        for name, probe in problem.probes.items():
            at = (lambda: point) if shared[name] else partial(problem.point, probe.on_batch, batch, state)
            records[name], memory[name] = probe.measure(at, state.step, state.probes[name])
        return value, gradient, records, memory

    def specs(result: tuple) -> tuple:
        value, _, *measured = result
        return (problem.specs(value), layout.params, *map(problem.specs, measured))

    problem, measured = step.problem, with_automatic_axes(measured, specs)

    def update(state: TrainState) -> tuple[TrainState, tuple]:
        batch, order = problem.draw(state.step, state.order)
        value, gradient, records, memory = measured(step, state, batch)
        finite = jnp.isfinite(value) & _all_finite(state.params)
        params, optimizer = step.update(value, gradient, state.optimizer, state.params, *batch)
        params = layout.arranged(params)  # so that memories still fit when the run is continued
        return TrainState(params, optimizer, memory, state.step + 1, order), (value, records, finite)

    def update_if_finite(carry: tuple[TrainState, Bool[Array, ""]], _: None) -> tuple[tuple, tuple]:
        state, running = carry
        blank = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(update, state)[1])
        state, history = jax.lax.cond(running, update, lambda state: (state, blank), state)
        return (state, running & history[-1]), history

    with on_the_mesh_of(problem.losses, state.params):
        if stop_diverged:
            (last, _), history = jax.lax.scan(update_if_finite, (state, jnp.asarray(True)), length=steps)
        else:
            last, history = jax.lax.scan(lambda state, _: update(state), state, length=steps)
    values, records, finite = history
    return Run(values, last.params, records, last, finite, state.step + jnp.arange(steps), {})


_advance = eqx.filter_jit(_advanced)
_advance_in_place = eqx.filter_jit(_advanced, donate="all-except-first")  # the state gives its memory to the next


def _joined(*parts: Any) -> Any:
    """Histories one after the other on the host; random keys have no form there."""
    return jnp.concatenate(parts) if isinstance(parts[0], jax.Array) else np.concatenate(parts)


@jax.jit
def _all_finite(params: PyTree[Array]) -> Bool[Array, ""]:
    return jnp.asarray([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)]).all()
