"""The two-layer linear network, against the same arithmetic in NumPy and finite differences."""

import jax
import numpy as np
import pytest

from eosbench.problems import LinearNetwork, linear_states, power_law_inputs, random_units

X = power_law_inputs(7, 4, decay=1.5, seed=0)
NETWORK = LinearNetwork(X, np.random.default_rng(1).normal(size=7))
UNITS = random_units(6, 4, seed=2, symmetric=False)


def test_loss_and_state():
    A, W = np.asarray(UNITS[:, 0]), np.asarray(UNITS[:, 1:])
    F = A @ W @ X / np.sqrt(6)
    state = linear_states(NETWORK, UNITS[None])
    np.testing.assert_allclose(state.F[0], F, rtol=1e-12)
    np.testing.assert_allclose(state.D[0], F - NETWORK.Y, rtol=1e-12)
    assert float(NETWORK(UNITS)) == pytest.approx(np.sum((F - NETWORK.Y) ** 2) / 7, rel=1e-12)


def test_gram_matrix_is_that_of_finite_differences():
    h, units = 1e-6, np.asarray(UNITS)
    jacobian = np.empty((7, units.size))
    for i in range(units.size):
        step = np.zeros(units.size)
        step[i] = h
        ahead, behind = (NETWORK.outputs(units + s * step.reshape(units.shape)) for s in (1, -1))
        jacobian[:, i] = (np.asarray(ahead) - np.asarray(behind)) / (2 * h)
    np.testing.assert_allclose(NETWORK.jacobian(UNITS), jacobian, atol=1e-8)
    np.testing.assert_allclose(NETWORK.gram(UNITS), 2 / 7 * jacobian @ jacobian.T, atol=1e-8)


def test_inputs_have_the_stated_spectrum():
    spectrum = np.linalg.eigvalsh(X.T @ X)[::-1]
    np.testing.assert_allclose(spectrum[:4], 7 * np.arange(1.0, 5) ** -1.5, rtol=1e-12)
    np.testing.assert_allclose(spectrum[4:], 0, atol=1e-12)
    assert power_law_inputs(3, 9, decay=1.0, seed=0).shape == (9, 3)


def test_units_have_the_stated_variance_and_symmetry():
    units = np.asarray(random_units(4000, 9, seed=0, symmetric=False, output_scale=3.0))
    assert units[:, 0].std() == pytest.approx(3, rel=0.05)
    assert units[:, 1:].var() == pytest.approx(1 / 9, rel=0.05)
    symmetric = random_units(6, 4, seed=2)
    np.testing.assert_allclose(NETWORK.outputs(symmetric), 0, atol=1e-15)
    assert jax.numpy.abs(NETWORK.outputs(UNITS)).max() > 0.01
    with pytest.raises(ValueError, match="m is 5: it must be even, for symmetric units come in pairs"):
        random_units(5, 4, seed=0)
