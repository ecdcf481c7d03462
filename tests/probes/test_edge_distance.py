"""The distance to the edge beside closed forms and dense eigenvalues."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import Partial

from eosbench.curvature import linearize
from eosbench.dynamics import train
from eosbench.probes import EdgeDistance, Sharpness

ETA, B1, B2, EPS = 0.01, 0.9, 0.999, 1e-8

optax_promotes = pytest.mark.skipif(
    jax.config.jax_numpy_dtype_promotion == "strict",
    reason="optax.adam and MultiSteps mix floats and counts, which strict promotion forbids.",
)


def hessian(p):
    basis, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((p, p)))
    return (basis * np.geomspace(0.1, 40, p)) @ basis.T


def quadratic(matrix, x):
    return 0.5 * x @ matrix @ x


def measured(optimizer, p, steps, **options):
    matrix = hessian(p)
    start = jnp.asarray(np.random.default_rng(1).standard_normal(p))
    probes = {"edge": EdgeDistance(optimizer, **options), "sharpness": Sharpness(), "x": lambda x: x}
    return matrix, train(Partial(quadratic, jnp.asarray(matrix)), start, optimizer, steps, probes).probes


@pytest.mark.parametrize(
    ("optimizer", "line"),
    [
        (optax.sgd(ETA), 2 / ETA),
        (Partial(optax.sgd, ETA, 0.5), 3 / ETA),
        (optax.sgd(optax.linear_schedule(ETA, 2 * ETA, 1)), np.array([1, 1, 1]) / ETA),  # that of the next step
    ],
)
def test_it_is_the_sharpness_over_the_line(optimizer, line):
    _, probes = measured(optimizer, 8, 3)
    np.testing.assert_allclose(probes["edge"].values[:, 0], 40 / line * np.ones(3), rtol=1e-3)
    assert probes["edge"].converged.all()


@optax_promotes
@pytest.mark.parametrize("p", [8, 400])
def test_for_adam_it_is_the_preconditioned_sharpness_over_its_line(p):
    matrix, probes = measured(optax.adam(ETA, B1, B2, EPS), p, 40)
    second = np.zeros(p)
    for t, x in enumerate(probes["x"]):
        second = B2 * second + (1 - B2) * (matrix @ np.asarray(x)) ** 2
        count = t + 2  # of the step after
        root = np.sqrt(B2 * second / (1 - B2**count)) + EPS
        gain = ETA * (1 - B1) / (1 + B1) / (1 - B1**count) / root
        exact = np.linalg.eigvals(gain[:, None] * matrix / 2).real.max()
        assert abs(probes["edge"].values[t, 0] - exact) <= 1e-3 * exact, t
    assert probes["edge"].converged.all()
    assert probes["edge"].hvps[5:].mean() <= 2 * probes["sharpness"].hvps[5:].mean() + 2


@optax_promotes
def test_a_parameter_without_a_gradient_does_no_harm():
    matrix = hessian(100)
    matrix[3], matrix[:, 3] = 0, 0
    loss, start = Partial(quadratic, jnp.asarray(matrix)), jnp.ones(100)
    track = train(loss, start, optax.adam(ETA), 5, {"edge": EdgeDistance(optax.adam(ETA))}).probes["edge"]
    assert track.converged.all()
    assert jnp.isfinite(track.values).all()


def test_several_values_are_recorded():
    _, probes = measured(optax.sgd(ETA), 8, 1, sharpness=Sharpness(k=3))
    np.testing.assert_allclose(probes["edge"].values[0], ETA / 2 * np.geomspace(0.1, 40, 8)[:-4:-1], rtol=1e-6)


def test_a_step_without_a_line_is_marked():
    growing = optax.chain(optax.sgd(ETA), optax.scale_by_schedule(lambda count: jnp.where(count < 2, 1.0, -1.0)))
    probe = EdgeDistance(optax.sgd(ETA))
    object.__setattr__(probe, "optimizer", growing)
    matrix, start = hessian(8), jnp.ones(8)
    track = train(Partial(quadratic, jnp.asarray(matrix)), start, growing, 4, {"edge": probe}).probes["edge"]
    np.testing.assert_array_equal(track.converged, [True, False, False, False])


@optax_promotes
@pytest.mark.parametrize(
    ("trains", "other", "told"),
    [
        (optax.sgd(ETA), optax.adam(ETA), r" \(.*mu.* for nothing\)"),
        (optax.sgd(ETA, 0.9), optax.sgd(ETA), r" \(nothing for .*trace.*\)"),
        (optax.adam(ETA), optax.adamw(ETA), ""),
    ],
)
def test_another_optimizer_than_the_one_that_trains_is_refused(trains, other, told):
    with pytest.raises(ValueError, match=f"EdgeDistance has another state than the one at the point{told}: give it"):
        train(lambda x: x @ x, jnp.ones(3), trains, 2, {"edge": EdgeDistance(other)})


def test_a_point_without_an_optimizer_is_refused():
    probe = EdgeDistance(optax.sgd(ETA, 0.9))
    with pytest.raises(ValueError, match=r"has another state than the one at the point.*linearize\(loss, params, opt"):
        probe.init(linearize(lambda x: x @ x, jnp.ones(3)))


@optax_promotes
def test_an_optimizer_that_accumulates_gradients_is_refused():
    with pytest.raises(ValueError, match="a step of it takes 2 calls of its update"):
        EdgeDistance(optax.MultiSteps(optax.sgd(ETA), 2).gradient_transformation())


def test_it_is_not_made_where_the_step_size_is_traced():
    with pytest.raises(TypeError, match=r"a number in optimizer is traced: .* make an EdgeDistance, outside of"):
        jax.vmap(lambda eta: EdgeDistance(Partial(optax.sgd, eta)).sharpness.k)(jnp.asarray([0.1, 0.2]))


def test_an_optimizer_without_a_line_is_refused():
    with pytest.raises(ValueError, match=r"optimizer has no line of stability: .*; measure its curvature by"):
        EdgeDistance(optax.sign_sgd(ETA))


def test_the_optimizer_is_read_anew_in_each_run_and_nothing_else_is(monkeypatch):
    """What the rates are now decides; where they are what they were, the tracker is not traced again."""
    rates, measured = {"eta": 0.1}, []

    def update(updates, state, params=None):
        return jax.tree.map(lambda g: -rates["eta"] * g, updates), state

    optimizer = optax.GradientTransformation(lambda params: (), update)
    measure = EdgeDistance.measure
    monkeypatch.setattr(EdgeDistance, "measure", lambda *arguments: measured.append(1) or measure(*arguments))
    probes = {"edge": EdgeDistance(optimizer)}
    for eta in (0.1, 0.1, 0.2, 0.3):
        rates["eta"] = eta
        before = len(measured)
        run = train(lambda x: x @ x / 2, jnp.ones(300), optimizer, 3, probes)
        assert run.probes["edge"].values[:, 0] == pytest.approx(eta / 2, rel=1e-5)
        if before and eta == 0.1:
            assert len(measured) == before
    rule = optax.GradientTransformation(lambda params: (), lambda g, state, params=None: (softened(g), state))
    for factor in (0.1, 0.2):  # a derivative that is another one, of a function that is the same
        softened = jax.custom_jvp(lambda g: -0.1 * g)
        softened.defjvp(lambda primals, tangents, factor=factor: (-0.1 * primals[0], -factor * tangents[0]))
        run = train(lambda x: x @ x / 2, jnp.ones(300), rule, 3, {"edge": EdgeDistance(rule)})
        assert run.probes["edge"].values[:, 0] == pytest.approx(factor / 2, rel=1e-5)
