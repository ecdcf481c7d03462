"""Period-2 orbits of gradient descent beyond the edge of stability (Chen and Bruna 2023)."""

import numpy as np

from eosbench import Claim, Document, Source
from eosbench.dynamics import cycle_multiplier, gd_step, gradient_descent, trajectory, two_cycle
from eosbench.problems import quartic, quartic_step_size

poster = Document("chen-bruna-poster", title="Beyond the Edge of Stability via Two-step Gradient Updates (poster)")

claim = Claim(
    "orbit/quartic",
    source=Source(poster, "II, Convergence: a special 1D function"),
    printed=(
        r"Loss: $f(x) = \frac{1}{4}(x^2 - 1)^2$. Learning rate: $1 < \eta < 1.121$. Initialization: any point "
        r"$x_0 \in (0, 1)$. Convergence: it converges to a period-2 orbit $\{x = \delta_i \mid i = 1, 2\}$ where "
        r"$\delta_1, \delta_2$ are the positive solutions of "
        r"$\eta = \frac{1}{\delta^2 (\sqrt{\frac{1}{\delta^2} - \frac{3}{4}} + \frac{1}{2})}$."
    ),
    corrected=r"... from every $x_0 \in (0, 1)$ that is not one of the countably many preimages of the fixed point 1.",
    expected="corrected",
)


@claim.check(
    eta=[1.01, 1.05, 1.10, 1.12],
    controls={
        "below 1 the minimum is stable": dict(eta=0.99),
        "beyond sqrt(5)-1 the orbit is unstable": dict(eta=1.25),
    },
)
def test_every_generic_start_reaches_the_two_cycle(evidence, eta):
    starts = np.linspace(0.0005, 0.9995, 2001)  # none of them a preimage of 1
    evidence.requires("1 < eta < 1.121", 1 < eta < 1.121)
    x = gradient_descent(quartic, starts, eta, steps=3000)
    orbit = two_cycle(quartic, max(eta, 1.001))
    evidence.at_most("distance to the orbit", np.abs(x[:, None] - orbit).min(1).max(), 1e-8)

    path = np.asarray(trajectory(gd_step(quartic, eta), np.array([0.1]), 200))
    distance = np.abs(path - orbit).min(1)
    evidence.series("from 0.1", np.arange(60), path[:60], axes=("step", "x"), style="points")
    evidence.series(
        "from 0.1", np.arange(201), distance + 1e-17, axes=("step", "distance to the orbit"), scale="semilogy"
    )


@claim.check(eta=[1.01, 1.05, 1.10, 1.12], controls={"beyond 3/2 the printed branch misses delta_2": dict(eta=1.55)})
def test_the_two_cycle_solves_the_printed_equation(evidence, eta):
    evidence.requires("1 < eta < 1.121", 1 < eta < 1.121)
    orbit = two_cycle(quartic, eta)
    evidence.equal("eta(delta)", quartic_step_size(orbit), eta)

    delta = np.linspace(0.75, 1.154, 200)
    evidence.series("printed eta(delta)", delta, quartic_step_size(delta), axes=("delta", "eta"))
    evidence.series("orbit", orbit, [eta, eta], axes=("delta", "eta"), style="points")


@claim.check(eta=[1.01, 1.05, 1.10, 1.12], controls={"beyond sqrt(5)-1 it repels": dict(eta=1.25)})
def test_the_two_cycle_attracts(evidence, eta):
    evidence.requires("1 < eta < 1.121", 1 < eta < 1.121)
    multiplier = cycle_multiplier(quartic, eta, two_cycle(quartic, eta))
    evidence.equal("F'(delta_1) F'(delta_2)", multiplier, 9 - 2 * (1 + eta) ** 2, scale=9)
    evidence.at_most("magnitude of the multiplier", abs(multiplier), 1)


@claim.counterexample(eta=25 / 24, x0=3 / 5)
def test_a_preimage_of_the_fixed_point_stays(evidence, eta, x0):
    evidence.requires("0 < x0 < 1", 0 < x0 < 1)
    x = gradient_descent(quartic, np.array([x0]), eta, steps=3000)
    evidence.at_most("distance to the orbit", np.abs(x[:, None] - two_cycle(quartic, eta)).min(), 1e-8)
