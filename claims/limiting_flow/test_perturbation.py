"""What the noise in the perturbed methods is for."""

import jax.numpy as jnp
import numpy as np
from scipy.optimize import brentq

from eosbench import Claim, Source
from eosbench.dynamics import iterate, limiting_flow, limiting_map, ngd_step
from eosbench.problems import two_valleys

UNLUCKY = np.array([1.0, 1.2, 0.0, 0.6])  # z_1 = 0: no component along v_1, ever
NOISE = 1e-12  # eta^100, 1e-170 at most here, is lost when it is added to a coordinate of order one
KICKS, T_2 = 15, 1.5  # how often, and the length of Phase II; 0.1/eta² steps are whole


def perturbed(eta, noise, seed):
    """Φ at the end of Phase I and after T_2/eta² further steps with uniform noise now and then."""
    random, step = np.random.default_rng(seed), ngd_step(two_valleys, eta)
    after = x = iterate(step, UNLUCKY, 2.0 / eta)
    for _ in range(KICKS):
        x = iterate(step, x + noise * random.uniform(-1, 1, size=4), round(T_2 / eta**2 / KICKS))
    return tuple(np.asarray(limiting_map(two_valleys, x).point) for x in (after, x))


def right_flow(start):
    """X(T_2) from a point of Γ."""
    return np.asarray(limiting_flow(two_valleys, start, [0.0, T_2], coefficient=1 / 4, functional=jnp.log))[-1]


def wrong_flow(start):
    """The same with λ_2 in place of λ_1: only y_2 moves, and ln y_2 + y_2²/4 falls by T_2/4."""
    level = np.log(start[1]) + start[1] ** 2 / 4 - T_2 / 4
    return np.array([start[0], brentq(lambda y: np.log(y) + y**2 / 4 - level, 1e-6, 2), 0.0, 0.0])


perturbation = Claim(
    "limiting-flow/perturbation",
    source=Source("cho-slides", "Results for Normalized GD (3), Phase II"),
    printed=(
        r"To make the theoretical analysis feasible, the alignment between $\tilde{x}_t$ and $v_1(x_t)$ should not "
        r"vanish. To this end, we add a (uniform) noise of magnitude $\mathcal{O}(\eta^{100})$ occasionally."
    ),
    expected="holds",
    coarse=r"The 100 is not told: $\eta^{100}$ is lost when it is added to a coordinate, and $10^{-12}$ stands for it.",
)


@perturbation.check(etas=(0.02, 0.01, 0.005), replicate=[0, 1, 2], controls={"no noise": dict(noise=0.0)})
def test_with_noise_it_follows_the_flow_of_the_largest_eigenvalue(evidence, etas, replicate, noise=NOISE):
    runs = [perturbed(eta, noise, evidence.seed(replicate)) for eta in etas]
    error = [np.linalg.norm(reached - right_flow(after)) for after, reached in runs]
    evidence.bounded_by("‖Φ(x) - X(T_2)‖, of eta", error, etas, constant=1.0)
    evidence.series("with noise", etas, error, axes=("eta", "‖Φ(x) - X(T_2)‖"), style="points", scale="loglog")


@perturbation.check(etas=(0.02, 0.01, 0.005), controls={"with noise": dict(noise=NOISE)})
def test_without_noise_it_follows_the_flow_of_the_second_eigenvalue(evidence, etas, noise=0.0):
    runs = [perturbed(eta, noise, evidence.seed()) for eta in etas]
    wrong, right = ([np.linalg.norm(y - flow(x)) for x, y in runs] for flow in (wrong_flow, right_flow))
    evidence.at_most("distance to the flow of λ_2", wrong, 1e-4)
    evidence.at_least("distance to the flow of λ_1", right, 0.2)
