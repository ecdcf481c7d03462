"""The curvature of the square root of a loss, next to its minimizers."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source
from eosbench.curvature import dense_sharpness
from eosbench.problems import curved_valley, curved_valley_point, skewed_valley, valley


def dome(x):
    """A quadratic of rank 3 in R⁴, with eigenvalues 4, 2, 1 and 0 along the axes."""
    return (4 * x[0] ** 2 + 2 * x[1] ** 2 + x[2] ** 2) / 2


POINT = {
    curved_valley: np.asarray(curved_valley_point(np.array([0.9, 0.7]))),
    dome: np.zeros(4),
    valley: np.array([0.8, 0.0]),
    skewed_valley: np.array([0.8, 0.0]),
}


@eqx.filter_jit
def along(loss, point, direction, distances):
    """√L, and the largest eigenvalue of its Hessian, at these distances from the point."""

    def root(x):
        return jnp.sqrt(loss(x))

    return jax.vmap(lambda d: (root(point + d * direction), dense_sharpness(root, point + d * direction)))(distances)


hessian_diverges = Claim(
    "sqrt/hessian-diverges",
    source=Source("arora-talk", "This paper (setting 1): GD on √L, Note"),
    printed=(
        r"$\lambda_{max}(\nabla^2\sqrt{L})$ diverges when $L \rightarrow 0$, provided $\nabla^2 L$ has rank at least 2."
    ),
    expected="holds",
)


@hessian_diverges.check(
    loss=[curved_valley, dome],
    direction=["v_1", "v_2", "generic"],
    controls={"rank one": dict(loss=valley), "rank one with a cubic term": dict(loss=skewed_valley)},
)
def test_the_top_eigenvalue_is_inverse_to_the_root(evidence, loss, direction):
    """With `u = H^½ d/‖H^½ d‖`, √L λ_max(∇²√L) tends to half the top eigenvalue of `H^½ (I - u uᵀ) H^½`."""
    point = POINT[loss]
    hessian = np.asarray(jax.hessian(loss)(point))
    eigenvalues, vectors = np.linalg.eigh(hessian)
    generic = np.random.default_rng(evidence.seed()).normal(size=len(point))
    d = {"v_1": vectors[:, -1], "v_2": vectors[:, -2], "generic": generic}[direction]
    d = d / np.sqrt(d @ hessian @ d)
    distances = np.geomspace(1e-2, 1e-5, 7)
    roots, top = map(np.asarray, along(loss, point, d, distances))
    evidence.rate("λ_max(∇²√L) against √L", roots, top, exponent=-1, tolerance=0.005)

    half = vectors * np.sqrt(np.maximum(eigenvalues, 0)) @ vectors.T
    u = half @ d
    limit = np.linalg.eigvalsh(half @ (np.eye(len(d)) - np.outer(u, u)) @ half)[-1] / 2
    evidence.close("√L λ_max(∇²√L) at the nearest point", roots[-1] * top[-1], limit, 1e-3)
    evidence.series(direction, roots, top, axes=("√L", "λ_max(∇²√L)"), style="points", scale="loglog")
