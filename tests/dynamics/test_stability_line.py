"""The threshold of whole optimizers: the line, what is said of it, and who has none."""

import importlib.util
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import Partial

from eosbench import stability
from eosbench.dynamics._linear_step import gain

ETA, B = 0.01, 0.9
ROOT = Path(__file__).parents[2]
NOT_STRICT = pytest.mark.skipif(
    jax.config.jax_numpy_dtype_promotion == "strict",
    reason="optax.adam and MultiSteps mix floats and counts, which strict promotion forbids.",
)


@pytest.fixture(scope="module")
def thresholds():
    """The script benchmarks/thresholds.py, with its oracle: dense Jacobians and bisection."""
    spec = importlib.util.spec_from_file_location("thresholds", ROOT / "benchmarks" / "thresholds.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_step_that_is_the_same_for_all_parameters_has_a_sharpness_at_the_edge():
    found = stability(optax.sgd(ETA, B))
    assert found.line == pytest.approx(3.8 / ETA, rel=1e-12)
    assert found.kappa == pytest.approx(3.8, rel=1e-12)
    assert found.reason is None
    assert str(found) == "edge at sharpness 380, where l1(R H) = 3.8"


def test_adam_has_a_scale_instead():
    optimizer, params = optax.adam(ETA, B), {"a": jnp.zeros(2), "b": jnp.zeros(())}
    state = optimizer.init(params)
    for size in [1.0, -3.0]:
        gradient = {"a": jnp.asarray([size, 2 * size]), "b": jnp.asarray(0.1)}
        _, state = optimizer.update(gradient, state, params)
    found = stability(optimizer, state, params)
    assert found.line is None
    assert found.kappa == pytest.approx(3.8, rel=1e-12)
    assert jax.tree.structure(found.scale) == jax.tree.structure(params)
    for ours, core in zip(jax.tree.leaves(found.scale), jax.tree.leaves(gain(optimizer, state, params)), strict=True):
        np.testing.assert_allclose(ours, core, rtol=1e-12)
    scale = np.concatenate([found.scale["a"], found.scale["b"][None]])
    assert str(found) == (f"edge at l1(G H) = 2, where l1(R H) = 3.8; G from {scale.min():.4g} to {scale.max():.4g}")


@NOT_STRICT
def test_a_parameter_that_never_had_a_gradient_has_the_scale_of_eps_and_the_others_theirs():
    optimizer, params = optax.adam(ETA, B), jnp.zeros(3)
    state = optimizer.init(params)
    for size in [1.0, -3.0]:
        _, state = optimizer.update(jnp.asarray([size, 0.0, 2 * size]), state, params)
    found = stability(optimizer, state, params)
    assert found.kappa == pytest.approx(3.8, rel=1e-9)
    second = 0.999 * np.asarray(state[0].nu) / (1 - 0.999**3)
    p = (1 - B**3) * (np.sqrt(second) + 1e-8)
    np.testing.assert_allclose(found.scale, ETA * (1 - B) / ((1 + B) * p), rtol=1e-4)
    fresh = stability(optimizer, optimizer.init(params), params)
    assert fresh.reason.endswith("(in this state: if it is that of init, take some steps first)")


@pytest.mark.parametrize("name", ["adabelief", "adan", "decay w, then adam", "schedule_free_adamw"])
def test_the_line_is_where_bisection_finds_the_full_linearized_step_unstable(thresholds, name):
    (setting,) = (setting for setting in thresholds.THRESHOLDS if setting.name == name)
    _, difference = thresholds.measure(setting)
    assert difference <= 1e-8


WITHOUT = {
    "lion": (optax.lion(ETA), "derivative zero"),
    "sign": (optax.sign_sgd(ETA), "derivative zero"),
    "trust ratio 1 at gradient zero only": (optax.lars(ETA), "not shrink in proportion"),
    "norm of the gradient": (optax.chain(optax.normalize_by_update_norm(), optax.sgd(ETA)), "no finite derivative"),
    "a guard against division by zero": (optax.fromage(ETA), "not shrink in proportion"),
    "norm of the update": (optax.chain(optax.trace(B), optax.clip_by_global_norm(0.1)), "depends on the gradients of"),
    "mean of the gradient": (optax.chain(optax.centralize(), optax.sgd(ETA)), "depends on the gradients of"),
    "two momenta": (optax.chain(optax.trace(B), optax.trace(B), optax.sgd(ETA)), "turns by 29 degrees"),
    "clipped": (optax.chain(optax.trace(B), optax.clip(1e-9), optax.sgd(ETA)), "derivative zero"),
    "ascent": (optax.sgd(-ETA), "up the gradient"),
    "decay": (optax.chain(optax.add_decayed_weights(3 / ETA), optax.sgd(ETA)), "overshoots without any curvature"),
    "needs the loss": (optax.polyak_sgd(), "needs more than .* 'value'"),
    "line search": (optax.lbfgs(), "needs more than"),
    "two sets of parameters": (optax.lookahead(optax.sgd(ETA), 5, 0.5), "needs more than .* fast"),
}


@pytest.mark.parametrize("name", WITHOUT)
def test_an_optimizer_without_a_linear_threshold_says_why(name):
    optimizer, reason = WITHOUT[name]
    found = stability(optimizer, params=jnp.asarray([[1.0, 2.0], [3.0, -4.0]]))
    assert re.search(reason, found.reason)
    assert (found.line, found.scale, found.kappa) == (None, None, None)
    assert str(found) == f"no linear threshold: {found.reason}"


def test_two_momenta_lose_stability_where_it_is_said():
    found = stability(optax.chain(optax.trace(B), optax.trace(B), optax.sgd(ETA)))
    degrees, curvature, line = map(float, re.findall(r"\d+\.?\d*", found.reason.replace("180", "")))

    def fastest(curvature):  # (z - 1)(z - b)^2 + eta curvature z^2
        roots = np.roots(np.polysub(np.poly([1, B, B]), [-ETA * curvature, 0, 0]))
        return roots[np.abs(roots).argmax()]

    assert line == pytest.approx(2 * (1 + B) ** 2 / ETA, rel=1e-2)
    assert abs(fastest(curvature)) > 1
    assert abs(np.degrees(np.angle(fastest(curvature)))) == pytest.approx(degrees, rel=0.02)


@NOT_STRICT
def test_accumulated_gradients_are_one_step_and_a_state_in_its_middle_is_refused():
    optimizer = optax.MultiSteps(optax.sgd(ETA, B), 3)
    params = jnp.ones(2)
    state = optimizer.init(params)
    assert stability(optimizer, state, params).line == pytest.approx(380, rel=1e-6)  # it accumulates in float32
    _, state = optimizer.update(params, state, params)
    assert "call 2 from here answers it" in stability(optimizer, state, params).reason


@NOT_STRICT
def test_the_state_decides():
    params = jnp.ones(2)
    adam = optax.adam(ETA)
    assert "if it is that of init" in stability(adam, adam.init(params), params).reason
    assert stability(adam).reason is None
    frozen = optax.partition({"on": optax.sgd(ETA), "off": optax.set_to_zero()}, {"a": "on", "b": "off"})
    found = stability(frozen, params={"a": jnp.ones(2), "b": jnp.ones(2)})
    assert found.line is None  # only the curvature of `a` matters
    np.testing.assert_allclose([*found.scale["a"], *found.scale["b"]], [ETA, ETA, 0, 0], rtol=1e-12)
    assert found.kappa == pytest.approx(2)


def test_a_recipe_will_do():
    assert stability(Partial(optax.sgd, 0.5)).line == pytest.approx(4)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((0.1,), "optimizer is 0.1, a float: it must have init and update"),
        ((optax.sgd(0.1), optax.sgd(0.1).init(0.0)), "state is given without params"),
        ((optax.sgd(0.1), None, jnp.arange(3)), "params has dtype int64"),
        ((optax.sgd(0.1, 0.9), optax.sgd(0.1).init(jnp.ones(2)), jnp.ones(2)), "state is not one of this optimizer"),
        (
            (optax.sgd(0.1, 0.9), optax.sgd(0.1, 0.9).init(jnp.ones(3)), jnp.ones(2)),
            "state is not one of this optimizer",
        ),
    ],
)
def test_what_has_no_answer_is_refused_in_one_sentence(arguments, sentence):
    with pytest.raises((TypeError, ValueError), match=re.escape(sentence)):
        stability(*arguments)


