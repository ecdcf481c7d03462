"""Optimizers of optax in the compiled loop, beside a loop by hand and steps known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import Partial
from optax import contrib

from eosbench.dynamics import train
from eosbench.probes import Sharpness


def half_square(x):
    return jnp.sum(x**2) / 2


@pytest.mark.parametrize(
    ("optimizer", "after"),
    [
        # Without a memory the direction is the gradient normalized, and the line search accepts a step of 1: both
        # entries end at 1 - 1/sqrt(2).
        (optax.lbfgs(), (1 - 0.5**0.5) ** 2),
        # The step size is (f - f_min) / |grad f|^2 = 1/2.
        (optax.polyak_sgd(), 0.25),
        # The same step, halved by the value not having improved, after one step of patience 1.
        (optax.chain(optax.sgd(0.5), contrib.reduce_on_plateau()), 0.25),
        # The first step that is tried ends at the minimum.
        (optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(10)), 0.0),
        # min(f / |grad f|^2, learning rate) = 1/2.
        (contrib.momo(1.0), 0.25),
    ],
)
def test_the_first_step_of_optimizers_that_ask_for_the_loss(optimizer, after):
    run = train(half_square, jnp.ones(2), optimizer, 2)
    np.testing.assert_allclose(run.loss, [1.0, after], rtol=1e-12, atol=1e-12)


def bowl(params):
    return jnp.sum((params["w"] @ jnp.ones(3, params["w"].dtype) - 1) ** 2) / 2 + jnp.sum(jnp.cosh(params["b"]))


def start(dtype=jnp.float64):
    return {"b": jnp.linspace(0.2, 1, 4, dtype=dtype), "w": jnp.linspace(-1, 1, 12, dtype=dtype).reshape(4, 3)}


RATE = 0.05
GIVEN = {
    "lbfgs": lambda: optax.lbfgs(),
    "backtracking": lambda: optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(15, store_grad=True)),
    "zoom": lambda: optax.chain(optax.scale(-1.0), optax.scale_by_zoom_linesearch(15)),
    "polyak_sgd": lambda: optax.polyak_sgd(),
    "reduce_on_plateau": lambda: optax.chain(optax.sgd(RATE), contrib.reduce_on_plateau(patience=1)),
    "momo": lambda: contrib.momo(),
    "momo_adam": lambda: contrib.momo_adam(),
    "mechanize": lambda: contrib.mechanize(optax.sgd(RATE)),
    "schedule_free": lambda: contrib.schedule_free_sgd(RATE),
    "galore": lambda: contrib.galore(RATE),
    "muon": lambda: contrib.muon(RATE),
    "prodigy": lambda: contrib.prodigy(),
    "masked": lambda: optax.masked(optax.polyak_sgd(), {"w": True, "b": False}),
    "conditional": lambda: optax.conditionally_mask(optax.sgd(RATE), lambda step, value, **_: value > 4, True),
    "apply_if_finite": lambda: optax.apply_if_finite(optax.adam(RATE), 3),
    "inject_hyperparams": lambda: optax.inject_hyperparams(optax.adam)(optax.linear_schedule(0.1, 0.01, 5)),
    "accumulated": lambda: optax.MultiSteps(optax.adam(RATE), 2).gradient_transformation(),
}


@pytest.mark.parametrize("name", GIVEN)
def test_a_run_is_the_loop_by_hand(name):
    optimizer, params = GIVEN[name](), start()
    run = train(bowl, params, optimizer, 4, {"sharpness": Sharpness()})
    optimizer = optax.with_extra_args_support(optimizer)
    update, state = jax.jit(optimizer.update, static_argnames="value_fn"), optimizer.init(params)
    for _ in range(4):
        value, gradient = jax.value_and_grad(bowl)(params)
        updates, state = update(gradient, state, params, value=value, grad=gradient, value_fn=bowl)
        params = optax.apply_updates(params, updates)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9), run.params, params)


def test_optimizers_that_ask_for_the_loss_by_other_names():
    params = start()
    opaque = contrib.sam(optax.sgd(RATE), optax.chain(contrib.normalize(), optax.sgd(0.01)), opaque_mode=True)
    after = train(bowl, params, opaque, 1).params
    away = jax.grad(bowl)(params)
    norm = jnp.sqrt(jnp.sum(away["b"] ** 2) + jnp.sum(away["w"] ** 2))
    there = jax.tree.map(lambda p, g: p + 0.01 * g / norm, params, away)
    expected = jax.tree.map(lambda p, g: p - RATE * g, params, jax.grad(bowl)(there))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), after, expected)
    # Hutchinson's estimate of a diagonal Hessian, 4 here, is exact whatever the signs; it is used from the second step
    # on. The first step is clipped at 1, the second is the mean gradient (0.1 - 1.8) / 0.75 over 4.
    sophia = contrib.sophia(1.0, weight_decay=0.0, b1=0.5, b2=0.0, gamma=1.0, update_interval=1)
    run = train(lambda x: 2 * jnp.sum(x**2), jnp.full(3, 0.1), sophia, 2)
    np.testing.assert_allclose(run.params, -1 / 3, rtol=1e-6)


def narrow(learning_rate):
    """It takes the value and nothing else."""
    return optax.GradientTransformationExtraArgs(
        lambda params: optax.EmptyState(),
        lambda updates, state, params=None, *, value: (-learning_rate * value * updates, state),
    )


def test_an_optimizer_is_given_no_more_than_it_takes():
    np.testing.assert_allclose(train(half_square, jnp.ones(2), narrow(0.25), 1).params, 0.75, rtol=1e-12)


def changing(update, init=lambda params: optax.EmptyState()):
    return optax.GradientTransformation(init, update)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (optax.lookahead(optax.sgd(0.1), 3, 0.5), r"optimizer cannot take a step from params .*no attribute 'fast'"),
        (
            contrib.differentially_private_aggregate(1.0, 0.1, key=jax.random.key(0)),
            r"optimizer returned an update \['b'\] float64\[\], \['w'\] float64\[3\] for params \['b'\] float64\[4\]",
        ),
        (
            optax.GradientTransformationExtraArgs(lambda p: (), lambda u, s, p=None, *, batch, **k: (u, s)),
            "optimizer cannot take a step .* 'batch'.*ask for no more than value, grad, value_fn",
        ),
        (optax.MultiSteps(optax.sgd(0.1), 2), "optimizer is .*, a MultiSteps: it must be an optax.Gradient"),
        (
            changing(lambda u, s, p=None: (u, jnp.append(s, 1)), lambda p: jnp.zeros(1)),
            r"optimizer turned its state from float64\[1\] into float64\[2\]: it must keep its shapes",
        ),
        (changing(lambda u, s, p=None: (u, (s, s))), "optimizer turned its state from"),
        (changing(lambda u, s, p=None: (u["w"], s)), "optimizer returned an update"),
    ],
)
def test_an_optimizer_for_something_else_is_refused(optimizer, message):
    with pytest.raises(TypeError, match=message):
        train(bowl, start(), optimizer, 2)


def test_a_line_search_in_single_precision_names_the_remedy():
    with pytest.raises(TypeError, match="line searches of optax, while jax_enable_x64 is on, want params in float64"):
        train(bowl, start(jnp.float32), optax.lbfgs(), 2)


def test_a_state_that_the_first_step_widens_is_wide_from_the_start():
    def update(updates, state, params=None):
        return jax.tree.map(lambda u: -0.1 * u, updates), state.astype(jnp.float64) + 1 / 3

    run = train(bowl, start(jnp.float32), changing(update, lambda p: jnp.zeros((), jnp.float32)), 3)
    assert run.state.optimizer.dtype == jnp.float64
    np.testing.assert_allclose(run.state.optimizer, 1.0, rtol=1e-15)
    again = train(bowl, run.state, changing(update, lambda p: jnp.zeros((), jnp.float32)), 3)
    np.testing.assert_allclose(again.state.optimizer, 2.0, rtol=1e-15)


@pytest.mark.parametrize("recipe", [Partial(optax.adam, 0.1), Partial(contrib.momo), Partial(optax.polyak_sgd)])
def test_a_loss_wider_than_its_params_leaves_them_as_they_are(recipe):
    run = train(lambda p: bowl(p).astype(jnp.float64), start(jnp.float32), recipe, 3, {"sharpness": Sharpness()})
    assert run.loss.dtype == jnp.float64
    assert {leaf.dtype for leaf in jax.tree.leaves(run.params)} == {np.dtype("float32")}
    assert run.probes["sharpness"].values.dtype == jnp.float32
