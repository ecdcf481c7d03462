"""The orbit of period two on ½ (x y - 1)²."""

from fractions import Fraction

import numpy as np

from eosbench import Claim, Source, problems
from eosbench.dynamics import ends_where, gd_step, trajectory, two_cycle
from eosbench.problems import both_positive, factorization_starts, quartic
from eosbench.proof import prove_basin


def plane_orbit(eta):
    return two_cycle(quartic, max(eta, 1.001))


def basin_theorem(etas, share):
    """That much of x + y from 0.05 to 2.6 and (x - y)² up to 1, for each of the step sizes."""
    return dict(kind="basin", loss="1/2*(x*y - 1)**2", eta=etas, s=("0.05", "2.6"), D=("0", "1"), share=share)


scalar_factorization = Claim(
    "orbit/scalar-factorization",
    source=Source("chen-bruna-poster", "II, Convergence: a special 2D function"),
    printed=(
        r"Loss: $f(x, y) = \frac{1}{2}(xy - 1)^2$. Learning rate: $1 < \eta < 1.121$. Initialization: some conditions "
        r"that guarantee $x, y > 0$ always. Convergence: it converges to a period-2 orbit as $\{(x = y = \delta_i) "
        r"\mid i = 1, 2\}$ where $\delta_1, \delta_2$ are the same as above."
    ),
    corrected=(
        r"Loss: $f(x, y) = \frac{1}{2}(xy - 1)^2$. Learning rate: $1 < \eta < 1.121$. Initialization: some conditions "
        r"that guarantee $x, y > 0$ always, outside the stable set of the minimizers $xy = 1$. Convergence: it "
        r"converges to a period-2 orbit as $\{(x = y = \delta_i) \mid i = 1, 2\}$ where $\delta_1, \delta_2$ are those "
        r"of $\frac{1}{4}(x^2 - 1)^2$; proved from most starts of a region, for $\eta$ from 1.06 to 1.12."
    ),
    expected="corrected",
    severity="missing hypothesis",
    uses=("orbit/quartic",),
)


@scalar_factorization.check(
    eta=[1.01, 1.05, 1.10, 1.12],
    controls={"below the edge": dict(eta=0.98), "beyond sqrt(5)-1": dict(eta=1.25)},
)
def test_starts_that_stay_positive_reach_the_orbit(evidence, eta):
    step = gd_step(problems.scalar_factorization, eta)
    starts = factorization_starts(80)
    x, y = np.asarray(ends_where(step, starts, 4000, both_positive))
    evidence.requires("1 < eta < 1.121", 1 < eta < 1.121)
    evidence.requires("x, y > 0 always, for some starts", x.size > 0)
    gaps = [np.diff(np.unique(side), prepend=0, append=3).max() for side in starts]
    evidence.at_most("the widest gap between starts of [0, 3]²", gaps, 0.04)
    evidence.at_least("starts, of 6,400 on a grid", starts.shape[1], 6350)
    evidence.at_most("|x - y|", np.abs(x - y), 1e-8)
    evidence.at_most("distance of x to the orbit", np.abs(x[:, None] - plane_orbit(eta)).min(1), 1e-8)


@scalar_factorization.check(
    eta=["1.05", "1.1", "1.12"],
    controls={"below the edge": dict(eta="0.98"), "beyond sqrt(5)-1": dict(eta="1.25")},
)
def test_a_region_of_starts_is_proved(evidence, eta):
    """Boxes that make up most of x + y from 0.05 to 2.6 and (x - y)² up to 1, for one step size at a time.

    The rest cannot all be proved: it holds the minimizers with their preimages, and starts that end elsewhere. The
    orbit draws in some starts that turn negative, too.
    """
    evidence.requires("1 < eta < 1.121", 1 < Fraction(eta) < Fraction("1.121"))
    basin = prove_basin((Fraction(eta), Fraction(eta)), float(plane_orbit(float(eta))[0]), share=Fraction(3, 4))
    theorem = basin_theorem((eta, eta), "0.75")
    evidence.proved("every start of the proved boxes ends on the orbit", basin, theorem)
    evidence.at_least("share of the domain that is proved", basin.fraction, 0.75)

    x, y = (side.ravel() for side in np.meshgrid(np.linspace(0.05, 1.95, 24), np.linspace(0.05, 1.95, 24)))
    proved = basin.contains(x, y)
    path = trajectory(gd_step(problems.scalar_factorization, float(eta)), np.stack([x, y]), 300, both_positive)
    always = np.asarray(path).all(0)
    axes = (f"x, eta = {eta}", "y")
    if proved.any():
        evidence.series("proved", x[proved], y[proved], axes=axes, style="points")
    other = always & ~proved & (np.abs(x - y) < 1) & (x + y < 2.6)
    if other.any():
        evidence.series("stays positive, not proved", x[other], y[other], axes=axes, style="points")


@scalar_factorization.check(
    etas=[("1.06", "1.07"), ("1.07", "1.08"), ("1.08", "1.09"), ("1.09", "1.1"), ("1.1", "1.11"), ("1.11", "1.12")],
    controls={"below the edge": dict(etas=("0.97", "0.98")), "beyond sqrt(5)-1": dict(etas=("1.25", "1.26"))},
)
def test_a_region_of_starts_is_proved_for_every_step_size_of_an_interval(evidence, etas, share="0.65"):
    low, high = map(Fraction, etas)
    evidence.requires("1 < eta < 1.121", low > 1 and high < Fraction("1.121"))
    basin = prove_basin((low, high), float(plane_orbit(float(low + high) / 2)[0]), share=Fraction(share))
    evidence.proved("every start of the proved boxes ends on the orbit", basin, basin_theorem(etas, share))


@scalar_factorization.counterexample(start=(2.0, 0.5), eta=1.1)
def test_a_positive_minimizer_stays(evidence, start, eta):
    path = trajectory(gd_step(problems.scalar_factorization, eta), np.array(start)[:, None], 3000)
    evidence.requires("1 < eta < 1.121", 1 < eta < 1.121)
    evidence.requires("x, y > 0 always", np.all(np.asarray(path) > 0))
    x, y = np.asarray(path[-1, :, 0])
    evidence.at_most("|x - y|", abs(x - y), 1e-8)