class Changing:
    """Gradient descent with a step size that may be changed, in an object."""

    eta = 0.1

    def init(self, params):
        return ()

    def update(self, gradient, state, params=None):
        return -self.eta * gradient, state


def test_an_optimizer_that_changed_has_another_threshold():
    made = Changing()
    methods = optax.GradientTransformation(made.init, made.update)
    closing = optax.GradientTransformation(made.init, lambda gradient, *state: made.update(gradient, *state))
    for eta in (0.1, 0.2):
        made.eta = eta
        assert [stability(optimizer).line for optimizer in (made, methods, closing)] == pytest.approx(3 * [2 / eta])


@NOT_STRICT
def test_it_tells_how_many_calls_make_a_step():
    assert stability(optax.MultiSteps(optax.sgd(0.1), 3)).calls == 3
    assert stability(optax.sgd(0.1)).calls == 1


def test_it_is_not_for_compiled_functions():
    with pytest.raises(TypeError, match=r"a number in optimizer is traced: .*gain"):
        jax.jit(lambda params: stability(optax.sgd(0.1), params=params).line)(jnp.ones(2))
    with pytest.raises(ValueError, match="burn_in is 0: it must be at least 1"):
        stability(optax.sgd(0.1), burn_in=0)


def test_the_page_has_a_line_for_every_setting(thresholds):
    page = (ROOT / "docs" / "optimizers.md").read_text().split("## Every optimizer of optax")[1]
    lines = re.findall(r"^\| (.+?) +\|", page, re.MULTILINE)
    settings = [*thresholds.THRESHOLDS, *thresholds.WITHOUT]
    assert [line for line in lines if line != "optimizer"] == [setting.name for setting in settings]
