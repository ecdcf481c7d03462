"""Where runs begin to grow, beside closed forms and the spectral radius of a matrix written out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import Partial

from eosbench.dynamics import growth, hessian_onset, mean_square_growth, onset

START = np.array([1.0, 2.0, -1.0]) * 1e-100


def full_hessian(*spectrum):
    basis = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    return basis @ np.diag(spectrum) @ basis.T


def grows(optimizer, hessian, **options):
    """Growth as a function of the size of the Hessian."""
    state = options.pop("state", None)
    state = optimizer().init(jnp.asarray(START)) if state is None else state
    return lambda sizes: growth(optimizer, state, START, np.asarray(sizes)[:, None, None] * hessian, **options)


def test_gradient_descent_grows_from_two_over_eta_on():
    found = hessian_onset(Partial(optax.sgd, jnp.asarray(0.01)), full_hessian(1.0, 0.4, 0.1), 150, 290)
    assert found.error < 1e-9
    np.testing.assert_allclose(found.value, 200, rtol=1e-9)


def test_single_precision_finds_it_to_single_precision():
    hessian = jnp.asarray(full_hessian(1.0, 0.4, 0.1), jnp.float32)
    found = hessian_onset(Partial(optax.sgd, jnp.asarray(0.01, jnp.float32)), hessian, 150, 290)
    np.testing.assert_allclose(found.value, 200, rtol=1e-5)


def test_growth_is_the_logarithm_of_the_spectral_radius_times_half_the_steps():
    eta, beta, sharpness = 0.01, 0.9, 390.0
    hessian = full_hessian(1.0, 0.4, 0.1)
    step = np.array([[1 - eta * sharpness, -eta * beta], [sharpness, beta]])
    radius = np.abs(np.linalg.eigvals(step)).max()
    assert radius > 1
    measured = grows(Partial(optax.sgd, jnp.asarray(eta), momentum=jnp.asarray(beta)), hessian, steps=600)([sharpness])
    np.testing.assert_allclose(measured, [300 * np.log(radius)], rtol=1e-9)


def test_what_comes_to_zero_and_what_leaves_the_range_of_floats_have_a_sign():
    run = grows(Partial(optax.sgd, jnp.asarray(1.0)), full_hessian(1.0, 1.0, 1.0))
    assert run([0.5, 3.0]).tolist() == [-np.inf, np.inf]


def test_entries_that_are_held_stay_as_they_are():
    """RMSprop with a second moment of 4: 2/eta in units of its root, though by itself the moment decays to nothing."""
    optimizer = Partial(optax.rmsprop, jnp.asarray(0.1), decay=jnp.asarray(0.5), eps=jnp.asarray(0.0))
    state = optax.tree.set(optimizer().init(jnp.asarray(START)), nu=jnp.full(3, 8.0))  # half of it is left in the step
    found = hessian_onset(optimizer, full_hessian(1.0, 0.4, 0.1), 10, 100, state=state, held=("nu",))
    np.testing.assert_allclose(found.value, 2 / 0.1 * 2, rtol=1e-9)
    assert grows(optimizer, full_hessian(1.0, 0.4, 0.1), state=state, steps=200)([20.0])[0] > 0


@pytest.mark.parametrize(
    ("low", "high", "what"), [(3.0, 4.0, "grow already at low"), (0.5, 1.0, "do not grow at high")]
)
def test_a_bracket_without_an_onset_is_refused(low, high, what):
    with pytest.raises(ValueError, match=f"runs {what}"):
        onset(lambda values: values - 2, low, high)


def test_other_numbers_of_an_optimizer_are_not_compiled_again():
    with jax.log_compiles(False):
        run = [grows(Partial(optax.sgd, jnp.asarray(eta)), full_hessian(1.0, 0.5, 0.2)) for eta in (0.1, 0.2)]
        run[0]([1.0])
        before = growth._cached._cache_size()
        run[1]([1.0])
    assert growth._cached._cache_size() == before


def test_the_mean_square_grows_by_the_spectral_radius_of_the_kronecker_operator():
    random = np.random.default_rng(5)
    maps, weights = random.normal(size=(2, 4, 3, 3)) * 0.6, np.array([0.1, 0.2, 0.3, 0.4])
    measured = mean_square_growth(jnp.asarray(maps), jnp.asarray(weights))
    for case, rise in zip(maps, np.asarray(measured), strict=True):
        operator = sum(weight * np.kron(step, step) for weight, step in zip(weights, case, strict=True))
        np.testing.assert_allclose(rise, 2048 * np.log(np.abs(np.linalg.eigvals(operator)).max()), rtol=1e-10)


def test_of_one_number_the_mean_square_is_the_mean_of_the_squares():
    factors = jnp.asarray([0.4, -1.3])
    rise = mean_square_growth(factors[None, :, None, None], jnp.asarray([0.25, 0.75]))
    np.testing.assert_allclose(rise, [2048 * np.log(0.25 * 0.4**2 + 0.75 * 1.3**2)], rtol=1e-12)
