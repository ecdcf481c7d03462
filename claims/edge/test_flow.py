"""Up to the edge gradient descent goes the way of gradient flow."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source, sharpness
from eosbench.dynamics import gd_step, gradient_flow, trajectory
from eosbench.problems import digits, flattened, mlp

SAMPLE = 10  # steps between two looks at gradient descent and gradient flow


@eqx.filter_jit
def sharpness_and_loss(loss, x):
    """S and L at a point, and the products that they took."""
    spectrum = sharpness(loss, x, rtol=1e-4, max_hvps=3000, throw=False)
    return jnp.stack([spectrum.values[0], loss(x), spectrum.hvps])


def descent_for_the_flow(loss, start, times, **_):
    """Gradient descent at these times, SAMPLE steps apart."""
    return trajectory(gd_step(loss, times[1] / SAMPLE), start, SAMPLE * (len(times) - 1), every=SAMPLE)


follows_gradient_flow = Claim(
    "edge/follows-gradient-flow",
    source=Source("shapira-review", "Section 3, Progressive Sharpening"),
    printed=(
        "The trajectory's behavior of increasing sharpness and decreasing loss closely parallels the dynamics seen in "
        "gradient flow."
    ),
    expected="holds",
)


@follows_gradient_flow.check(
    replicate=[0, 1, 2],
    controls={
        "a comparison that goes on after the crossing": dict(beyond=20),
        "gradient flow 2 % too fast": dict(speed=1.02),
        "gradient descent in place of the flow": dict(flow=descent_for_the_flow),
    },
)
def test_descent_and_flow_agree_up_to_the_crossing(
    evidence, replicate, beyond=0, speed=1.0, flow=gradient_flow, threshold=5.0, steps=500
):
    """In float64, the flow integrated by two methods at tolerances a hundredfold apart.

    At this step size they are near to each other. In the limit of small ones they agree: what is of first order in eta
    drops out of twice what half the step size gives, less what the whole one does.
    """
    seed, eta = evidence.seed(replicate), 2 / threshold
    data = digits(200, label_noise=0.2, seed=seed)
    loss, start = flattened(*mlp(data, jax.random.key(seed), width=32))
    times = np.arange(steps // SAMPLE + 1) * SAMPLE * eta
    descent = trajectory(gd_step(loss, eta), start, steps, every=SAMPLE)
    halved = trajectory(gd_step(loss, eta / 2), start, 2 * steps, every=2 * SAMPLE)
    fine = flow(loss, start, speed * times, rtol=1e-7, atol=1e-9)
    coarse = flow(loss, start, speed * times, rtol=1e-5, atol=1e-7, solver=diffrax.Bosh3())
    (s_descent, l_descent, p_descent), (s_flow, l_flow, p_flow), (s_coarse, _, p_coarse) = (
        np.array([sharpness_and_loss(loss, x) for x in path]).T for path in (descent, fine, coarse)
    )
    error = np.abs(s_flow - s_coarse) + 2e-4 * s_flow  # of the integration and of the eigenvalue
    evidence.requires("it starts below 0.85 of 2/eta and crosses", s_descent[0] < 0.85 * threshold < s_descent.max())
    until = slice(1, int(np.argmax(s_descent >= threshold)) + beyond)
    s_halved, l_halved, p_halved = np.array([sharpness_and_loss(loss, x) for x in halved[until]]).T
    evidence.spent([p_descent.sum(), p_flow.sum(), p_coarse.sum(), p_halved.sum()])
    relative = np.abs(s_descent / s_flow - 1)
    evidence.at_most("|S / S of the flow - 1|", relative[until], 0.1, uncertainty=(error / s_flow)[until])
    evidence.at_most("|L / L of the flow - 1|", np.abs(l_descent / l_flow - 1)[until], 0.05)
    s_limit, l_limit = 2 * s_halved - s_descent[until], 2 * l_halved - l_descent[until]
    doubt = 4 * (error / s_flow)[until]  # of both solves and of the flow
    evidence.at_most(
        "|S / S of the flow - 1| for eta to 0", np.abs(s_limit / s_flow[until] - 1), 1e-2, uncertainty=doubt
    )
    evidence.at_most("|L / L of the flow - 1| for eta to 0", np.abs(l_limit / l_flow[until] - 1), 2e-3)
    evidence.at_least("last S of the flow / (2/eta)", s_flow[-1] / threshold, 1.3, uncertainty=error[-1] / threshold)
    evidence.monotone("loss of the flow", l_flow)
    evidence.close("sharpness of the flow by two methods", s_coarse / s_flow, 1, 1e-3)
    axes = ("time η t", "sharpness in units of 2/η")
    evidence.series("gradient descent", times, s_descent / threshold, axes=axes)
    evidence.series("gradient flow", times, s_flow / threshold, axes=axes, spread=error / threshold)
    evidence.series("2/η", times[[0, -1]], [1, 1], axes=axes, style="reference")
    for label, values in (("gradient descent", l_descent), ("gradient flow", l_flow)):
        evidence.series(label, times, values, axes=("time η t", "training loss"), scale="semilogy")
