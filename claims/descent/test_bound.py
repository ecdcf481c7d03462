"""What is said of the descent lemma's bound besides: where it is lowest, and how smooth the loss is along a step."""

import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source
from eosbench.curvature import stableness
from eosbench.problems import valley

from .setting import descent_bound, hyperbola

GRID = 40_001  # step sizes up to 2/l, so that the lowest is known to 5e-5 of 1/l

best_step = Claim(
    "descent/best-step",
    source=Source("shapira-review", "Lemma 1, after the proof"),
    printed=r"The right-hand side is minimized when $\eta = 1/\ell$.",
    expected="holds",
    uses=("descent/inequality",),
)


@best_step.check(smoothness=[0.3, 1.0, 40.0], controls={"a bound with twice the weight of eta l": dict(weight=2.0)})
def test_the_step_size_of_the_lowest_bound(evidence, smoothness, weight=1.0):
    gradient = np.random.default_rng(evidence.seed()).normal(size=5)
    etas = np.linspace(0, 2 / smoothness, GRID)
    bounds = descent_bound(etas, weight * smoothness, gradient)
    lowest = etas[np.argmin(bounds)]
    evidence.constant("1 in eta = 1/l", 1.0, lowest * smoothness, 1e-4, uncertainty=2 / GRID)
    evidence.close("the bound there, of -‖∇L‖²/(2 l)", bounds.min() * 2 * smoothness / -(gradient @ gradient), 1, 1e-8)
    shown, axes = slice(None, None, 100), ("eta l", "bound / (‖∇L‖²/l)")
    evidence.series(
        f"l = {smoothness:g}",
        etas[shown] * smoothness,
        bounds[shown] * smoothness / (gradient @ gradient),
        axes=axes,
    )


def saddle(x):
    """The largest eigenvalue is 1, the lowest -3."""
    return x[0] ** 2 / 2 - 3 * x[1] ** 2 / 2


def lipschitz(loss, x, eta, points=65):
    """Of the segment of a step: the largest ‖∇L(a) - ∇L(b)‖/‖a - b‖ of neighbours, and the extreme eigenvalues."""
    step = -eta * jax.grad(loss)(x)
    segment = x + jnp.linspace(0, 1, points)[:, None] * step
    gradients = jax.vmap(jax.grad(loss))(segment)
    slopes = jnp.linalg.norm(jnp.diff(gradients, axis=0), axis=1) * (points - 1) / jnp.linalg.norm(step)
    spectrum = jnp.linalg.eigvalsh(jax.vmap(jax.hessian(loss))(segment))
    return slopes.max(), spectrum[:, 0].min(), spectrum[:, -1].max()


segment_smoothness = Claim(
    "descent/segment-smoothness",
    source=Source("cho-slides", "Stableness Definition 1.1, note"),
    printed=(
        r"$L$ is $\left(\frac{S_L(x, \eta)}{\eta}\right)$-smooth on a line segment between $x$ and $x - \eta \nabla "
        r"L(x)$."
    ),
    corrected=(
        r"Where no eigenvalue of $\nabla^2 L$ on the segment is below $-\frac{S_L(x, \eta)}{\eta}$, $L$ is "
        r"$\left(\frac{S_L(x, \eta)}{\eta}\right)$-smooth on the line segment between $x$ and $x - \eta \nabla L(x)$."
    ),
    expected="corrected",
    severity="missing hypothesis",
    why="Stableness bounds the largest eigenvalue alone, and a more negative one makes the gradient change faster.",
)


@segment_smoothness.check(
    loss=[hyperbola, valley],
    controls={
        "2 % less than the stableness": dict(share=0.98),
        "a saddle whose lowest eigenvalue is -3": dict(loss=saddle, everywhere=True),
    },
)
def test_the_gradient_changes_no_faster_than_the_stableness_says(evidence, loss, share=1.0, everywhere=False):
    """In the steps on whose segments no eigenvalue is too low."""
    random = np.random.default_rng(evidence.seed())
    x, etas = random.normal(size=(200, 2)), random.uniform(0.1, 2, size=200)
    measured, lowest, largest = map(np.asarray, jax.jit(jax.vmap(lambda x, eta: lipschitz(loss, x, eta)))(x, etas))
    s = np.asarray(jax.jit(jax.vmap(lambda x, eta: stableness(loss, x, eta, points=65, zooms=0)))(x, etas))
    kept = everywhere | (lowest >= -largest)
    evidence.requires("no eigenvalue below -S_L/eta", np.all(lowest[kept] >= -largest[kept]))
    evidence.requires("that is so in half of the steps or more", kept.mean() >= 0.5)
    # Between two of the 65 points the largest eigenvalue may be a little larger than at them.
    evidence.at_most("‖∇L(a) - ∇L(b)‖/‖a - b‖ over S_L/eta", (measured / (share * s / etas))[kept], 1 + 1e-3)


@segment_smoothness.counterexample(eta=0.1)
def test_the_gradient_of_a_saddle_changes_faster(evidence, eta):
    x = jnp.array([0.0, 1.0])
    measured, *_ = lipschitz(saddle, x, eta)
    s = stableness(saddle, x, eta, points=65, zooms=0)
    evidence.at_most("‖∇L(a) - ∇L(b)‖/‖a - b‖ over S_L/eta", float(measured * eta / s), 1)
