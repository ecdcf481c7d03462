"""The sharpness-constrained flow: below the edge, held at it, and where there is none."""

import jax.numpy as jnp
import numpy as np

from eosbench.dynamics import central_velocity
from eosbench.problems import SelfStabilizingLoss


def sharpening(w):
    """½ (1 + y) x² - a y with a = 0.3: y is the change of the sharpness, which rises."""
    x, y = w
    return (1 + y) * x**2 / 2 - 0.3 * y


def test_below_the_edge_it_is_gradient_flow():
    found = central_velocity(sharpening, [0.2, 0.1], 0.5)
    assert (found.status, found.variance) == ("stable", 0.0)
    np.testing.assert_allclose(found.velocity, [-0.22, 0.3 - 0.02], rtol=1e-12)


def test_at_the_edge_the_variance_balances_the_sharpening():
    """∇S = (0, 1) on x = 0, so that σ² = 2a."""
    found = central_velocity(sharpening, [0.0, 3.0], 0.5)
    assert found.status == "held"
    np.testing.assert_allclose(found.variance, 0.6, rtol=1e-9)
    np.testing.assert_allclose(found.velocity, [0, 0], atol=1e-12)
    assert found.sharpness == 4.0


def test_the_constants_of_self_stabilization():
    """σ² = 2 alpha/beta, at a point whose constants are known."""
    found = central_velocity(SelfStabilizingLoss(0.1, 0.04, 3.0, 0.0), np.zeros(2), 0.1)
    np.testing.assert_allclose(found.variance, 2 * 0.04 / 3.0, rtol=1e-9)


def test_where_the_sharpness_falls_no_variance_is_needed():
    found = central_velocity(lambda w: (1 + w[1]) * w[0] ** 2 / 2 + 0.3 * w[1], [0.0, 3.0], 0.5)
    assert (found.status, found.variance) == ("held", 0.0)
    np.testing.assert_allclose(found.velocity, [0, -0.3], atol=1e-12)


def test_where_there_is_none_it_says_why_and_gives_no_number():
    cases = [
        (lambda w: jnp.sum(w**2) / 2 - jnp.sum(w**4) / 24, [0.0], 2.1, "no variance lowers it"),
        (sharpening, [0.0, 3.1], 0.5, "does not lead here"),
        (lambda w: jnp.sum((1 + w[2]) * w[:2] ** 2) / 2 - w[2], [0.0, 0.0, 3.0], 0.5, "two eigenvalues"),
    ]
    for loss, w, eta, reason in cases:
        found = central_velocity(loss, w, eta)
        assert (found.status, found.velocity, found.variance) == ("infeasible", None, None)
        assert reason in found.reason
