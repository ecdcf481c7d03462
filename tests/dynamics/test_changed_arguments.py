"""Loss, optimizer and probes of a run are what they compute at the time of the call."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import Partial

from eosbench.curvature import Point
from eosbench.dynamics import Every, train
from eosbench.probes import Sharpness

W = jnp.ones(4)


class Task:
    """Not a pytree: everything about it may change."""

    def __init__(self):
        self.a = jnp.asarray(1.0)
        self.rate = 0.1

    def loss(self, x):
        return 0.5 * self.a * jnp.sum(x * x)

    def schedule(self, step):
        return self.rate

    def seen(self, x):
        return self.a * x[0]

    def init(self, point):
        return jnp.asarray(self.rate)

    def measure(self, point, state):
        return self.a * point.loss, state


KINDS = {
    "method": lambda task: task.loss,
    "Partial": lambda task: Partial(task.loss),
    "lambda": lambda task: lambda x: task.loss(x),
    "checkpoint": lambda task: lambda x: jax.checkpoint(task.loss)(x),
}


@pytest.mark.parametrize("probes", [{}, {"sharpness": Sharpness()}])
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_follows_the_data_of_its_loss(kind, probes):
    task, optimizer = Task(), optax.sgd(0.1)
    loss = KINDS[kind](task)
    for a in (1.0, 2.0, 1.0):
        task.a = jnp.asarray(a)
        run = train(loss, W, optimizer, 3, probes)
        np.testing.assert_allclose(run.loss, 2 * a * (1 - 0.1 * a) ** (2 * np.arange(3)), rtol=1e-12)
        np.testing.assert_allclose(run.params, (1 - 0.1 * a) ** 3, rtol=1e-12)
        if probes:
            np.testing.assert_allclose(run.probes["sharpness"].values, a, rtol=1e-12)


def test_a_run_follows_a_schedule_and_probes_that_changed():
    task = Task()
    optimizer = optax.sgd(task.schedule)
    for rate, a, every in [(0.1, 1.0, 1), (0.5, 1.0, 1), (0.5, 2.0, 1), (0.5, 2.0, 2)]:
        task.rate, task.a = rate, jnp.asarray(a)
        run = train(task.loss, W, optimizer, 4, {"seen": task.seen, "task": Every(every, task)})
        values = 2 * a * (1 - rate * a) ** (2 * np.arange(4))
        np.testing.assert_allclose(run.params, (1 - rate * a) ** 4, rtol=1e-12)
        np.testing.assert_allclose(run.probes["seen"], a * (1 - rate * a) ** np.arange(4), rtol=1e-12)
        np.testing.assert_allclose(run.probes["task"], a * values[::every], rtol=1e-12)
        np.testing.assert_allclose(run.state.probes["task"], rate, rtol=1e-12)


class Counting(eqx.Module):
    """A probe that is a pytree, with an array of its own and a field that can change behind its back."""

    factor: jax.Array
    task: Task = eqx.field(static=True)

    def init(self, point: Point):
        return jnp.zeros(())

    def measure(self, point, state):
        return self.factor * self.task.a * (state + point.product(jnp.ones_like(point.gradient))[0]), state + 1


def test_a_probe_of_ones_own_is_compiled_once_for_what_it_computes(compilations):
    task, loss = Task(), Partial(lambda a, x: 0.5 * a * jnp.sum(x * x), jnp.asarray(1.0))
    factors, optimizer = [jnp.asarray(2.0), jnp.asarray(3.0)], optax.sgd(0.1)
    for i, factor in enumerate(factors):
        record = train(loss, W, optimizer, 3, {"c": Counting(factor, task), "t": task}).probes["c"]
        np.testing.assert_allclose(record, factor * np.arange(1.0, 4.0), rtol=1e-12)
        assert (compilations() > 0) == (i == 0)
    task.a = jnp.asarray(5.0)
    record = train(loss, W, optimizer, 3, {"c": Counting(factors[0], task), "t": task}).probes["c"]
    np.testing.assert_allclose(record, 10 * np.arange(1.0, 4.0), rtol=1e-12)


class Ahead(eqx.Module):
    """A probe that looks at the loss elsewhere."""

    def init(self, point: Point):
        return None

    def measure(self, point, state):
        return point.at(point.params + 1).loss, state


def test_a_probe_of_ones_own_is_compiled_once_for_other_data(compilations):
    for a in (1.0, 2.0):
        loss = Partial(lambda a, x: 0.5 * a * jnp.sum(x * x), jnp.asarray(a))
        record = train(loss, W, optax.sgd(0.1), 3, {"ahead": Ahead()}).probes["ahead"]
        np.testing.assert_allclose(record, 2 * a * (1 + (1 - 0.1 * a) ** np.arange(3)) ** 2, rtol=1e-12)
        assert (compilations() > 0) == (a == 1)


def test_what_computes_the_same_is_compiled_once(compilations):
    data = [jnp.arange(4.0), jnp.arange(4.0) + 1]
    for i in (0, 1):
        probes = {"sharpness": Sharpness(), "x": lambda x: x[:2]}
        optimizer = optax.chain(optax.clip(1.0), optax.sgd(0.1, momentum=0.9))
        train(lambda x, i=i: 0.5 * jnp.sum(data[i] * x**2), W, optimizer, 5, probes, chunk=2)
        assert (compilations() > 0) == (i == 0)


def test_the_chunks_of_one_run_are_of_one_reading(compilations):
    task = Task()

    def change(_):
        task.a = task.a + 1

    run = train(task.loss, W, optax.sgd(0.1), 6, {"task": task}, chunk=2, on_chunk=change)
    np.testing.assert_allclose(run.params, 0.9**6, rtol=1e-12)


def test_training_inside_other_transformations():
    def last(a):
        return train(lambda x: 0.5 * a * jnp.sum(x * x), W, Partial(optax.sgd, 0.1), 3, {"a": lambda x: a * x}).params[
            0
        ]

    def expected(a):
        return (1 - 0.1 * a) ** 3

    for a in (1.0, 2.0):
        np.testing.assert_allclose(jax.jit(last)(a), expected(a), rtol=1e-12)
        np.testing.assert_allclose(jax.grad(last)(a), -0.3 * (1 - 0.1 * a) ** 2, rtol=1e-12)
    np.testing.assert_allclose(jax.vmap(last)(jnp.asarray([1.0, 2.0])), expected(np.asarray([1.0, 2.0])), rtol=1e-12)
