import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eosbench.problems._relu_neuron import ReluNeuron
from eosbench.problems._scalar import scalar_factorization


@pytest.mark.parametrize("d", [2, 5])
def test_the_loss_is_the_mean_over_the_sphere(d):
    random = np.random.default_rng(d)
    teacher, theta = random.standard_normal(d), random.standard_normal(d + 1)
    x = random.standard_normal((200_000, d))
    x /= np.linalg.norm(x, axis=1)[:, None]
    samples = (theta[0] * np.maximum(x @ theta[1:], 0) - np.maximum(x @ teacher, 0)) ** 2
    assert ReluNeuron(teacher)(theta) == pytest.approx(samples.mean(), abs=5 * samples.std() / np.sqrt(samples.size))


def test_the_gradient_against_finite_differences_and_for_a_batch():
    random = np.random.default_rng(0)
    loss, theta = ReluNeuron(random.standard_normal(4)), random.standard_normal((3, 5))
    gradient = np.asarray(jax.grad(loss)(theta))
    for i, j in np.ndindex(theta.shape):
        step = np.zeros(theta.shape)
        step[i, j] = 1e-6
        assert gradient[i, j] == pytest.approx(float(loss(theta + step) - loss(theta - step)) / 2e-6, abs=1e-9)


@pytest.mark.parametrize("shift", [0.0, 1e-7])
def test_the_hessian_at_and_next_to_a_minimizer(shift):
    """Its spectrum: ((|w| - v)² + 2|u|)/d, v²/d with multiplicity d - 1, and 0."""
    u, v = np.array([0.6, -0.8, 1.2]), 0.7
    theta = np.array([v, *(u / v)]) + shift * np.array([0, 1, 1, 1])
    norm = np.linalg.norm(u)
    hessian = jax.hessian(ReluNeuron(u))(jnp.asarray(theta))
    expected = [0, v**2 / 3, v**2 / 3, ((norm / v - v) ** 2 + 2 * norm) / 3]
    np.testing.assert_allclose(np.linalg.eigvalsh(hessian), expected, atol=1e-14 + 5 * shift)


def test_aligned_it_is_the_scalar_factorization():
    u = np.array([1.5, 2.0])
    x, y = np.array([0.3, 1.4]), np.array([0.9, 0.5])
    theta = np.sqrt(2.5) * np.concatenate([x[:, None], y[:, None] * u / 2.5], axis=1)
    assert ReluNeuron(u)(theta) * 2 / 2.5**2 == pytest.approx(float(scalar_factorization(np.stack([x, y]))))


def test_the_part_across_the_teacher():
    loss = ReluNeuron(np.array([0.0, 2.0]))
    np.testing.assert_allclose(loss.across(np.array([[1.0, 3.0, -4.0]])), [[3.0, 0.0]])
