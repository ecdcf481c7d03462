"""Networks at the edge of stability along their top eigenvector, on real images (Chen and Bruna 2023, observations).

A tanh network learns 200 handwritten digits by full-batch gradient descent in double precision: their parity, with one
output, or the ten classes. Bounds were fixed before the seeds here were run, on others.
"""

from functools import cache
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import eosbench
from eosbench import Claim, Document, Source
from eosbench.curvature import directional_derivatives
from eosbench.problems import digits, half_squared_error, mlp

poster = Document("chen-bruna-poster", title="Beyond the Edge of Stability via Two-step Gradient Updates (poster)")

STEPS = 3000
EVERY = 150  # steps between observations


class Observation(NamedTuple):
    """Along a run; eigenvalues in units of 2/eta."""

    first: np.ndarray
    second: np.ndarray
    along_first: np.ndarray  # |cos| of the gradient and the top eigenvector
    turning: np.ndarray  # cos of the gradient and the next one
    condition: np.ndarray  # 3 f'''² - f'' f'''' along the top eigenvector, over f''², at the minimum on that line
    elsewhere: np.ndarray  # the same along a random direction


def problem(task, seed):
    data = digits(200, seed=seed)
    if task != "classes":
        parity = np.where(data.targets.argmax(1) % 2, 1, -1)[:, None]
        data = data._replace(targets=parity)
    depth = 0 if task == "linear model" else 2
    loss, params = mlp(data, jax.random.key(seed), width=32, depth=depth, per_sample=half_squared_error, gain=1.0)
    return jax.tree.map(lambda leaf: leaf.astype(float) if eqx.is_inexact_array(leaf) else leaf, (loss, params))


@eqx.filter_jit
def advance(loss, params, eta, steps):
    def step(_, params):
        return jax.tree.map(lambda p, g: p - eta * g, params, jax.grad(loss)(params))

    return jax.lax.fori_loop(0, steps, step, params)


@eqx.filter_jit
def along(loss, params, vectors, random, eta):
    gradient, unravel = ravel_pytree(jax.grad(loss)(params))
    x = ravel_pytree(params)[0]
    following = ravel_pytree(jax.grad(loss)(unravel(x - eta * gradient)))[0]
    components = vectors @ gradient / jnp.linalg.norm(gradient)
    turning = gradient @ following / (jnp.linalg.norm(gradient) * jnp.linalg.norm(following))

    def condition(direction):
        def derivatives(t):
            return directional_derivatives(loss, unravel(x + t * direction), direction)

        def newton(_, t):
            of = derivatives(t)
            return t - of[1] / of[2]

        of = derivatives(jax.lax.fori_loop(0, 10, newton, 0.0))
        return (3 * of[3] ** 2 - of[2] * of[4]) / of[2] ** 2

    return jnp.abs(components[0]), turning, condition(vectors[0]), condition(random / jnp.linalg.norm(random))


