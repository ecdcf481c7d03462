"""The audit of the sharpness probe beside whole spectra: what it finds, what it bounds, what it costs."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from eosbench.curvature import Layout, Point
from eosbench.probes import Sharpness
from eosbench.probes._audit import STEPS, audit

P = 400


def point(product):
    nothing = jnp.zeros(P)
    return Point(
        nothing,
        jnp.zeros(()),
        nothing,
        product,
        None,
        jnp.asarray(0),
        jax.random.key(0),
        Partial(jnp.sum),
        layout=Layout.flat(P, float),
    )


def follow(diagonals, **options):
    """The track of a diagonal Hessian that moves, whose gradient is zero."""
    probe = Sharpness(**options)

    def at(diagonal):
        return point(Partial(jnp.multiply, diagonal))

    def measure(memory, diagonal):
        track, memory = probe.measure(at(diagonal), memory)
        return memory, track

    run = jax.jit(lambda diagonals: jax.lax.scan(measure, probe.init(at(diagonals[0])), diagonals)[1])
    return jax.tree.map(np.asarray, run(jnp.asarray(diagonals)))


def rising(steps):
    """An eigenvalue that shares no direction with the six largest, and is the largest from step 100 on."""
    still = np.linspace(-1, 1, P)
    still[:6] = 10, 9.5, 9, 8.5, 8, 7.5
    diagonals = np.tile(still, (steps, 1))
    diagonals[:, 50] = 6.5 + 0.035 * np.arange(steps)
    return diagonals


def test_what_rises_outside_the_block_is_found_at_the_next_audit():
    diagonals = rising(140)
    exact = diagonals.max(1)
    missed = np.abs(follow(diagonals, audit=None).values[:, 0] - exact) > 1e-3 * exact
    assert missed[105:].all()
    track = follow(diagonals, audit=35)  # at 105 for the third time
    late = np.abs(track.values[:, 0] - exact) > 1e-3 * exact
    assert set(np.flatnonzero(late)) <= set(range(101, 106))
    assert (np.abs(track.values[:, 0] - exact) <= track.errors[:, 0] + 1e-3 * exact)[105:].all()
    assert not (late & track.converged)[105:].any()


def test_a_step_at_which_the_audit_finds_more_than_was_measured_has_not_converged():
    diagonals = rising(140)
    track = follow(diagonals, audit=120)
    assert track.values[120, 0] < 0.95 * diagonals[120].max()
    assert not track.converged[120]
    np.testing.assert_allclose(track.values[120, 0] + track.errors[120, 0], diagonals[120].max(), rtol=1e-3)
    np.testing.assert_allclose(track.values[121:, 0], diagonals[121:].max(1), rtol=1e-3)
    assert track.converged[121:].all()


def test_the_audits_cost_what_is_said():
    track = follow(rising(130), audit=10, block=6)
    others = np.delete(track.hvps, np.arange(0, 130, 10))
    assert others.max() <= 4
    audits = track.hvps[10::10]
    assert set(audits[:8]) == {STEPS + 7}  # and those of a block of six with its explorer
    assert np.isin(audits, [STEPS + 7, 2 * STEPS + 7]).all()


SPECTRA = {
    "spaced by a third of a percent": np.linspace(1 / 300, 1, 300),
    "wide": np.linspace(-3, 1, P),
    "a spike": np.append(np.linspace(-0.1, 0.1, P - 1), 5),
    "negative": -np.linspace(1, 2, P),
    "one value": np.full(P, -2.0),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_the_upper_bound_is_above_the_largest_eigenvalue_and_not_far(name):
    spectrum = np.resize(np.sort(SPECTRA[name])[::-1], P)
    track = follow(np.tile(spectrum, (12, 1)), audit=5)
    audited = np.isfinite(track.upper)
    np.testing.assert_array_equal(np.flatnonzero(audited), [5, 10])
    largest, width = spectrum.max(), np.ptp(spectrum)
    assert (track.upper[audited] >= largest).all()
    assert (track.upper[audited] <= largest + 0.3 * width + 1e-9).all()
    np.testing.assert_allclose(track.values[:, 0], largest, rtol=1e-3)
    assert track.converged.all()


def test_an_audit_beside_the_matrix_without_the_known_vectors():
    """Known vectors that are no eigenvectors, so that it is the projected matrix that counts."""
    rng = np.random.default_rng(0)
    square = rng.standard_normal((P, P))
    matrix = (square + square.T) / 2 + np.diag(np.append(np.zeros(P - 1), 60))
    basis, _ = np.linalg.qr(rng.standard_normal((P, P)))
    known, rest = basis[:, :3].T, basis[:, 3:]
    exact = np.linalg.eigvalsh(rest.T @ matrix @ rest)
    product = Partial(jnp.matmul, jnp.asarray(matrix))
    look = jax.jit(partial(audit, layout=Layout.flat(P, float)))
    for matters, products in ((exact[-1] + 1, STEPS), (exact[-1] - 1, 2 * STEPS)):
        found = look(product, jnp.asarray(known), matters, jax.random.key(1))
        assert found.hvps == products
        assert exact[-1] - max(found.error, 1e-6 * exact[-1]) <= found.value <= exact[-1] * (1 + 1e-12)
        assert found.upper >= exact[-1]
    vector = np.asarray(found.vector)
    np.testing.assert_allclose(known @ vector, 0, atol=1e-8)
    np.testing.assert_allclose(np.linalg.norm(vector), 1, rtol=1e-6)
    np.testing.assert_allclose(vector @ matrix @ vector, found.value, rtol=1e-6)
    outside = matrix @ vector - found.value * vector
    outside -= known.T @ (known @ outside)
    np.testing.assert_allclose(np.linalg.norm(outside), found.residual, rtol=1e-4, atol=1e-8 * exact[-1])


def test_the_error_of_an_audit_that_has_not_converged_is_an_estimate_and_its_bound_a_bound():
    """At the edge of a semicircle 24 steps may end on a mixture of eigenvectors, which no residual shows."""
    square = np.random.default_rng(3).standard_normal((P, P))
    matrix = (square + square.T) / np.sqrt(2 * P)
    exact = np.linalg.eigvalsh(matrix)[-1]
    product, nothing = Partial(jnp.matmul, jnp.asarray(matrix)), jnp.zeros((1, P))
    look = jax.jit(partial(audit, layout=Layout.flat(P, float)))
    found = [look(product, nothing, exact, jax.random.key(seed)) for seed in range(12)]
    missing = exact - np.array([each.value for each in found])
    assert np.median(missing) > 1e-5 * exact
    assert (missing <= np.array([each.error for each in found])).mean() > 0.75
    assert (missing <= np.array([each.upper - each.value for each in found])).all()


def test_many_runs_at_once_are_audited_no_more_often_than_one():
    counted = []

    def product(diagonal, vector):
        jax.debug.callback(lambda _: counted.append(1), vector[0])
        return diagonal * vector

    probe = Sharpness(audit=4)

    def run(diagonal):
        at = point(Partial(product, diagonal))

        def measure(memory, _):
            track, memory = probe.measure(at, memory)
            return memory, track.hvps

        return jax.lax.scan(measure, probe.init(at), None, length=8)[1]

    diagonals = jnp.asarray(np.stack([np.linspace(-1, 10 + i, P) for i in range(2)]))
    products = jax.jit(jax.vmap(run))(diagonals)
    jax.effects_barrier()
    # And one at the start, whose vector is the same for both.
    assert sum(counted) == 2 * int(products.max(0).sum()) + 1


@pytest.mark.parametrize("wrong", [0, 2.5, "often"])
def test_an_audit_that_has_no_answer_is_refused(wrong):
    with pytest.raises((TypeError, ValueError), match="audit of a Sharpness probe"):
        Sharpness(audit=wrong)
