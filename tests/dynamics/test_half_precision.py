"""Parameters in half precision: trained as they are, measured at float32 copies, and told so."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from eosbench import Batches, EdgeDistance, OnBatch, Sharpness, linearize, sharpness, stability, train

P = 300  # beyond the dense path
WARNING = r"params.*has dtype (bfloat16|float16), too short for a Hessian.*float32 copies"
SCALES = np.linspace(0.2, 1.0, P)


def loss(params):
    """sum of c_i x_i^4 / 12, whose Hessian is diag(c_i x_i^2)."""
    x = jnp.concatenate([params["a"], params["b"]])
    return jnp.sum(jnp.asarray(SCALES, jnp.float32) * x.astype(jnp.float32) ** 4) / 12


def top(params):
    """The largest entry of the Hessian at these very numbers, in float64."""
    x = np.concatenate([np.asarray(params[name].astype(jnp.float32), np.float64) for name in "ab"])
    return float(np.max(SCALES * x**2))


def start(dtype):
    x = 1 + 0.3 * np.random.default_rng(0).standard_normal(P)
    return {"a": jnp.asarray(x[:100], dtype), "b": jnp.asarray(x[100:], dtype)}


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_sharpness_is_that_at_the_very_numbers(dtype):
    params = start(dtype)
    with pytest.warns(UserWarning, match=WARNING):
        spectrum = sharpness(loss, params)
    assert spectrum.values.dtype == jnp.float32
    assert abs(float(spectrum.values[0]) - top(params)) <= spectrum.errors[0] + 1e-6 * top(params)


def test_one_leaf_in_half_precision_is_enough_to_be_told_and_the_others_stay():
    params = start(jnp.float32) | {"b": start(jnp.bfloat16)["b"]}
    with pytest.warns(UserWarning, match=r"params\['b'\] has dtype bfloat16"):
        assert float(sharpness(loss, params).values[0]) == pytest.approx(top(params), rel=1e-5)


def test_it_is_told_once_in_a_call_and_at_the_line_of_the_caller():
    with pytest.warns(UserWarning, match=WARNING) as told:
        train(loss, start(jnp.bfloat16), optax.sgd(0.1), 3, {"sharpness": Sharpness(), "two": Sharpness(k=2)})
    assert [warning.filename for warning in told] == [__file__]


def test_training_without_a_probe_is_plain_and_says_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = train(loss, start(jnp.bfloat16), optax.sgd(0.1), 3)
    assert run.params["a"].dtype == jnp.bfloat16


@pytest.mark.filterwarnings("ignore:params.*too short")
@pytest.mark.parametrize("optimizer", [optax.sgd(0.2), optax.sgd(0.01, 0.9)])
def test_a_probe_measures_every_step_and_leaves_the_steps_as_they_are(optimizer):
    params = start(jnp.bfloat16)
    probes = {"sharpness": Sharpness(), "edge": EdgeDistance(optimizer), "params": lambda params: params}
    run = train(loss, params, optimizer, 12, probes)
    plain = train(loss, params, optimizer, 12)
    for name in "ab":
        np.testing.assert_array_equal(run.params[name], plain.params[name])
    wanted = [top(jax.tree.map(lambda x, t=t: x[t], run.probes["params"])) for t in range(12)]
    track = run.probes["sharpness"]
    values, errors = np.asarray(track.values)[:, 0], np.asarray(track.errors)[:, 0]
    assert (np.abs(values - wanted) <= errors + 1e-6).all()
    assert track.converged.all()


@pytest.mark.filterwarnings("ignore:params.*too short")
def test_the_edge_of_gradient_descent_is_half_the_step_times_the_sharpness():
    run = train(loss, start(jnp.bfloat16), optax.sgd(0.2), 5, {"s": Sharpness(), "e": EdgeDistance(optax.sgd(0.2))})
    np.testing.assert_allclose(run.probes["e"].values, 0.1 * np.asarray(run.probes["s"].values), rtol=1e-3)
    assert stability(optax.sgd(0.2), params=start(jnp.bfloat16)).line == pytest.approx(10)


@pytest.mark.filterwarnings("ignore:params.*too short")
def test_the_loss_of_all_data_and_that_of_the_batch_are_both_measured_at_copies():
    """With loss mean(s) sum c x^4/12, the whole has the factor mean(s), and a batch of one its own s."""
    data = jnp.asarray([1.0, 2.0, 6.0], jnp.float32)
    params = start(jnp.bfloat16)
    batches = Batches(data, 1, key=jax.random.key(5))
    probes = {"whole": Sharpness(), "batch": OnBatch(Sharpness())}
    run = train(lambda x, s: jnp.mean(s) * loss(x), params, optax.sgd(0.0), 9, probes, batches=batches)
    np.testing.assert_allclose(run.probes["whole"].values[:, 0], 3 * top(params), rtol=1e-3)
    drawn = np.asarray(run.probes["batch"].values[:, 0]) / top(params)
    assert {round(float(factor), 2) for factor in drawn} == {1.0, 2.0, 6.0}


@pytest.mark.filterwarnings("ignore:params.*too short")
def test_a_point_of_ones_own_has_products_in_single_precision():
    point = linearize(loss, start(jnp.bfloat16))
    assert point.product(jnp.ones(P, jnp.float32)).dtype == point.gradient.dtype == jnp.float32


@pytest.mark.filterwarnings("ignore:params.*too short")
def test_a_loss_that_takes_no_copies_is_told_what_to_do():
    images, kernel = jnp.ones((2, 1, 4, 4), jnp.bfloat16), jnp.ones((1, 1, 3, 3), jnp.bfloat16)

    def strict(kernel, images):
        return jnp.mean(jax.lax.conv(images, kernel, (1, 1), "SAME").astype(jnp.float32) ** 2)

    train(strict, kernel, optax.sgd(0.1), 1, args=(images,))
    sentence = r"loss does not take float32 copies .*same dtypes.*x\.astype\(params\.dtype\)"
    with pytest.raises(TypeError, match=sentence):
        train(strict, kernel, optax.sgd(0.1), 1, {"sharpness": Sharpness()}, args=(images,))
    with pytest.raises(TypeError, match=sentence):
        sharpness(strict, kernel, args=(images,))
