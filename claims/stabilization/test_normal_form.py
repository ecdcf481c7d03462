"""The predicted dynamics in two directions: where they are exact, and how far off they are elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source
from eosbench.dynamics import gd_step, predicted_step, trajectory
from eosbench.problems import SelfStabilizingLoss, TaylorLoss
from eosbench.proof import Identity, prove_identity

from .setting import at_the_edge, normal_form_edge

DYNAMICS = {"eta": 0.1, "alpha": 0.04, "beta": 3.0}

normal_form = Claim(
    "stabilization/normal-form",
    source=Source("shapira-review", "Definition 4.1"),
    printed=(
        r"$(x_{t+1}, y_{t+1}) := (-(1 + \eta y_t) x_t, (\alpha\eta - \frac{\eta}{2} \beta x_t^2) + y_t)$ ... Under the "
        r"assumptions above, the sequence $\{(x_t, y_t)\}_{t=0}^T$ describes the gradient descent dynamics at the edge "
        r"of stability along the two directions of interest, up to an error term of the fourth order. [None on "
        r"$\frac12 (2/\eta + \sqrt\beta q) x^2 - (\alpha/\sqrt\beta) q$, a polynomial of degree three, where $y = "
        r"\sqrt\beta q$: there it is exact.]"
    ),
    expected="holds",
)


@normal_form.check(
    alpha=[0.04, 0.4],
    controls={
        "a fourth derivative": dict(quartic=1.0),
        "half the restoring force": dict(share=0.5),
    },
)
def test_gradient_descent_is_the_predicted_dynamics(evidence, alpha, quartic=0.0, share=1.0, steps=400):
    eta, beta = DYNAMICS["eta"], DYNAMICS["beta"]
    start = np.array([0.05 * np.sqrt(2 * alpha / beta), 0.0])
    loss = SelfStabilizingLoss(eta, alpha, beta, quartic)
    descent = np.asarray(trajectory(gd_step(loss, eta), start, steps)) * np.array([1, np.sqrt(beta)])
    predicted = np.asarray(trajectory(predicted_step(eta, alpha, share * beta), start, steps))
    size = np.abs(predicted).max(0)
    evidence.close("(x, y) over the largest (x, y)", descent / size, predicted / size, 1e-11)
    for i, name in enumerate(("x", "y")):
        axes = ("step", f"{name} over its largest value")
        evidence.series("gradient descent", np.arange(steps + 1), descent[:, i] / size[i], axes=axes, style="points")
        evidence.series("predicted", np.arange(steps + 1), predicted[:, i] / size[i], axes=axes)


@normal_form.check(proves=True, controls={"half of beta 2 % larger": dict(half="51/100")})
def test_it_is_exact_for_every_step(evidence, half="1/2"):
    """With b = √beta and h = 1/eta; y = b q. The terms of first order in (u, w) are the loss's derivatives."""
    loss = "1/2*(2*h + b*{q})*{x}**2 - alpha*c*{q}"
    first = "(2*h + b*q)*x*u + (1/2*b*x**2 - alpha*c)*w"
    second = "1/2*(2*h + b*q)*u**2 + b*x*u*w + 1/2*b*u**2*w"
    statements = (
        (
            "the gradient",
            loss.format(x="(x + u)", q="(q + w)"),
            "=",
            f"{loss.format(x='x', q='q')} + {first} + {second}",
        ),
        ("x after a step", "x - eta*(2*h + b*q)*x", "=", "-(1 + eta*(b*q))*x"),
        ("y after a step", "b*(q - eta*(1/2*b*x**2 - alpha*c))", "=", f"alpha*eta - {half}*eta*b**2*x**2 + b*q"),
    )
    identity = Identity(
        statements,
        "x q u w eta alpha b h c",
        given=(("h*eta", "1"), ("b*c", "1")),
        remainder={"x after a step": "-2*x*given1", "y after a step": "eta*alpha*given2"},
    )
    evidence.proved("from every state", prove_identity(identity), identity.theorem)


def one_step_errors(loss, at, radii, model):
    """Errors of one step in x and in y, from displacements of length radii times δ along u and along P∇S."""
    across = at.across / jnp.linalg.norm(at.across)
    delta = jnp.sqrt(2 * at.alpha / at.beta)
    starts = at.point + jnp.asarray(radii)[:, None] * delta * (at.vector + across)
    true = at.coordinates(jax.vmap(gd_step(loss, at.eta))(starts))
    if model == "definition 4.1":
        predicted = jax.vmap(predicted_step(at.eta, at.alpha, at.beta))(at.coordinates(starts))
    else:
        cubic = TaylorLoss(loss, at.point, 3)
        predicted = at.coordinates(jax.vmap(gd_step(cubic, at.eta))(starts))
    return np.abs(np.asarray(true - predicted)).T


NEAR = tuple(np.geomspace(0.03, 0.001, 7).tolist())  # where r⁴ is small beside r³ even if the coefficient of r³ is


fourth_order_error = Claim(
    "stabilization/fourth-order-error",
    source=Source("shapira-review", "Definition 4.1"),
    printed=(
        r"Under the assumptions above, the sequence $\{(x_t, y_t)\}_{t=0}^T$ describes the gradient descent dynamics "
        r"at the edge of stability along the two directions of interest, up to an error term of the fourth order. [In "
        r"a step, by Equations 2 and 3: $O(\eta \rho_4 r^3)$ in $x_{t+1}$ and $O(\eta \sqrt\beta \rho_4 r^3)$ in "
        r"$y_{t+1}$.]"
    ),
    expected="refuted",
    severity="false",
    why=(
        "In one step the predicted dynamics leaves out terms of second order in $x$ and of first order in "
        "$y$, unlike the quadratic Taylor polynomial that it is taken from."
    ),
)


@fourth_order_error.check(
    replicate=[0, 1, 2],
    radii=tuple(np.geomspace(0.3, 0.005, 7).tolist()),
    positive_controls={
        "the full quadratic Taylor polynomial of the gradient": dict(model="quadratic Taylor polynomial", radii=NEAR),
        "the normal form plus fourth powers": dict(edge=normal_form_edge),
    },
)
def test_the_error_of_one_step_is_cubic(evidence, replicate, radii, model="definition 4.1", edge=at_the_edge):
    loss, at, second = edge(evidence.seed(replicate))
    evidence.requires("λ_2 < 1.9/eta (Assumption 1)", second < 0.95)
    evidence.requires("alpha > 0 (Assumption 2)", at.alpha > 0)
    evidence.requires("∇L·u = 0 (Assumption 3)", abs(at.residual) < 1e-12)
    errors = one_step_errors(loss, at, radii, model)
    for name, error in zip("xy", errors, strict=True):
        evidence.rate(f"error of {name} after one step", radii, error, exponent=3, tolerance=0.05)
        axes = ("displacement / δ", "error after one step over that of the largest displacement")
        evidence.series(name, radii, error / error[0], axes=axes, scale="loglog", style="points")
    evidence.series("r³", radii, (np.array(radii) / radii[0]) ** 3, axes=axes, scale="loglog", style="reference")
