"""Nothing that is found depends on the unit of the loss: cold and tracked, the whole matrix and Lanczos."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import Partial

from eosbench.curvature import sharpness
from eosbench.curvature._unit import binary_unit
from eosbench.dynamics._training import train
from eosbench.probes import Sharpness

POWERS = [2.0**-64, 2.0**-40, 2.0**40, 2.0**90]  # an error of 1e-14 times 2^-64 is still no subnormal number
SCALES = [1e-30, 1e-22, 1e-20, 1e17, 1e19, 1e30]
SIZES = [20, 100, 300]  # the probe's dense path, a dense start of its block, and Lanczos


def scaled(scale, eigenvalues, x):
    return scale * (jnp.sum(eigenvalues * x**2) / 2 + jnp.sum(eigenvalues * x) ** 2 / 1000)


def problem(scale, p, dtype=jnp.float32):
    return Partial(scaled, jnp.asarray(scale, dtype), jnp.arange(p, dtype=dtype)), jnp.ones(p, dtype)


@functools.cache
def exact(p):
    eigenvalues = np.arange(p)
    return np.linalg.eigvalsh(np.diag(eigenvalues) + np.outer(eigenvalues, eigenvalues) / 500)[::-1]


def tracked(scale, p, dtype=jnp.float32, **options):
    loss, x = problem(scale, p, dtype)
    step = np.asarray(0.1 / (scale * exact(p)[0]), dtype)
    return train(loss, x, Partial(optax.sgd, step), 12, {"sharpness": Sharpness(**options)}).probes["sharpness"]


def assert_same_but_for_the_unit(found, expected, scale, quantities):
    for name in set(getattr(found, "__dataclass_fields__", None) or found._fields) - {"layout"}:
        unit = np.float32(scale) if name in quantities else 1
        digits = np.asarray(getattr(found, name)) / unit
        np.testing.assert_array_equal(digits, np.asarray(getattr(expected, name)) / 1, err_msg=name)


@pytest.mark.parametrize("p", SIZES)
def test_a_power_of_two_changes_no_digit_of_a_cold_solve(p):
    expected = sharpness(*problem(1.0, p), k=2)
    for scale in POWERS:
        found = sharpness(*problem(scale, p), k=2)
        assert_same_but_for_the_unit(found, expected, scale, {"values", "errors", "upper", "residuals"})


@pytest.mark.parametrize("p", SIZES)
def test_a_power_of_two_changes_no_digit_of_a_track(p):
    expected = tracked(1.0, p, k=2)
    for scale in POWERS:
        found = tracked(scale, p, k=2)
        assert_same_but_for_the_unit(found, expected, scale, {"values", "errors", "residuals", "upper", "block"})


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("p", SIZES)
def test_any_unit_within_the_range_of_single_precision(p, scale):
    cold = sharpness(*problem(scale, p), k=2)
    assert cold.converged
    np.testing.assert_allclose(np.float64(cold.values) / scale, exact(p)[:2], rtol=1e-3)
    assert float(cold.upper) / scale >= exact(p)[0] * (1 - 1e-5)
    track = tracked(scale, p, k=2)
    assert track.converged.all()
    np.testing.assert_allclose(np.float64(track.values) / scale, np.tile(exact(p)[:2], (12, 1)), rtol=1e-3)
    assert (
        abs(int(track.hvps.sum() - tracked(1.0, p, k=2).hvps.sum())) <= 1
    )  # it rounds, so one may be due a step later


def test_without_double_precision_to_fall_back_on():
    with jax.enable_x64(False):
        for scale in (1e-30, 1e30):
            spectrum = sharpness(*problem(scale, 20), k=2)
            assert spectrum.converged
            np.testing.assert_allclose(np.float64(spectrum.values) / scale, exact(20)[:2], rtol=1e-3)


def test_double_precision_has_a_range_too():
    for scale in (1e-250, 1e250):
        spectrum = sharpness(*problem(scale, 300, jnp.float64))
        np.testing.assert_allclose(spectrum.values / scale, exact(300)[:1], rtol=1e-3)


def test_each_of_a_batch_has_its_own_unit():
    @jax.jit
    @jax.vmap
    def solve(scale):
        spectrum = sharpness(*problem(scale, 300))
        return spectrum.values[0] / scale, spectrum.converged, spectrum.hvps

    values, converged, hvps = solve(jnp.asarray([1e-30, 1.0, 1e30], jnp.float32))
    np.testing.assert_allclose(values, exact(300)[0], rtol=1e-3)
    assert converged.all()
    assert (hvps == hvps[1]).all()


def test_a_hessian_that_moves_through_the_whole_range_and_back_is_followed():
    eigenvalues = jnp.arange(300, dtype=jnp.float32).at[-1].set(400)

    def moving(params):
        return jnp.exp(60 - jnp.abs(params["clock"])) * jnp.sum(eigenvalues * params["x"] ** 2) / 2

    start = {"clock": jnp.asarray(-120, jnp.float32), "x": jnp.zeros(300, jnp.float32)}
    advance = optax.stateless(lambda _, params: {"clock": jnp.full_like(params["clock"], 0.5), "x": 0 * params["x"]})
    run = train(moving, start, advance, 480, {"sharpness": Sharpness(), "clock": lambda params: params["clock"]})
    scales = np.exp(60 - np.abs(np.float64(run.probes["clock"])))
    np.testing.assert_allclose(np.float64(run.probes["sharpness"].values[:, 0]) / scales, 400, rtol=1e-3)
    assert run.probes["sharpness"].converged.all()


def test_a_starved_solve_is_not_called_infinite():
    spectrum = sharpness(*problem(1e30, 300), k=2, max_hvps=2, throw=False)
    assert "max_hvps" in spectrum.message


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_the_unit_is_the_power_of_two_next_below(dtype):
    limits = np.finfo(dtype)
    powers = np.ldexp(np.ones((), dtype), np.arange(limits.minexp, limits.maxexp))
    below = np.nextafter(2 * powers[:-1], powers[:-1])
    units = jax.jit(jax.vmap(binary_unit))
    np.testing.assert_array_equal(units(np.stack([0 * powers, -powers], axis=1)), powers)
    np.testing.assert_array_equal(units(np.stack([powers[:-1], below], axis=1)), powers[:-1])
    assert binary_unit(jnp.zeros(3, dtype)) == 1
    for bad in (np.inf, np.nan):
        assert binary_unit(jnp.asarray([0.25, bad], dtype)) == 1
