"""Batch sharpness beside closed forms on quadratics."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from eosbench.curvature import linearize
from eosbench.dynamics import train
from eosbench.probes import BatchSharpness

HESSIANS = np.array([[2.0, 0.1], [0.5, 3.0], [1.0, 1.0], [4.0, 0.2]])  # diagonals, one for each example


def mean_loss(x, batch):
    """The mean of x·H x/2 over the examples."""
    return jnp.mean(batch @ x**2) / 2


def batch_curvature(x, size):
    """Both means over all batches of a size: of g·Hg/|g|², and of g·Hg over that of |g|²."""
    batches = [HESSIANS[list(rows)].mean(0) for rows in itertools.combinations(range(4), size)]
    curvatures = np.array([h**3 @ x**2 for h in batches])
    squares = np.array([h**2 @ x**2 for h in batches])
    return np.mean(curvatures / squares), np.std(curvatures / squares), curvatures.mean() / squares.mean()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_both_means_over_all_batches(size):
    x, drawn = jnp.asarray([1.0, -2.0]), 4000
    probe = BatchSharpness(mean_loss, jnp.asarray(HESSIANS), size, batches=drawn)
    record, _ = jax.jit(lambda x: probe.measure(linearize(lambda x: mean_loss(x, HESSIANS), x), None))(x)
    quotient, spread, ratio = batch_curvature(np.asarray(x), size)
    np.testing.assert_allclose(record.error, spread / np.sqrt(drawn), rtol=0.05)
    assert abs(record.quotient - quotient) <= 4 * record.error
    np.testing.assert_allclose(record.ratio, ratio, rtol=0.02)


def test_a_batch_of_all_examples_is_the_curvature_along_the_gradient():
    x = jnp.asarray([1.0, -2.0])
    probe = BatchSharpness(mean_loss, jnp.asarray(HESSIANS), 4, batches=2)
    record = train(lambda x: mean_loss(x, HESSIANS), x, optax.sgd(0.1), 3, {"batch": probe}).probes["batch"]
    h = HESSIANS.mean(0)
    path = np.array([x * (1 - 0.1 * h) ** t for t in range(3)])
    expected = (path**2 @ h**3) / (path**2 @ h**2)
    np.testing.assert_allclose(record.quotient, expected, rtol=1e-12)
    np.testing.assert_allclose(record.ratio, expected, rtol=1e-12)
    np.testing.assert_allclose(record.error, 0, atol=1e-14)


def test_other_batches_are_drawn_at_each_step_and_the_same_ones_again():
    run = lambda steps, chunk=None: train(  # noqa: E731
        lambda x: mean_loss(x, HESSIANS),
        jnp.asarray([1.0, -2.0]),
        optax.sgd(0.0),
        steps,
        {"batch": BatchSharpness(mean_loss, jnp.asarray(HESSIANS), 1, batches=8)},
        chunk=chunk,
    ).probes["batch"]
    once, again = run(6), run(6, 2)
    np.testing.assert_array_equal(once.quotient, again.quotient)
    assert len(set(once.quotient.tolist())) > 1


def test_batches_of_zero_gradient_are_left_out_of_the_mean_of_quotients():
    rows = jnp.asarray([[0.0, 0.0], [2.0, 0.0]])
    probe = BatchSharpness(mean_loss, rows, 1, batches=64)
    record, _ = probe.measure(linearize(lambda x: mean_loss(x, rows), jnp.asarray([1.0, 1.0])), None)
    np.testing.assert_allclose([record.quotient, record.ratio], [2.0, 2.0], rtol=1e-14)


@pytest.mark.parametrize("unit", [1e-25, 1e-18, 1e18, 1e25])
def test_nothing_depends_on_the_unit_of_the_loss(unit):
    x, rows = jnp.asarray([1.0, -2.0], jnp.float32), jnp.asarray(HESSIANS, jnp.float32)
    scaled = lambda x, batch: jnp.float32(unit) * mean_loss(x, batch)  # noqa: E731
    records = []
    for loss in (mean_loss, scaled):
        record, _ = BatchSharpness(loss, rows, 2).measure(linearize(lambda x, loss=loss: loss(x, rows), x), None)
        assert {value.dtype for value in record} == {jnp.dtype("float32")}
        records.append(np.asarray(record, np.float64))
    np.testing.assert_allclose(records[1] / unit, records[0], rtol=1e-5)


def test_a_batch_whose_gradient_is_not_finite_is_not_left_out():
    rows = jnp.asarray([[1.0, 2.0], [jnp.nan, 1.0]])
    record, _ = BatchSharpness(mean_loss, rows, 1, 64).measure(linearize(lambda x: jnp.sum(x**2), jnp.ones(2)), None)
    assert np.isnan(record).all()


def test_products_on_batches_are_as_precise_as_those_on_all_data():
    probe, x = BatchSharpness(mean_loss, jnp.asarray(HESSIANS), 2), jnp.ones(2)
    point = linearize(lambda x: jnp.sum(x**2), x)
    with jax.default_matmul_precision("default"):  # as a user has it; claims have the highest
        measured = str(jax.make_jaxpr(lambda x: probe.measure(eqx.tree_at(lambda p: p.params, point, x), None)[0])(x))
    assert measured.count("dot_general") == measured.count("precision=(Precision.HIGHEST")


@pytest.mark.parametrize("loss", [lambda x, batch: batch @ x**2, lambda x, batch: 1.0], ids=["many", "float"])
def test_a_loss_that_is_no_scalar_is_refused(loss):
    probe = BatchSharpness(loss, jnp.asarray(HESSIANS), 2)
    with pytest.raises(TypeError, match="loss must return a real scalar"):
        probe.measure(linearize(lambda x: jnp.sum(x**2), jnp.ones(2)), None)


@pytest.mark.parametrize("data", [HESSIANS.tolist(), {"x": jnp.asarray(HESSIANS), "y": ["a", "b", "c", "d"]}])
def test_data_that_are_no_arrays_are_refused(data):
    with pytest.raises(TypeError, match=r"data of BatchSharpness holds a (float|str): it must be a pytree of arrays"):
        BatchSharpness(mean_loss, data, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BatchSharpness(mean_loss, jnp.ones((4, 2)), 5), "size of BatchSharpness is 5: it must be at most 4"),
        (lambda: BatchSharpness(mean_loss, jnp.ones((4, 2)), 0), "size of BatchSharpness is 0: it must be at least 1"),
        (lambda: BatchSharpness(mean_loss, jnp.ones((4, 2)), 1, 1), "batches of BatchSharpness is 1: it must be at"),
        (lambda: BatchSharpness(mean_loss, (jnp.ones(4), jnp.ones(3)), 1), "has leading axes"),
    ],
)
def test_arguments_without_an_answer_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
