"""The sharpness probe on Hessians that move in a known way, and on a network beside the whole matrix."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import Partial

from eosbench.curvature import dense_hessian, linearize
from eosbench.dynamics._training import train
from eosbench.probes import Sharpness

P = 400
STEPS = 160
BULK = jnp.linspace(-1.0, 1.0, P)


def rising(t, x):
    """One eigenvalue climbs from the bulk by a hundredth of the top in every step, and overtakes it at step 100."""
    return 0.5 * (10 * x[0] ** 2 + 9 * x[1] ** 2 + 8 * x[2] ** 2 + 7 * x[3] ** 2) + 0.05 * t * x[4] ** 2


def crossing(t, x):
    """Five eigenvalues within a few percent, one of which overtakes another every ten steps."""
    phases = jnp.arange(5.0) * 2 * jnp.pi / 5
    return 0.5 * jnp.sum((10 + 0.3 * jnp.cos(2 * jnp.pi * t / 50 + phases)) * x[:5] ** 2)


def turning(t, x):
    """The top eigenvector turns at 0.02 per step through the bulk."""
    return 4.5 * (jnp.cos(0.02 * t) * x[0] + jnp.sin(0.02 * t) * x[-1]) ** 2


def jumping(t, x):
    """The top eigenvector alternates between two directions, as at the edge of stability."""
    return 5 * (x[0] + 0.1 * jnp.cos(jnp.pi * t) * x[7]) ** 2


FORMS = [rising, crossing, turning, jumping]


def hessian_form(which, t, x):
    return 0.5 * jnp.sum(BULK * x**2) + jax.lax.switch(which, FORMS, t, x)


def clockwork(which, params):
    """Its Hessian at x = 0 is that of a form that moves with a clock, which gradient descent advances by 1 per step."""
    return hessian_form(which, params["clock"], params["x"]) - params["clock"]


def follow(form, steps=STEPS, **options):
    params = {"clock": jnp.zeros(()), "x": jnp.zeros(P)}
    loss = Partial(clockwork, jnp.asarray(FORMS.index(form)))
    return train(loss, params, Partial(optax.sgd, 1.0), steps, {"sharpness": Sharpness(**options)}).probes["sharpness"]


@pytest.mark.parametrize("form", FORMS)
def test_a_moving_spectrum_is_followed_within_the_tolerance(form):
    track = follow(form)
    hessian = jax.jit(lambda t: jax.hessian(lambda x: hessian_form(FORMS.index(form), t, x))(jnp.zeros(P)))
    for t in range(0, STEPS, 6):
        exact = np.linalg.eigvalsh(hessian(float(t)))[-1]
        assert abs(track.values[t, 0] / exact - 1) <= 1e-3, t
    # One that rises may be seen by the audit before the block has it; then the step has to say so.
    audited = np.isfinite(track.upper) & (form is rising)
    assert track.converged[~audited].all()
    for t in np.flatnonzero(audited):
        exact = np.linalg.eigvalsh(hessian(float(t)))[-1]
        assert abs(exact - track.values[t, 0]) <= track.errors[t, 0] * (1 + 1e-9), t
    assert track.hvps.mean() <= 4


def test_a_jumping_eigenvector_is_predicted():
    assert follow(jumping, audit=None).hvps[5:].max() == 2


def test_the_block_says_what_is_fresh():
    track = follow(turning, audit=None)
    assert track.block.shape == track.ages.shape == (STEPS, 4)
    np.testing.assert_allclose(track.ages[:, 0], 0.0, atol=0.2)
    assert (track.ages[10:].max(1) >= 1).all()


def test_a_starved_step_is_marked():
    track = follow(turning, 30, rtol=1e-9, max_hvps=3)
    assert not track.converged[5:].any()
    assert (track.hvps[1:] <= 3).all()


def test_k_larger_than_the_default_block():
    track = follow(crossing, 20, k=6)
    assert track.values.shape == (20, 6)
    assert track.converged.all()


def softly(inputs, targets, params):
    hidden = jnp.tanh(inputs @ params["a"])
    return jnp.mean(jnp.sum((hidden @ params["b"] - targets) ** 2, axis=1))


def test_a_network_at_the_edge_beside_the_whole_matrix():
    dtype = jnp.float32
    keys = jax.random.split(jax.random.key(3), 4)
    inputs, targets = jax.random.normal(keys[0], (40, 12), dtype), jax.random.normal(keys[1], (40, 3), dtype)
    params = {"a": jax.random.normal(keys[2], (12, 24), dtype) / 4, "b": jax.random.normal(keys[3], (24, 3), dtype) / 5}
    loss, eta = Partial(softly, inputs, targets), 0.15
    probes = {"sharpness": Sharpness(k=2), "params": lambda params: params}
    run = train(loss, params, Partial(optax.sgd, eta), 400, probes)
    track = run.probes["sharpness"]
    for step in range(0, 400, 40):
        at = jax.tree.map(lambda leaf, step=step: leaf[step], run.probes["params"])
        exact = np.linalg.eigvalsh(dense_hessian(loss, at))[::-1][:2]
        np.testing.assert_allclose(track.values[step], exact, rtol=1e-3)
    assert track.values[-100:, 0].mean() > 0.9 * 2 / eta
    assert track.converged.all()


class TopVector(eqx.Module):
    """A probe of another's eigenvectors, as in a file of its own."""

    sharpness: Sharpness

    def init(self, point):
        return self.sharpness.init(point)

    def measure(self, point, memory):
        _, vectors, memory = self.sharpness.eigenpairs(point, memory)
        return vectors[0], memory


