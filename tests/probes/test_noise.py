"""Probes of mini-batch noise beside sums over all batches there are, in NumPy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from eosbench import Batches, Every, MiniBatchSharpness, NoiseInteraction, OnBatch, linearize, train

N, SIZE, P = 8, 3, 5
DRAWN = 4000


@pytest.fixture
def problem():
    random = np.random.default_rng(5)
    x, y, w = random.normal(size=(N, P)), random.normal(size=N), random.normal(size=P)
    batches = [list(rows) for rows in itertools.combinations(range(N), SIZE)]
    hessians = np.asarray([x[rows].T @ x[rows] / SIZE for rows in batches])
    gradients = np.asarray([x[rows].T @ (x[rows] @ w - y[rows]) / SIZE for rows in batches])
    return (jnp.asarray(x), jnp.asarray(y)), jnp.asarray(w), hessians, gradients


def loss(w, batch):
    x, y = batch
    return jnp.mean((x @ w - y) ** 2) / 2


def measured(probe, data, w):
    return jax.jit(lambda w: probe.measure(linearize(lambda w: loss(w, data), w), None)[0])(w)


def test_the_interaction_of_gradients_with_the_whole_hessian(problem):
    data, w, hessians, gradients = problem
    hessian, gradient = hessians.mean(0), gradients.mean(0)
    seen = np.einsum("bi,ij,bj->b", gradients, hessian, gradients)
    record = measured(NoiseInteraction(loss, data, SIZE, DRAWN), data, w)
    noise, aware = seen.mean() / (gradient @ gradient), seen.mean() / (gradients**2).sum(1).mean()
    error = seen.std(ddof=1) / (gradient @ gradient) / np.sqrt(DRAWN)
    assert float(record.error) == pytest.approx(error, rel=0.1)
    assert abs(float(record.noise) - noise) < 4 * error
    assert float(record.aware) == pytest.approx(aware, rel=0.05)
    assert record.aware <= np.linalg.eigvalsh(hessian)[-1]


def test_all_examples_in_a_batch_leave_no_noise(problem):
    data, w, hessians, gradients = problem
    record = measured(NoiseInteraction(loss, data, N, 2), data, w)
    g, hessian = gradients.mean(0), hessians.mean(0)
    assert float(record.noise) == pytest.approx(g @ hessian @ g / (g @ g), rel=1e-12)
    assert float(record.aware) == pytest.approx(float(record.noise), rel=1e-12)
    assert float(record.error) < 1e-12
    alone = measured(MiniBatchSharpness(loss, data, N, 2), data, w)
    assert float(alone.mean) == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=1e-9)


def test_the_mean_sharpness_of_mini_batches(problem):
    data, w, hessians, _ = problem
    largest = np.linalg.eigvalsh(hessians)[:, -1]
    record = measured(MiniBatchSharpness(loss, data, SIZE, 1000), data, w)
    error = largest.std(ddof=1) / np.sqrt(1000)
    assert float(record.error) == pytest.approx(error, rel=0.1)
    assert abs(float(record.mean) - largest.mean()) < 4 * error
    assert record.converged
    assert record.mean > np.linalg.eigvalsh(hessians.mean(0))[-1]


@pytest.mark.parametrize("unit", [1e-18, 1e18])
def test_in_any_unit_of_the_loss(problem, unit):
    (x, y), w, _, _ = problem
    data, w = (x.astype(jnp.float32), y.astype(jnp.float32)), w.astype(jnp.float32)

    def scaled(w, batch):
        return jnp.float32(unit) * loss(w, batch)

    for kind in (NoiseInteraction, MiniBatchSharpness):
        plain = measured(kind(loss, data, SIZE, 4), data, w)
        probe = kind(scaled, data, SIZE, 4)
        record, _ = jax.jit(lambda w, probe=probe: probe.measure(linearize(lambda w: scaled(w, data), w), None))(w)
        for one, other in zip(plain, record, strict=True):
            if one.dtype != bool:
                assert float(other) == pytest.approx(unit * float(one), rel=1e-3)


def test_along_a_run_on_mini_batches_they_measure_at_its_points(problem):
    data, w, _, _ = problem
    probe = NoiseInteraction(loss, data, SIZE)
    run = train(loss, w, optax.sgd(0.05), 7, {"noise": Every(3, probe)}, batches=Batches(data, SIZE))
    assert run.probes["noise"].noise.shape == (3,)
    middle = train(loss, w, optax.sgd(0.05), 3, batches=Batches(data, SIZE)).params
    point = jax.jit(lambda w: probe.measure(linearize(lambda w: loss(w, data), w, step=3), None)[0].noise)
    assert float(run.probes["noise"].noise[1]) == pytest.approx(float(point(middle)), rel=1e-12)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda data: NoiseInteraction(loss, data, N + 1), f"size of NoiseInteraction is {N + 1}: .* at most {N}"),
        (lambda data: MiniBatchSharpness(loss, data, 0), "size of MiniBatchSharpness is 0"),
        (lambda data: NoiseInteraction(loss, data, 2, 1), "batches of NoiseInteraction is 1: it must be at least 2"),
        (lambda data: NoiseInteraction(loss, (data[0], 3.0), 2), "data of NoiseInteraction holds a float"),
    ],
)
def test_what_cannot_be_drawn_is_refused(problem, made, told):
    with pytest.raises((TypeError, ValueError), match=told):
        made(problem[0])


def test_a_probe_of_its_own_batches_is_also_one_on_the_batch(problem):
    data, w, _, _ = problem
    probe = OnBatch(MiniBatchSharpness(loss, data, N, 2))
    run = train(loss, w, optax.sgd(0.05), 2, {"own": probe}, batches=Batches(data, SIZE))
    assert np.ptp(run.probes["own"].mean) < 1e-9
