"""The potential of the predicted dynamics, which no step lowers: the cycle does not repeat."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source
from eosbench.dynamics import gd_step, iterate, potential, potential_drift, predicted_step, trajectory
from eosbench.problems import SelfStabilizingLoss
from eosbench.proof import Identity, prove_identity, prove_minimum

from .setting import first

CYCLES = 200

stays_bounded = Claim(
    "stabilization/stays-bounded",
    source=Source("shapira-review", "Section 4.2, last paragraph"),
    printed=(
        "This cyclical process ... serves as a self-correcting mechanism ... It ensures that the trajectory of "
        "gradient descent remains stable, oscillating between $S_{good}$ and $S_{bad}$."
    ),
    expected="refuted",
    severity="false",
    why=(
        "Every step of the predicted dynamics raises the potential whose level sets are the cycles, so that "
        "the amplitude grows from cycle to cycle until the iterates leave."
    ),
)


@stays_bounded.check(
    epsilon=[0.1, 0.03],  # at 0.01 it takes 85,000 steps, and |x| underflows between its peaks
    positive_controls={"the first cycle alone": dict(cycles=1)},
)
def test_the_amplitude_stays_within_a_hundred_times_the_first(evidence, epsilon, small=0.01, cycles=CYCLES):
    """A cycle takes about 5.8/epsilon steps; the dynamics and gradient descent on its loss are the same here."""
    alpha, beta = epsilon**2, 2.0
    start, steps = np.array([np.sqrt(small) * epsilon, 0.0]), int(cycles * 7 / epsilon)
    evidence.requires("alpha > 0 (Assumption 2)", alpha > 0)
    loss = SelfStabilizingLoss(1.0, alpha, beta)
    evidence.requires("S(θ_0) = 2/eta at the origin", abs(jax.hessian(loss)(jnp.zeros(2))[0, 0] - 2) < 1e-12)
    records = trajectory(predicted_step(1.0, alpha, beta), start, steps, every=max(1, steps // 20000))
    x, y = np.asarray(records).T
    ended = first(~np.isfinite(x) | (np.abs(x) > 1e3 * epsilon))
    evidence.at_most("largest |x| / √(2α/β)", np.abs(x[: ended + 1]) / epsilon, 100)
    descended = iterate(gd_step(loss, 1.0), start, steps)
    evidence.at_most("last |x| / √(2α/β) of gradient descent on the normal form", abs(descended[0]) / epsilon, 100)
    level = np.asarray(potential(np.stack([x, y], -1)[:ended], alpha, beta)) if ended else np.zeros(0)
    time = np.arange(ended) * max(1, steps // 20000) * epsilon
    axes = ("time ε t", "H = y²/α + z - ln z - 1")
    evidence.series(f"ε = {epsilon:g}", time, level, axes=axes, scale="semilogy")


@stays_bounded.check(controls={"the first cycle alone": dict(cycles=1)})
def test_the_amplitude_comes_to_exceed_a_hundred_times_the_first(evidence, epsilon=0.1, small=0.01, cycles=CYCLES):
    """As a step of the argument, which is not to be lost among the other ways in which the statement fails."""
    step, steps = predicted_step(1.0, epsilon**2, 2.0), int(cycles * 7 / epsilon)
    x = np.abs(np.asarray(trajectory(step, np.array([np.sqrt(small) * epsilon, 0.0]), steps))[:, 0])
    until = first(~np.isfinite(x) | (x > 1e3 * epsilon))
    evidence.at_least("largest |x| / √(2α/β)", np.max(x[:until]) / epsilon, 100)


def one_step(epsilon, zs, ys):
    """States on a grid of z = beta x²/(2 alpha) and y/√alpha, for eta = 1 and beta = 2, and where they go."""
    z, y = (np.ravel(grid) for grid in np.meshgrid(zs, ys))
    states = np.stack([epsilon * np.sqrt(z), epsilon * y], -1)
    return states, jax.vmap(predicted_step(1.0, epsilon**2, 2.0))(states)


ZS, YS = tuple(np.geomspace(0.01, 10, 40).tolist()), tuple(np.linspace(-2, 2, 41).tolist())  # z, and y/√alpha


@stays_bounded.check(
    epsilon=[0.1, 0.03, 0.01],
    positive_controls={"the fixed point, in numbers that are exact": dict(epsilon=0.125, zs=(1.0,), ys=(0.0,))},
)
def test_a_step_does_not_raise_the_potential(evidence, epsilon, zs=ZS, ys=YS):
    """The continuous limit conserves H, and orbits are its level sets; the cycle repeats only if steps do not raise
    it."""
    states, after = one_step(epsilon, zs, ys)
    risen = np.asarray(potential(after, epsilon**2, 2.0) - potential(states, epsilon**2, 2.0))
    evidence.at_most("what a step adds to H, over eta² alpha", risen / epsilon**2, 0)


UP_TO = Fraction(2) ** 30


def excess(w):
    """w - ln(1 + w)"""
    return w - (1 + w).log()


@stays_bounded.check(proves=True, controls={"half of the last term": dict(last="1"), "2 % more": dict(last="51/25")})
def test_no_step_lowers_the_potential_proved(evidence, last="2"):
    """For all Y = y/√alpha, z > 0 and w = eps Y with 2^-30 <= 1 + w <= 2^30, where eps = eta √alpha.

    A step takes z to z (1 + w)², so that the logarithms in H differ by 2 ln(1 + w). What else changes is a polynomial,
    and with 2 (w - ln(1 + w)) it is a sum of squares: it vanishes only where z = 1 and w = 0.

    So no cycle repeats. A path that stays where z is away from 0 and everything is bounded would tend to a set on which
    H is constant, which is the fixed point alone; but there H has its least value, and it never falls. Hence H grows
    without bound, and with it the cycles, which are near its level sets.
    """
    name = "H' - H + 2 ln(1 + w) = eps² (1 - z)² + z w² + 2 w"
    change = "(Y + eps*(1 - z))**2 + z*(1 + w)**2 - Y**2 - z"
    identity = Identity(
        (
            (name, change, "=", f"eps**2*(1 - z)**2 + z*w**2 + {last}*w"),
            ("H' - H + 2 ln(1 + w) >= 2 w", change, ">=", "2*w"),
        ),
        "Y z eps",
        where={"w": "eps*Y"},
        nonnegative="z",
        excess={"H' - H + 2 ln(1 + w) >= 2 w": "eps**2*(1 - z)**2 + z*w**2"},
    )
    evidence.proved(name, prove_identity(identity), identity.theorem)
    domain = 1 / UP_TO - 1, UP_TO - 1
    evidence.proved(
        "w >= ln(1 + w) for 2^-30 <= 1 + w <= 2^30",
        prove_minimum("x - log(1 + x)", excess, Fraction(0), domain),
        dict(kind="minimum", function="x - log(1 + x)", point="0", domain=[*map(str, domain)]),
    )


@stays_bounded.check(epsilon=[0.1, 0.03, 0.01], controls={"nothing, as in the continuous limit": dict(share=0.0)})
def test_what_a_step_adds_to_the_potential(evidence, epsilon, share=1.0, zs=ZS, ys=YS):
    """By the exact formula."""
    states, after = one_step(epsilon, zs, ys)
    evidence.requires("1 + eta y > 0", np.all(1 + states[:, 1] > 0))
    before, risen = (np.asarray(potential(s, epsilon**2, 2.0)) for s in (states, after))
    drift = share * np.asarray(potential_drift(states, 1.0, epsilon**2, 2.0))
    evidence.equal("H after a step", risen, before + drift)
    evidence.at_least("drift of H", drift, 0)
