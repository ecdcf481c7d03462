"""The gain of an optimizer against closed forms, dense eigenvalues and simulated training."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax.contrib import ademamix

from eosbench.dynamics._linear_step import gain

ETA, B, OMEGA = 0.01, 0.9, 0.3
DECAY = optax.add_decayed_weights(OMEGA)
EMA = optax.ema(B, debias=False)

CLOSED = {
    "gradient descent": (optax.sgd(ETA), 2),
    "heavy ball": (optax.sgd(ETA, B), 2 + 2 * B),
    "heavy ball that forgets nearly nothing": (optax.sgd(ETA, 0.999), 2 + 2 * 0.999),
    "nesterov": (optax.sgd(ETA, B, nesterov=True), (2 + 2 * B) / (1 + 2 * B)),
    "mean of gradients": (optax.chain(EMA, optax.sgd(ETA)), (2 + 2 * B) / (1 - B)),
    "decay": (optax.chain(DECAY, optax.sgd(ETA)), 2 - ETA * OMEGA),
    "mean of gradients, decay beside it": (
        optax.chain(EMA, DECAY, optax.sgd(ETA)),
        (2 - ETA * OMEGA) * (1 + B) / (1 - B),
    ),
    "heavy ball, decay in it": (optax.chain(DECAY, optax.sgd(ETA, B)), 2 + 2 * B - ETA * OMEGA),
    "heavy ball, decay beside it": (
        optax.chain(optax.trace(B), DECAY, optax.sgd(ETA)),
        (2 - ETA * OMEGA) * (1 + B),
    ),
}


def a_hessian(p):
    """Positive definite, not diagonal, with largest eigenvalue 1."""
    basis, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((p, p)))
    return basis @ np.diag(np.linspace(1.0, 0.1, p)) @ basis.T


def largest(diagonal, matrix):
    """l1(diag H) without the square root: the eigenvalues of a matrix that is not symmetric."""
    return np.linalg.eigvals(np.asarray(diagonal, np.float64)[:, None] * matrix).real.max()


def after(optimizer, gradients, params):
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    for gradient in gradients:
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return state, params


def some_gradients(steps, p=3):
    return np.random.default_rng(0).standard_normal((steps, p)) * np.geomspace(0.3, 3, p)


@pytest.mark.parametrize("name", CLOSED)
def test_the_line_is_the_closed_form(name):
    optimizer, threshold = CLOSED[name]
    params = jnp.asarray([1.0, -2.0])
    np.testing.assert_allclose(2 / gain(optimizer, optimizer.init(params), params), threshold / ETA, rtol=1e-10)


def test_the_line_of_optimistic_descent_after_its_first_step():
    optimizer, params = optax.optimistic_gradient_descent(ETA), jnp.asarray([1.0, -2.0])
    state, _ = after(optimizer, some_gradients(1, 2), params)
    np.testing.assert_allclose(2 / gain(optimizer, state, params), 2 / 3 / ETA, rtol=1e-10)
    # Its first step knows no gradient before: it is one of gradient descent.
    np.testing.assert_allclose(2 / gain(optimizer, optimizer.init(params), params), 2 / ETA, rtol=1e-10)


def test_adam_is_at_its_edge_at_38_over_eta_with_the_preconditioner_after_the_step():
    b2, eps, matrix = 0.999, 1e-8, a_hessian(3)
    optimizer = optax.adam(ETA, B, b2, eps)
    gradients, params = some_gradients(200), jnp.zeros(3)
    compiled = jax.jit(lambda state: gain(optimizer, state, params))
    # What eta l1(P^-1 H) is, in units of 38, where P lacks the correction of the first moment; both corrections; is
    # that of the step before, without the correction of the first moment.
    wrong = {1: (0.19, 4.25, 0.134), 5: (0.469, 6.05, 0.428), 20: (0.891, 6.17, 0.869), 50: (0.9954, 4.46, 0.985)}
    wrong[200] = (1.0, 2.34, 0.9973)
    for t, ratios in wrong.items():
        state, _ = after(optimizer, gradients[:t], params)
        edge = matrix * 2 / largest(compiled(state), matrix)
        v = np.asarray(state[0].nu)
        first, second = 1 - B ** (t + 1), 1 - b2 ** (t + 1)
        p = first * (np.sqrt(b2 * v / second) + eps)
        np.testing.assert_allclose(ETA * largest(1 / p, edge), 38, rtol=1e-9)
        lacking = [np.sqrt(b2 * v / second) + eps, np.sqrt(b2 * v) + eps, np.sqrt(v / (1 - b2**t)) + eps]
        found = [ETA * largest(1 / p, edge) / 38 for p in lacking]
        np.testing.assert_allclose(found, ratios, rtol=3e-3)
        assert all(abs(ratio - 1) > 1e-3 for ratio in found[(t == 200) :])


def test_schedule_free_averaging_has_a_line_that_moves_with_the_steps():
    optimizer = optax.contrib.schedule_free_sgd(ETA, b1=B)
    for t in [3, 30]:
        state, params = after(optimizer, some_gradients(t), jnp.ones(3))
        c = 1 / (t + 1)
        expected = (4 - 2 * c) / ((1 - B) * (2 - c) + c * B)
        np.testing.assert_allclose(2 / gain(optimizer, state, params), expected / ETA, rtol=1e-10)


def test_the_learning_rate_is_that_of_the_next_step():
    params = jnp.ones(2)
    optimizer = optax.sgd(optax.linear_schedule(0.0, 1.0, 8), B)  # optax's schedules are in single precision: eighths
    state, _ = after(optimizer, some_gradients(4, 2), params)
    np.testing.assert_allclose(2 / gain(optimizer, state, params), 3.8 / 0.5, rtol=1e-10)
    optimizer = optax.inject_hyperparams(optax.sgd)(ETA, B)
    state = optimizer.init(params)
    state.hyperparams["learning_rate"] = jnp.asarray(0.05)
    np.testing.assert_allclose(2 / gain(optimizer, state, params), 3.8 / 0.05, rtol=1e-10)


def test_parts_of_the_parameters_may_have_their_own_optimizer():
    params = {"a": jnp.ones(2), "b": jnp.ones((2, 2)), "c": jnp.ones(())}
    parts = {"slow": optax.sgd(0.1), "fast": optax.sgd(0.2, B), "not at all": optax.set_to_zero()}
    optimizer = optax.partition(parts, {"a": "slow", "b": "fast", "c": "not at all"})
    found = gain(optimizer, optimizer.init(params), params)
    assert jax.tree.structure(found) == jax.tree.structure(params)
    np.testing.assert_allclose(found["a"], np.full(2, 0.1), rtol=1e-12)
    np.testing.assert_allclose(found["b"], np.full((2, 2), 0.2 / 1.9), rtol=1e-12)
    assert found["c"] == 0
    optimizer = optax.chain(optax.masked(optax.trace(B), {"a": True, "b": False, "c": False}), optax.scale(-0.1))
    found = gain(optimizer, optimizer.init(params), params)
    np.testing.assert_allclose([found["a"][0], found["b"][0, 0], found["c"]], [0.1 / 1.9, 0.1, 0.1], rtol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_precision_is_that_of_each_parameter(dtype):
    params = {"a": jnp.ones(2, dtype), "b": jnp.ones(2, jnp.float32)}
    optimizer = optax.adam(ETA, B)
    gradients = [jax.tree.map(lambda x, scale=scale: (scale * x).astype(x.dtype), params) for scale in (1.0, -2.0)]
    state, _ = after(optimizer, gradients, params)
    found = gain(optimizer, state, params)
    assert jax.tree.map(lambda x: x.dtype, found) == jax.tree.map(lambda x: x.dtype, params)
    v = (0.999 * 1e-3 + 4e-3) * 0.999  # the second moment after gradients of 1, 2 and 0
    p = (1 - B**3) * np.sqrt(v / (1 - 0.999**3))
    for leaf in (found["a"], found["b"]):
        # Adam subtracts 0.999^3 from 1, which costs single precision three digits of its own.
        np.testing.assert_allclose(2 / leaf, 38 * p / ETA, rtol=1e-7 if leaf.dtype == jnp.float64 else 1e-4)


def test_in_training_every_step_has_its_gain():
    optimizer, params = optax.adam(ETA, B), jnp.zeros(3)
    gradients = jnp.asarray(some_gradients(12))

    @jax.jit
    def run(state):
        def step(state, gradient):
            return optimizer.update(gradient, state, params)[1], gain(optimizer, state, params)

        return jax.lax.scan(step, state, gradients)[1]

    gains = run(optimizer.init(params))
    assert np.isnan(gains[0]).all()  # no second moment yet
    for t in [1, 7, 11]:
        np.testing.assert_allclose(
            gains[t], gain(optimizer, after(optimizer, gradients[:t], params)[0], params), rtol=1e-12
        )


def test_accumulated_gradients_make_one_step_of_several_calls():
    params = jnp.ones(2)
    for optimizer, threshold in [
        (optax.MultiSteps(optax.sgd(ETA, B), 4), 3.8 / ETA),
        (optax.chain(optax.apply_every(4), optax.sgd(ETA)), 2 / (4 * ETA)),
    ]:
        np.testing.assert_allclose(2 / gain(optimizer, optimizer.init(params), params, calls=4), threshold, rtol=1e-7)


# Second moments that forget in a million steps stay, as the derivation has it, as long as these runs.
LONG = 1 - 1e-6
SIMULATED = {
    "sgd": optax.sgd(ETA),
    "heavy ball": optax.sgd(ETA, B),
    "nesterov": optax.sgd(ETA, B, nesterov=True),
    "optimistic": optax.optimistic_gradient_descent(ETA),
    "adam": optax.adam(ETA, B, LONG),
    "adamw": optax.adamw(ETA, B, LONG, weight_decay=OMEGA),
    "nadam": optax.nadam(ETA, B, LONG),
    "rmsprop with momentum": optax.rmsprop(ETA, LONG, momentum=B),
    "adagrad": optax.adagrad(ETA),
    "ademamix": ademamix(ETA, B, LONG, b3=0.95),
    "decay in heavy ball": optax.chain(optax.add_decayed_weights(OMEGA), optax.sgd(ETA, B)),
}


@pytest.mark.parametrize("name", SIMULATED)
def test_oscillations_decay_below_the_line_and_grow_above_it(name):
    optimizer = SIMULATED[name]
    # Two quadratics at a time, of one and of five dimensions, around zero.
    params = {"one": jnp.zeros(1), "five": jnp.zeros(5)}
    matrices = {"one": np.eye(1), "five": a_hessian(5)}

    @jax.jit
    def settle(state):
        def step(state, gradient):
            return optimizer.update({"one": gradient[:1], "five": gradient[1:]}, state, params)[1], None

        # First moments die out over gradients of zero, second moments remain.
        gradients = np.concatenate([some_gradients(50, 6), np.zeros((400, 6))])
        state = jax.lax.scan(step, state, jnp.asarray(gradients))[0]
        # Corrections of the bias are over: 1 - beta^t is 1.
        state = jax.tree.map(lambda x: x + 10**8 if jnp.issubdtype(x.dtype, jnp.integer) else x, state)
        return state, gain(optimizer, state, params)

    state, gains = settle(optimizer.init(params))
    edges = {key: 2 / largest(gains[key], matrices[key]) for key in params}

    @jax.jit
    def amplitudes(fraction):
        def step(carry, _):
            x, state = carry
            gradient = {key: fraction * edges[key] * (matrices[key] @ x[key]) for key in x}
            updates, state = optimizer.update(gradient, state, x)
            x = optax.apply_updates(x, updates)
            return (x, state), x

        start = jax.tree.map(lambda x: x + 1e-9 * jnp.arange(1.0, x.size + 1), params)
        xs = jax.lax.scan(step, (start, state), None, length=600)[1]
        # What changes sign at each step: flat directions, which take longer than this run, change little in one.
        return jax.tree.map(lambda x: jnp.linalg.norm(x[2:] - 2 * x[1:-1] + x[:-2], axis=1) / 4, xs)

    for amplitude in amplitudes(0.98).values():
        assert amplitude[-50:].max() < 1e-2 * amplitude[:50].max()
    for amplitude in amplitudes(1.02).values():  # until second moments grow with it
        assert amplitude.max() > 1e3 * amplitude[0]
