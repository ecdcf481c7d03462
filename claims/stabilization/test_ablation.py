"""Which of its two forces holds the sharpness at the edge: each alone, and both."""

import numpy as np

from eosbench import Claim, Source
from eosbench.dynamics import gd_step, predicted_step, trajectory
from eosbench.problems import SelfStabilizingLoss
from eosbench.proof import Identity, prove_identity

ETA, BETA = 0.1, 3.0


def path(alpha, beta, start, steps, every=1):
    """Iterates of the predicted dynamics, columns x and y = S - 2/eta."""
    return np.asarray(trajectory(predicted_step(ETA, alpha, beta), np.array(start), steps, every=every)).T


ablation = Claim(
    "stabilization/ablation",
    source=Source("eosbench-statements", "Self-stabilization, ablation"),
    printed=(
        r"Of $x \leftarrow -(1 + \eta y)x$ and $y \leftarrow y + \eta(\alpha - \frac{\beta}{2} x^2)$ from $x_0 \neq 0$ "
        r"and $y_0 > 0$: without the restoring force, $\beta = 0$ and $\alpha \geq 0$, $|x|$ is multiplied by at least "
        r"$1 + \eta y_0$ in every step. Without the drift, $\alpha = 0$ and $\beta > 0$, $y^2 + \frac{\beta}{2} x^2$ "
        r"falls in no step, $y$ falls in every one, and where $x \to 0$ it ends at $-(y_0^2 + \frac{\beta}{2} "
        r"x_0^2)^{1/2}$ or below, and there to leading order in $y_0$ and $x_0$: as far below $2/\eta$ as it was "
        r"above. With both, and $y_0$ small, it is above and below in turns."
    ),
    expected="holds",
)


@ablation.check(
    size=[3e-3, 1e-3],
    ratio=[0.0, 1.0, 5.0],
    controls={
        "with the drift": dict(size=3e-3, ratio=1.0, alpha=1e-6),
        "x² with 1.02 of its weight": dict(size=1e-3, ratio=5.0, weight=1.02),
        "back at the edge": dict(size=1e-3, ratio=1.0, share=0.0),
    },
)
def test_without_the_drift(evidence, size, ratio, alpha=0.0, weight=1.0, share=1.0):
    """y begins at size/eta, and x so that its share is that ratio of y's; to leading order what is left is the size."""
    y0 = size / ETA
    x0 = np.sqrt(2 * ratio / BETA) * y0 if ratio else 1e-6 * y0
    steps = int(30 / size)
    x, y = path(alpha, BETA, [x0, y0], steps)
    end = np.sqrt(y0**2 + weight * BETA / 2 * x0**2)
    evidence.at_most("what y gains in a step", np.diff(y), 1e-15)
    evidence.at_most("|x| in the end, over y at the start", abs(x[-1]) / y0, 1e-3)
    evidence.constant("y in the end, over what it is to leading order", share, -y[-1] / end, 3 * size)
    shown = np.arange(0, steps + 1, max(1, steps // 300))
    axes = ("step", "(S - 2/η)/(that of the start)")
    evidence.series(f"α = 0, η y₀ = {size:g}, ratio {ratio:g}", shown, y[shown] / y0, axes=axes)


@ablation.check(
    alpha=[0.0, 0.04],
    controls={"with the restoring force": dict(alpha=0.0, beta=BETA)},
)
def test_without_the_restoring_force(evidence, alpha, beta=0.0, y0=0.05):
    x, _ = path(alpha, beta, [1e-3, y0], 400)
    evidence.at_least("|x| after a step, over what it was", np.abs(x[1:] / x[:-1]), 1 + ETA * y0 - 1e-12)


@ablation.check(
    alpha=[1e-4, 1e-3],
    controls={
        "without the drift": dict(alpha=1e-3, drift=0.0),
        "with the drift turned round": dict(alpha=1e-3, drift=-1.0),
    },
)
def test_with_both_it_takes_turns(evidence, alpha, beta=BETA, drift=1.0):
    """Gradient descent on a loss whose dynamics these are, from a third of the x at rest; ten turns at least."""
    loss = SelfStabilizingLoss(ETA, drift * alpha, beta)
    start = np.array([np.sqrt(2 * alpha / BETA) / 3, 0.2 * np.sqrt(alpha)])
    y = np.asarray(trajectory(gd_step(loss, ETA), start, int(400 / np.sqrt(alpha) / ETA / 5)))[:, 1]
    evidence.at_least("turns", int((np.diff(np.sign(y)) != 0).sum()), 10)


@ablation.check(controls={"y² with 2 % more": dict(one="51/50"), "2 % less in the factor": dict(factor="49/50")})
def test_what_never_falls_without_the_drift(evidence, one="1", factor="1"):
    identity = Identity(
        (
            (
                "y² + beta x²/2 after a step",
                f"{one}*(y - eta*beta/2*x**2)**2 + beta/2*((1 + eta*y)*x)**2",
                "=",
                "y**2 + beta/2*x**2 + eta**2*beta*x**2*(beta/4*x**2 + y**2/2)",
            ),
            ("x without the force", f"{factor}*(1 + eta*(y + z)) - (1 + eta*y)", ">=", "0"),
        ),
        "x y z eta beta",
        nonnegative="z eta",
        excess={"x without the force": "eta*z"},
    )
    evidence.proved("in every step", prove_identity(identity), identity.theorem)
