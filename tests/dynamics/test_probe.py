"""What a probe is shown, and when it is asked."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from eosbench.dynamics import Every, train


def loss(x):
    return jnp.sum(jnp.asarray([1.0, 3.0]) * x**2) / 2


START = jnp.asarray([1.0, -2.0])


class Shown:
    """Records all that a point has, and counts its measurements."""

    def init(self, point):
        return jnp.asarray(0)

    def measure(self, point, count):
        momentum = jax.tree.leaves(point.optimizer)
        return (point.params, point.loss, point.gradient, momentum, point.step, point.key, count), count + 1


def by_hand(steps, eta=0.1, beta=0.9):
    """Heavy ball in NumPy: parameters and momentum before each step."""
    x, m = np.asarray(START), np.zeros(2)
    for _ in range(steps):
        yield x, m
        m = beta * m + np.asarray([1.0, 3.0]) * x
        x = x - eta * m


def test_a_probe_sees_params_loss_gradient_optimizer_step_and_key():
    record = train(loss, START, optax.sgd(0.1, momentum=0.9), 5, {"all": Shown()}).probes["all"]
    params, value, gradient, (momentum,), step, key, count = record
    x, m = (np.asarray(rows) for rows in zip(*by_hand(5), strict=True))
    np.testing.assert_allclose(params, x, rtol=1e-14)
    np.testing.assert_allclose(momentum, m, rtol=1e-14)
    np.testing.assert_allclose(value, x**2 @ [0.5, 1.5], rtol=1e-14)
    np.testing.assert_allclose(gradient, x * [1, 3], rtol=1e-14)
    np.testing.assert_array_equal(step, range(5))
    np.testing.assert_array_equal(count, range(5))
    assert len({tuple(data) for data in np.asarray(jax.random.key_data(key))}) == 5


@pytest.mark.parametrize("chunk", [None, 3])
def test_every_samples_a_probe_and_a_function(chunk):
    probes = {"all": Every(4, Shown()), "x": Every(3, lambda x: x)}
    run = train(loss, START, optax.sgd(0.1), 10, probes, chunk=chunk)
    whole = train(loss, START, optax.sgd(0.1), 10, {"all": Shown(), "x": lambda x: x})
    np.testing.assert_array_equal(run.probes["x"], whole.probes["x"][::3])
    for sampled, every_step in zip(run.probes["all"][:5], whole.probes["all"][:5], strict=True):
        for part, full in zip(jax.tree.leaves(sampled), jax.tree.leaves(every_step), strict=True):
            np.testing.assert_array_equal(part, full[::4])
    np.testing.assert_array_equal(run.probes["all"][-1], range(3))  # its memory rests in between


def test_nothing_is_computed_where_it_is_not_due():
    calls = []
    train(loss, START, optax.sgd(0.1), 10, {"x": Every(5, lambda x: jax.debug.callback(calls.append, 1) or x)})
    jax.effects_barrier()
    assert len(calls) == 2


def test_a_probe_goes_through_a_loop_of_ones_own():
    from eosbench.curvature import linearize

    @jax.jit
    def step(x, count, t):
        record, count = Shown().measure(linearize(loss, x, optimizer=(x,), step=t), count)
        return x - 0.1 * jax.grad(loss)(x), count, record

    x, count = START, Shown().init(linearize(loss, START))
    steps = []
    for t in range(3):
        x, count, record = step(x, count, t)
        steps.append(record)
    np.testing.assert_allclose(
        [record[0] for record in steps], np.asarray(START) * (1 - 0.1 * np.array([1, 3])) ** [[0], [1], [2]]
    )
    assert [int(record[4]) for record in steps] == [0, 1, 2]


def test_every_samples_inside_a_compiled_function():
    sampled = jax.jit(lambda x: train(loss, x, optax.sgd(0.1), 5, {"x": Every(2, lambda x: x)}, chunk=5).probes["x"])
    np.testing.assert_array_equal(
        sampled(START), train(loss, START, optax.sgd(0.1), 5, {"x": lambda x: x}).probes["x"][::2]
    )


def test_a_traced_state_is_not_sampled_at_steps_that_nobody_knows():
    state = train(loss, START, optax.sgd(0.1), 3).state
    rest = lambda state, **probes: train(loss, state, optax.sgd(0.1), 4, probes).probes["x"]  # noqa: E731
    with pytest.raises(ValueError, match=r"params is a traced state, and its count of steps decides .*probes\['x'\]"):
        jax.jit(lambda state: rest(state, x=Every(2, lambda x: x)))(state)
    assert jax.jit(lambda state: rest(state, x=lambda x: x))(state).shape == (4, 2)


class Remembering:
    """A probe with a given memory, record and next memory."""

    def __init__(self, memory, record, following):
        self.memory, self.record, self.following = memory, record, following

    def init(self, point):
        return self.memory

    def measure(self, point, memory):
        return self.record(point, memory), self.following(memory)


@pytest.mark.parametrize("n", [1, 2])
def test_records_and_memories_may_be_python_numbers(n):
    halves = Remembering(0, lambda point, memory: (memory, 1.5, True), lambda memory: memory + 0.5)
    state = train(loss, START, optax.sgd(0.1), 2, {"p": Every(n, halves)}).state
    (memory, number, truth) = train(loss, state, optax.sgd(0.1), 4, {"p": Every(n, halves)}).probes["p"]
    np.testing.assert_array_equal(memory, np.arange(2 // n, 6 // n) / 2)
    np.testing.assert_array_equal(number, [1.5] * (4 // n))
    assert truth.dtype == bool


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize(
    ("start", "following", "was"),
    [
        (jnp.zeros(1), lambda memory: jnp.append(memory, 1.0), r"float64\[1\] into float64\[2\]"),
        (None, lambda memory: jnp.ones(2), r"nothing into float64\[2\]"),
        (jnp.asarray([0]), lambda memory: memory.astype(float) + 0.5, r"int64\[1\] into float64\[1\]"),
        (0, lambda memory: (memory, 1), "into"),
    ],
)
def test_a_memory_that_changes_is_refused(n, start, following, was):
    probe = Remembering(start, lambda point, memory: point.loss, following)
    with pytest.raises(TypeError, match=rf"probes\['p'\] turned its memory from .*{was}.*: it must keep its structure"):
        train(loss, START, optax.sgd(0.1), 3, {"p": Every(n, probe)})


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Every(0, Shown()), ValueError, "n of Every is 0: it must be at least 1"),
        (lambda: Every(2.5, Shown()), TypeError, "n of Every is 2.5, a float: it must be an integer"),
        (lambda: Every(2, Every(3, Shown())), TypeError, r"is an Every: write Every\(6, ...\) of its probe"),
    ],
)
def test_what_is_not_often_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