@cache
def observe(task, eta, seed):
    loss, params = problem(task, seed)
    seen, random = [], np.random.default_rng(seed)
    for _ in range(STEPS // EVERY):
        params = advance(loss, params, eta, jnp.asarray(EVERY))
        spectrum = eosbench.sharpness(loss, params, k=2, rtol=1e-4, max_hvps=300, throw=False)
        if not spectrum.converged:  # two eigenvalues so close that their vectors mean nothing
            continue
        direction = random.standard_normal(spectrum.vectors.shape[1])
        top = np.asarray(spectrum.values) * eta / 2
        seen.append((*top, *along(loss, params, spectrum.vectors, direction, eta)))
    return Observation(*np.array(seen, float).T)


aligns = Claim(
    "network/gradient-aligns",
    source=Source(poster, "II, Experiments: MLPs on MNIST, Obs 1"),
    printed=r"$v_1$ (Hessian) aligns with $\nabla \text{Loss}$ in direction.",
    corrected=r"... at the edge of stability, once the loss oscillates, where one eigenvalue alone is at $2/\eta$.",
    expected="corrected",
    experiment="network/tanh-network-on-digits",
)


@aligns.check(
    replicate=[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
    controls={
        "far below the edge": dict(eta=0.02),
        "several eigenvalues at 2/eta": dict(alone=2.0),
    },
)
def test_the_gradient_lies_along_the_top_eigenvector(evidence, replicate, eta=0.6, alone=0.9):
    """At every observed step at which the hypotheses are met; 0.98 was chosen on other seeds."""
    seen = observe("parity", eta, evidence.seed(replicate))
    oscillates = (np.abs(seen.first - 1) < 0.03) & (seen.turning < -0.95)
    met = oscillates & (seen.second < alone)
    evidence.requires(
        "at some steps the sharpness is within 3 % of 2/eta and cos(∇L, next ∇L) < -0.95", oscillates.any()
    )
    evidence.requires("and the second eigenvalue is below 0.9 of 2/eta", np.any(oscillates & (seen.second < 0.9)))
    evidence.at_least("|cos(v_1, ∇L)|", seen.along_first[met] if met.any() else seen.along_first, 0.98)
    if oscillates.any():
        axes = ("second eigenvalue in units of 2/η", "|cos(v_1, ∇L)|")
        x, y = seen.second[oscillates], seen.along_first[oscillates]
        evidence.series(f"parity, eta = {eta:g}", x, y, axes=axes, style="points")


@aligns.counterexample(replicate=0)
def test_the_gradient_turns_where_two_eigenvalues_are_at_the_edge(evidence, replicate):
    seen = observe("classes", 0.4, evidence.seed(replicate))
    oscillates = (np.abs(seen.first - 1) < 0.03) & (seen.turning < -0.95)
    evidence.requires("the sharpness is within 3 % of 2/eta and cos(∇L, next ∇L) < -0.95", oscillates.any())
    evidence.at_least("|cos(v_1, ∇L)|", seen.along_first[oscillates], 0.98)


condition = Claim(
    "network/one-d-condition",
    source=Source(poster, "II, Experiments: MLPs on MNIST, Obs 2"),
    printed=r"$3[f^{(3)}]^2 - f''f^{(4)} > 0$ holds at $\bar{\theta}$ [along $v_1$].",
    corrected=r"... as long as the second eigenvalue is below $0.9 \cdot 2/\eta$, that is mostly below the edge.",
    expected="corrected",
    experiment="network/tanh-network-on-digits",
)


@condition.check(
    setting=[("parity", 0.6), ("parity", 0.02), ("classes", 0.3)],
    replicate=[0, 1, 2],
    controls={"a linear model": dict(setting=("linear model", 0.02)), "random directions": dict(direction="random")},
)
def test_the_condition_along_the_top_eigenvector(evidence, setting, replicate, direction="top"):
    """At the minimum on the line through the iterate, for every observed step that meets the hypothesis."""
    task, eta = setting
    seen = observe(task, eta, evidence.seed(replicate))
    alone = seen.second < 0.9
    evidence.requires("at some steps the second eigenvalue is below 0.9 of 2/eta", alone.any())
    evidence.requires("along v_1", direction == "top")
    measured = seen.condition if direction == "top" else seen.elsewhere
    evidence.at_least("(3 f'''² - f'' f'''')/f''²", measured[alone] if alone.any() else measured, 1e-6)
    axes = ("second eigenvalue in units of 2/η", "(3 f'''² - f'' f'''')/f''²")
    evidence.series(f"{task}, eta = {eta:g}", seen.second, measured, axes=axes, style="points")


@condition.counterexample(eta=0.6, runs=8)
def test_the_condition_fails_where_two_eigenvalues_are_at_the_edge(evidence, eta, runs):
    """In some of several runs; the least of all their values counts."""
    seen = [observe("parity", eta, evidence.seed(replicate)) for replicate in range(runs)]
    oscillates = [(np.abs(run.first - 1) < 0.03) & (run.turning < -0.95) for run in seen]
    evidence.requires(
        "the sharpness is within 3 % of 2/eta and cos(∇L, next ∇L) < -0.95", any(met.any() for met in oscillates)
    )
    values = np.concatenate([run.condition[met] for run, met in zip(seen, oscillates, strict=True)])
    evidence.at_least("(3 f'''² - f'' f'''')/f''²", values, 1e-6)
