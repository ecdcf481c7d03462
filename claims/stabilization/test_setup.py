"""What the predicted dynamics is set up with: how the sharpness splits in two, and where x is stable."""

import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source, curvature
from eosbench.curvature import dense_hessian, dense_sharpness
from eosbench.problems import Dataset, flattened, mlp

decomposition = Claim(
    "stabilization/decomposition",
    source=Source("shapira-review", "Section 4.1, decomposition of the sharpness"),
    printed=(
        r"$S(\theta_t) \approx \frac{2}{\eta} + \nabla S(\theta_0)^\top(\theta_t - \theta_0) = \frac{2}{\eta} + "
        r"\langle \nabla S(\theta_0), u \rangle u + y_t$ [read $x_t$ for the last $u$; $\approx$ in first order of "
        r"the displacement]."
    ),
    expected="holds",
    uses=("stabilization/sharpness-gradient",),
)


@decomposition.check(replicate=[0, 1, 2, 3], controls={"without the part along u": dict(along=0.0)})
def test_the_sharpness_is_that_of_both_directions_in_first_order(evidence, replicate, along=1.0):
    """On a small network; in units in which the sharpness at θ_0 is 2/eta."""
    random = np.random.default_rng(evidence.seed(replicate))
    data = Dataset(random.normal(size=(20, 4)), random.normal(size=(20, 2)))
    loss, start = flattened(*mlp(data, jax.random.key(0), width=4))
    origin = jnp.asarray(random.normal(size=start.size))
    values, vectors = np.linalg.eigh(dense_hessian(loss, origin))
    evidence.requires("the top eigenvalue is simple", values[-1] - values[-2] > 1e-3 * values[-1])
    u = vectors[:, -1]
    slope = np.asarray(curvature.sharpness_gradient(loss, origin, jnp.asarray(u)))
    across = slope - (slope @ u) * u
    direction = u + across / np.linalg.norm(across)
    radii = np.geomspace(1e-3, 1e-5, 5)
    moved = radii[:, None] * direction
    x, y = moved @ u, moved @ across
    evidence.equal("∇S·(θ_t - θ_0)", along * (slope @ u) * x + y, moved @ slope, scale=np.abs(slope).max())
    sharpness = np.array([dense_sharpness(loss, origin + step) for step in moved])
    remainder = np.abs(sharpness - values[-1] - along * (slope @ u) * x - y)
    evidence.rate("remainder", radii, remainder, exponent=2, tolerance=0.03)
    axes = ("displacement", "remainder")
    evidence.series(f"network {replicate + 1}", radii, remainder, axes=axes, scale="loglog", style="points")


STEPS = 200

stable_where_y_is_negative = Claim(
    "stabilization/stable-where-y-is-negative",
    source=Source("shapira-review", "Section 4.2, first paragraph"),
    printed=(
        r"The trajectory $(x_t)$ behaves as the trajectory of gradient descent on a quadratic function with sharpness "
        r"$\frac{2}{\eta} + y_t$ (recall Example 2.1) [where it is positive]. Hence, the trajectory $(x_t)$ is stable "
        r"if and only if $y_t < 0$. When $y_t > 0$, $x_t$ diverges exponentially with increasing absolute values."
    ),
    expected="holds",
    uses=("descent/quadratic-regimes",),
)


@stable_where_y_is_negative.check(
    eta=[0.01, 1.0, 30.0],
    controls={
        "a sharpness 2/eta + y below zero": dict(low=-1.1),
        "an edge 2 % below 2/eta": dict(edge=0.98),
    },
)
def test_x_shrinks_exactly_where_y_is_negative(evidence, eta, low=-0.999, edge=1.0):
    """y is held fixed, over a grid in units of 2/eta on which it is never 0."""
    y = np.linspace(low, 1, 2001) * 2 / eta
    evidence.requires("2/eta + y > 0", np.all(2 / eta + y > 0))
    evidence.requires("y is not 0", np.all(y != 0))
    x = np.ones(y.size)
    for _ in range(STEPS):
        x = x - eta * (edge * 2 / eta + y) * x
    evidence.equal("|x| shrinks, against y < 0", np.abs(x) < 1, y < 0)
    growth = np.log(np.abs(x[y > 0])) / STEPS
    evidence.close("growth of log |x| per step, where y > 0", growth, np.log1p(eta * y[y > 0]), 1e-10)
