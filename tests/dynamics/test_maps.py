import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eosbench.dynamics._maps import (
    ends_where,
    gd_step,
    gradient_descent,
    iterate,
    ngd_step,
    normalized_gd,
    sqrt_gd,
    sqrt_gd_step,
    trajectory,
)


def bowl(x):
    """A loss with non-trivial third derivatives; its gradient by hand is `bowl_gradient`."""
    return jnp.sum(x**2) + jnp.exp(x[0]) * x[1] ** 2


def bowl_gradient(x):
    return np.array([2 * x[0] + np.exp(x[0]) * x[1] ** 2, 2 * x[1] + 2 * np.exp(x[0]) * x[1]])


START = np.array([0.7, -0.4])


def by_hand(method, x, eta, steps):
    for _ in range(steps):
        g = bowl_gradient(x)
        if method == "normalized":
            g = g / np.linalg.norm(g)
        elif method == "root":
            g = g / (2 * np.sqrt(x @ x + np.exp(x[0]) * x[1] ** 2))
        x = x - eta * g
    return x


@pytest.mark.parametrize(("run", "method"), [(gradient_descent, ""), (normalized_gd, "normalized"), (sqrt_gd, "root")])
@pytest.mark.parametrize("steps", [0, 1, 7])
def test_methods_match_loops_written_by_hand(run, method, steps):
    np.testing.assert_allclose(run(bowl, START, 0.05, steps), by_hand(method, START, 0.05, steps), rtol=1e-13)


def test_gradient_descent_on_a_quadratic_is_a_power():
    x = gradient_descent(lambda x: 1.5 * jnp.sum(x**2), np.array([2.0]), 0.1, steps=20)
    np.testing.assert_allclose(x, 2.0 * 0.7**20, rtol=1e-13)


def test_every_normalized_step_has_length_eta():
    path = trajectory(ngd_step(bowl, 0.03), START, 40)
    np.testing.assert_allclose(np.linalg.norm(np.diff(path, axis=0), axis=1), 0.03, rtol=1e-12)


def test_trajectory_holds_all_iterates_and_only_what_is_observed():
    step = sqrt_gd_step(bowl, 0.05)
    path = trajectory(step, START, 6)
    assert path.shape == (7, 2)
    for t in range(7):
        np.testing.assert_array_equal(path[t], iterate(step, START, t))
    np.testing.assert_array_equal(trajectory(step, START, 7, every=3), path[::3])
    seen = trajectory(step, START, 6, lambda x: {"loss": bowl(x), "first": x[0]})
    np.testing.assert_allclose(seen["loss"], [bowl(x) for x in path], rtol=1e-14)
    np.testing.assert_array_equal(seen["first"], path[:, 0])


def test_the_ends_of_the_paths_that_stay():
    eta, steps = 1.1, 30

    def product(factors):
        return jnp.sum((factors[0] * factors[1] - 1) ** 2) / 2

    def stays(factors):
        return jnp.all(factors > 0, axis=0)

    def end(x, y):
        for _ in range(steps):
            if min(x, y) <= 0:
                return None
            x, y = x - eta * (x * y - 1) * y, y - eta * (x * y - 1) * x
        return (x, y) if min(x, y) > 0 else None

    starts = np.array([(0.4, 0.3), (2.5, 0.2), (2.4, 1.5), (-0.5, 0.7), (1.2, 1.1)])
    expected = [end(*start) for start in starts if end(*start)]
    assert 0 < len(expected) < 4  # more than the start that is not positive itself goes astray
    found = ends_where(gd_step(product, eta), starts.T, steps, stays)
    np.testing.assert_allclose(found.T, expected, rtol=1e-12)
    assert ends_where(gd_step(product, eta), starts.T[:, 3:4], steps, stays).shape == (2, 0)


def test_one_compilation_serves_every_step_size_start_and_number_of_steps(compilations):
    runs = [(0.01, 3), (0.02, 5), (np.float64(0.03), 8), (1, 0)]
    starts = [START * (1 + eta) for eta, _ in runs]
    for i, ((eta, steps), start) in enumerate(zip(runs, starts, strict=True)):
        gradient_descent(bowl, start, eta, steps)
        assert compilations() == 0 or i == 0


def test_vmap_over_starts_and_step_sizes():
    etas, starts = jnp.array([0.01, 0.05, 0.1]), START * np.array([[1.0], [0.5], [2.0]])
    together = jax.vmap(lambda x, eta: normalized_gd(bowl, x, eta, 9))(starts, etas)
    for x, start, eta in zip(together, starts, etas, strict=True):
        np.testing.assert_allclose(x, by_hand("normalized", np.asarray(start), float(eta), 9), rtol=1e-12)


@pytest.mark.parametrize("step", [gd_step, ngd_step, sqrt_gd_step])
def test_precision_is_that_of_the_start(step):
    assert iterate(step(bowl, 0.1), START.astype(np.float32), 3).dtype == jnp.float32


def test_the_undefined_steps_are_nan():
    assert np.isnan(normalized_gd(bowl, np.zeros(2), 0.1, 1)).all()
    assert np.isnan(sqrt_gd(bowl, np.zeros(2), 0.1, 1)).all()
