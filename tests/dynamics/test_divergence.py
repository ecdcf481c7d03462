"""A run that diverges says where, and may end there."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import Partial

from eosbench.dynamics import Every, progress_line, train
from eosbench.probes import Sharpness

SGD = Partial(optax.sgd, 1.0)
STEPS = 12


def clockwork(bad, x):
    """x counts the steps; the loss is its negative, and not finite from the step `bad` on."""
    return jnp.where(x < bad, -x, jnp.log(bad - 1 - x))


def run_of(bad, **options):
    return train(Partial(clockwork, jnp.asarray(float(bad))), jnp.zeros(()), SGD, STEPS, **options)


@pytest.mark.parametrize("chunk", [None, 5])
def test_a_run_says_where_it_diverged(chunk):
    assert run_of(100, chunk=chunk).diverged_at is None
    for bad in (0, 3, 5, 11):
        run = run_of(bad, chunk=chunk)
        assert run.diverged_at == bad
        assert run.loss.shape == run.finite.shape == (STEPS,)
        np.testing.assert_array_equal(run.finite, np.isfinite(run.loss))


@pytest.mark.parametrize("chunk", [None, 5, 4])
@pytest.mark.parametrize("bad", [0, 3, 4, 5, 11, 100])
def test_a_run_may_end_where_it_diverged(bad, chunk):
    probes = {"x": lambda x: x, "third": Every(3, Sharpness())}
    whole, seen = run_of(bad, probes=probes), []
    run = run_of(bad, probes=probes, chunk=chunk, stop_diverged=True, on_chunk=lambda run: seen.append(len(run.loss)))
    taken = min(bad + 1, STEPS)
    assert run.loss.shape == (taken,)
    assert sum(seen) == run.state.step == taken
    assert run.diverged_at == whole.diverged_at
    np.testing.assert_array_equal(run.loss, whole.loss[:taken])
    np.testing.assert_array_equal(run.probes["x"], whole.probes["x"][:taken])
    assert len(run.probes["third"].values) == -(-taken // 3)
    assert run.probes["third"].values.shape == run.probes["third"].errors.shape


def test_parameters_that_do_not_show_in_the_loss_count():
    def update(_, params):
        return {"t": jnp.ones(()), "y": jnp.where(params["t"] == 3, jnp.inf, 0.0)}

    start = {"t": jnp.zeros(()), "y": jnp.zeros(())}
    run = train(lambda params: params["t"], start, optax.stateless(update), 6)
    assert np.isfinite(run.loss).all()
    assert run.diverged_at == 4
    assert train(lambda params: params["t"], start, optax.stateless(update), 6, stop_diverged=True).state.step == 5


def test_parameters_after_the_last_step_count():
    loss, optimizer = lambda x: 10 * x, Partial(optax.sgd, 1e308)
    run = train(loss, jnp.asarray(-1e300), optimizer, 1, stop_diverged=True)
    assert (run.diverged_at, run.finite.tolist()) == (1, [True])
    again = train(loss, run.state, optimizer, 5, stop_diverged=True)
    assert (again.diverged_at, again.loss.shape, int(again.state.step)) == (0, (1,), 2)


def test_inside_compiled_functions_a_run_keeps_its_length():
    loss = lambda bad: Partial(clockwork, bad)  # noqa: E731
    bads = jnp.asarray([2.0, 7.0])
    finite = jax.vmap(lambda bad: train(loss(bad), jnp.zeros(()), SGD, STEPS).finite)(bads)
    np.testing.assert_array_equal(finite.sum(1), bads)
    batch = jax.vmap(lambda bad: train(loss(bad), jnp.zeros(()), SGD, STEPS))(bads)
    with pytest.raises(ValueError, match="diverged_at is that of one run, outside of compiled functions"):
        batch.diverged_at  # noqa: B018
    with pytest.raises(ValueError, match="stop_diverged is True inside a compiled function"):
        jax.jit(lambda bad: train(loss(bad), jnp.zeros(()), SGD, STEPS, stop_diverged=True).loss)(2.0)


def test_the_progress_line_tells_where_a_run_diverged():
    told = io.StringIO()
    run = run_of(7, chunk=5, on_chunk=progress_line(STEPS, told))
    lines = told.getvalue().splitlines()
    assert "diverged" not in lines[0]
    assert [line.split(", ")[1:3] for line in lines[1:]] == 2 * [["loss nan", "diverged at step 7"]]
    told = io.StringIO()
    train(Partial(clockwork, jnp.asarray(0.0)), run.state, SGD, 4, chunk=2, on_chunk=progress_line(4, told))
    assert [line.split(", ")[:3] for line in told.getvalue().splitlines()] == [
        [f"step {step} of 16", "loss nan", "diverged at step 12"] for step in (14, 16)
    ]