@pytest.mark.parametrize("p", [6, 150, 400])  # every step dense; a dense start; a cold start
def test_the_eigenvectors_are_those_of_the_whole_matrix(p):
    basis, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((p, p)))
    matrix = (basis * np.linspace(0, 10, p) ** 2 / 10) @ basis.T
    loss = Partial(lambda a, x: x @ a @ x / 2 + jnp.sum(x**4) / 4, jnp.asarray(matrix))
    start = jnp.asarray(np.random.default_rng(1).standard_normal(p))
    probes = {"top": TopVector(Sharpness(rtol=1e-6)), "x": lambda x: x}
    found = train(loss, start, optax.sgd(0.02), 8, probes).probes
    for x, vector in zip(np.asarray(found["x"]), np.asarray(found["top"]), strict=True):
        exact = np.linalg.eigh(matrix + 3 * np.diag(x**2))[1][:, -1]
        np.testing.assert_allclose(abs(vector @ exact), 1, atol=1e-4)
        np.testing.assert_allclose(np.linalg.norm(vector), 1, rtol=1e-12)


@pytest.mark.parametrize("p", [3, 300])
def test_a_point_without_a_loss_or_a_gradient_is_marked(p):
    point = linearize(lambda x: jnp.sum(x**2), jnp.ones(p))
    memory = Sharpness().init(point)
    for lost in (lambda point: point.loss, lambda point: point.gradient):
        there = eqx.tree_at(lost, point, jnp.full_like(lost(point), jnp.nan))
        assert not Sharpness().measure(there, memory)[0].converged
    assert Sharpness().measure(point, memory)[0].converged


def follow_the_clock(form, steps, p=120, **options):
    """Values of a loss form(t, x) at x = 0, t counting the steps."""
    params = {"clock": jnp.zeros(()), "x": jnp.zeros(p)}
    loss = lambda params: form(params["clock"], params["x"]) - params["clock"]  # noqa: E731
    advance = optax.stateless(lambda _, params: {"clock": jnp.ones(()), "x": jnp.zeros(p)})
    return train(loss, params, advance, steps, {"sharpness": Sharpness(**options)}).probes["sharpness"]


@pytest.mark.parametrize("k", [1, 3, 5])
def test_a_multiple_of_the_identity_is_followed(k):
    track = follow_the_clock(lambda t, x: 0.5 * (1 + 0.01 * t) * jnp.sum(x**2), 20, k=k)
    np.testing.assert_allclose(track.values, np.tile(1 + 0.01 * np.arange(20.0)[:, None], k), rtol=1e-3)
    assert track.converged.all()


def test_a_hessian_that_is_zero_for_some_steps_is_zero_there_and_followed_afterwards():
    """As on a mini-batch whose margins are all met."""
    flat = lambda t, x: 0.5 * jnp.where(t % 7 < 3, 0.0, 1.0) * jnp.sum(jnp.arange(120.0) ** 2 * x**2) / 119**2  # noqa: E731
    values = follow_the_clock(flat, 40).values[:, 0]
    np.testing.assert_allclose(values, np.where(np.arange(40) % 7 < 3, 0.0, 1.0), atol=1e-3)


def test_a_point_that_is_not_finite_leaves_the_memory_as_it_was():
    broken = lambda t, x: jnp.where(t == 5, jnp.nan, 0.5) * jnp.sum(jnp.arange(120.0) * x**2)  # noqa: E731
    track = follow_the_clock(broken, 12)
    np.testing.assert_array_equal(track.converged, np.arange(12) != 5)
    np.testing.assert_allclose(np.delete(track.values[:, 0], 5), 119, rtol=1e-3)


def test_the_signs_of_the_vectors_that_are_carried_do_not_matter():
    params = {"clock": jnp.zeros(()), "x": jnp.zeros(P)}
    loss, probes = Partial(clockwork, jnp.asarray(FORMS.index(crossing))), {"sharpness": Sharpness()}
    state = train(loss, params, Partial(optax.sgd, 1.0), 10, probes).state
    memory = state.probes["sharpness"]
    signs = jnp.asarray([1.0, -1, 1, -1, -1])[:, None]  # the last is that of the explorer
    turned = eqx.tree_at(lambda state: state.probes["sharpness"].last.vectors, state, signs * memory.last.vectors)
    runs = [train(loss, start, Partial(optax.sgd, 1.0), 40, probes) for start in (state, turned)]
    one, other = (run.probes["sharpness"] for run in runs)
    np.testing.assert_array_equal(other.hvps, one.hvps)
    np.testing.assert_allclose(other.block, one.block, rtol=1e-9)


def test_a_measurement_without_its_memory_is_refused_where_one_is_carried():
    point = linearize(lambda x: jnp.sum(jnp.cos(x)), jnp.arange(300.0))
    with pytest.raises(TypeError, match=r"takes that of probe\.init\(point\)"):
        Sharpness().measure(point, None)
    few = linearize(lambda x: jnp.sum(jnp.cosh(x)), jnp.zeros(5))
    assert Sharpness().measure(few, Sharpness().init(few))[0].values[0] == 1
