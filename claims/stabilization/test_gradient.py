"""The gradient of the sharpness: what it is, and that gradient flow goes along with it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source, curvature
from eosbench.curvature import dense_hessian, dense_sharpness
from eosbench.problems import Dataset, flattened, mlp
from eosbench.proof import Identity, prove_identity

from .setting import approach


@eqx.filter_jit
def slope_of_eigenvalue(loss, x):
    return jax.grad(lambda x: jnp.linalg.eigvalsh(jax.hessian(loss)(x))[-1])(x)


sharpness_gradient = Claim(
    "stabilization/sharpness-gradient",
    source=Source("shapira-review", "Lemma 2 (Self-Stabilization Property)"),
    printed=(
        r"For any $\theta \in \mathbb{R}^p$, where $u(\theta)$ denotes the top eigenvector of $\nabla^2 "
        r"\mathcal{L}(\theta)$: $\nabla S(\theta) = \nabla^3 \mathcal{L}(\theta)(:, u(\theta), u(\theta))$. "
        r"[Definition 2.1: $u(\theta)$ is defined where the largest eigenvalue is unique; Assumption 1 makes it so.]"
    ),
    expected="holds",
)


@sharpness_gradient.check(replicate=[0, 1, 2, 3], controls={"the second eigenvector": dict(which=2)})
def test_the_gradient_of_the_sharpness(evidence, replicate, which=1):
    """On a small network, against the derivative of LAPACK's eigenvalue and against central differences of it."""
    random = np.random.default_rng(evidence.seed(replicate))
    data = Dataset(random.normal(size=(20, 4)), random.normal(size=(20, 2)))
    loss, start = flattened(*mlp(data, jax.random.key(0), width=4))
    x = jnp.asarray(random.normal(size=start.size))
    values, vectors = np.linalg.eigh(dense_hessian(loss, x))
    evidence.requires("the top eigenvalue is simple", values[-1] - values[-2] > 1e-3 * values[-1])
    slope = np.asarray(curvature.sharpness_gradient(loss, x, jnp.asarray(vectors[:, -which])))
    scale = np.abs(slope).max()
    evidence.close("∇S by way of the eigenvalue", slope_of_eigenvalue(loss, x), slope, 1e-11 * scale)
    directions = random.normal(size=(3, x.size)) / np.sqrt(x.size)
    for h, tolerance in ((1e-3, 1e-5), (1e-4, 1e-7)):
        ahead, behind = (np.array([dense_sharpness(loss, x + s * h * v) for v in directions]) for s in (1, -1))
        evidence.close(
            f"central difference, h = {h:g}", (ahead - behind) / (2 * h), directions @ slope, tolerance * scale
        )


def crossing_curvatures(point):
    """½ (1 + z) x² + ½ (1 - z) y²: at the origin S = max(1 + z, 1 - z) has a kink."""
    x, y, z = point
    return (1 + z) * x**2 / 2 + (1 - z) * y**2 / 2


@sharpness_gradient.check(proves=True, controls={"the derivative 2 % larger": dict(factor="51/50")})
def test_the_derivative_of_a_simple_eigenvalue(evidence, factor="1"):
    """Along any direction, in every dimension; G is the derivative of H = ∇²L, and du that of u.

    That a simple eigenvalue and its unit eigenvector have derivatives is taken as known. S = uᵀHu has three terms; with
    H u = S u and uᵀdu = 0, the derivative of uᵀu = 1, the first and the last vanish.
    """
    name = "dS"
    identity = Identity(
        ((name, "du.T@H@u + u.T@G@u + u.T@H@du", "=", f"{factor}*u.T@G@u"),),
        "S",
        {"H": ("p", "p", "symmetric"), "G": ("p", "p", "symmetric"), "u": ("p", "1"), "du": ("p", "1")},
        given=(("H@u", "S*u"), ("u.T@du", "0")),
        remainder={name: "2*du.T@given1 + 2*S*given2"},
    )
    evidence.proved("in every dimension", prove_identity(identity), identity.theorem)


@sharpness_gradient.check(z=[0.5, -0.5], controls={"a double top eigenvalue": dict(z=0.0)})
def test_the_slope_from_both_sides(evidence, z, h=1e-3):
    """Where two eigenvalues cross, the largest has a kink, and the formula gives but one of its slopes."""
    point = np.array([0.0, 0.0, z])
    values, vectors = np.linalg.eigh(jax.hessian(crossing_curvatures)(jnp.asarray(point)))
    u = jnp.asarray(vectors[:, -1])
    evidence.requires("the top eigenvalue is simple", values[-1] - values[-2] > 1e-3 * values[-1])
    predicted = curvature.sharpness_gradient(crossing_curvatures, jnp.asarray(point), u)[2]
    e_z = np.array([0, 0, h])
    ahead, here, behind = (dense_sharpness(crossing_curvatures, p) for p in (point + e_z, point, point - e_z))
    evidence.close("∂S/∂z from above", (ahead - here) / h, predicted, 1e-6)
    evidence.close("∂S/∂z from below", (here - behind) / h, predicted, 1e-6)


alpha_positive = Claim(
    "stabilization/alpha-positive",
    source=Source("shapira-review", "Assumption 2 (Progressive Sharpening)"),
    printed=(
        r"$\alpha(\theta_0) := -\nabla \mathcal{L}(\theta_0)^\top \nabla S(\theta_0) > 0$ [at $\theta_0$, where "
        r"$S(\theta_0) = 2/\eta$]."
    ),
    expected="holds",
)


@alpha_positive.check(
    replicate=[5, 6, 7, 8, 9],  # 0 to 4 had been looked at
    controls={
        "a start at 2/eta, where the sharpness falls at first": dict(step_factor=1.0),
        "weights so large at the start that nothing sharpens": dict(gain=3.0),
    },
)
def test_gradient_flow_sharpens_at_the_crossing(evidence, replicate, step_factor=1.3, gain=1 / 3):
    """Where the sharpness does not reach 2/eta, the last step stands for the crossing."""
    run = approach(evidence.seed(replicate), step_factor, gain=gain)
    evidence.spent(run.products)
    evidence.requires("the sharpness starts below 2/eta and reaches it", run.crosses)
    evidence.at_least("alpha at the first step with S >= 2/eta", run.alpha[-1], 0)
    lowest = int(np.argmin(run.sharpness))
    negative = int(np.sum(run.alpha[lowest + 1 :] <= 0))
    evidence.at_most("not printed: steps from the lowest sharpness to there with alpha <= 0", negative, 0)
    steps, name = np.arange(len(run.alpha)), f"network {replicate - 4}"
    for part, label in ((slice(lowest + 1), "first steps"), (slice(lowest + 1, None), "later steps")):
        evidence.series(name, steps[part], run.alpha[part], axes=(label, "α = -∇L·∇S"))
