"""The stages of self-stabilization, and what the loss does in them."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source
from eosbench.dynamics import gd_step, predicted_step, trajectory
from eosbench.problems import TaylorLoss
from eosbench.proof import Identity, prove_identity

from .setting import at_the_edge, first, normal_form_edge, peak


def signed_product(x, y, eta, power=1):
    """x_t as the product over i < t of (-1)^power (1 + eta y_i) and x_0; power None puts i there, as printed."""
    i = np.arange(len(y) - 1)
    signs = (-1.0) ** (i if power is None else power)
    return x[0] * np.concatenate([[1], np.cumprod(signs * (1 + eta * y[:-1]))])


four_stages = Claim(
    "stabilization/four-stages",
    source=Source("shapira-review", "Section 4.2"),
    printed=(
        r"[Progressive sharpening; destabilization:] As $y_t > 0$, $(x_t)$ begins to diverge, behaving like: $x_{t+1} "
        r"= \prod_{i=0}^t (-1)^i (1 + \eta y_i) x_0$ with alternating sign at each step [...; self-stabilization:] "
        r"$y_t$ peaks when $x_t = \sqrt{\frac{2\alpha}{\beta}}$. Afterwards, the sharpness begins to decline. [...; "
        r"return to stability:] Eventually, $y_t$ becomes negative, and the sharpness returns to a stable level. As "
        r"$x_t$ diminishes, the $\alpha\eta \cdot t$ component of $y_t$ dominates once more, leading back to "
        r"progressive sharpening."
    ),
    corrected=(
        r"While $y_t > -\frac{1}{\eta}$: progressive sharpening; destabilization, $x_{t+1} = \prod_{i=0}^t (-1) (1 + "
        r"\eta y_i) x_0$; self-stabilization: $y_t$ peaks at the first step with $|x_t| \geq \sqrt{2\alpha/\beta}$, "
        r"afterwards the sharpness begins to decline; return to stability: $|x_t|$ peaks at the first step after that "
        r"with $y_t \leq 0$, and diminishes, leading back to progressive sharpening."
    ),
    expected="corrected",
    severity="slip",
)


@four_stages.check(
    epsilon=[0.1, 0.03, 0.01],
    small=[0.01, 0.1, 0.5],
    controls={
        "alpha < 0: gradient flow flattens": dict(sign=-1.0),
        "beta = 0: nothing restores": dict(restoring=0.0),
    },
)
def test_the_stages_of_the_predicted_dynamics(evidence, epsilon, small, sign=1.0, restoring=1.0):
    """epsilon = eta √alpha is the step in the scaled dynamics, small the initial z = beta x²/(2 alpha)."""
    eta, beta = 1.0, 2.0
    alpha = (epsilon / eta) ** 2
    delta = np.sqrt(2 * alpha / beta)
    steps = int(12 / epsilon)
    step = predicted_step(eta, sign * alpha, restoring * beta)
    x, y = np.asarray(trajectory(step, np.array([np.sqrt(small) * delta, 0.0]), steps)).T
    evidence.requires("alpha > 0 (Assumption 2)", sign > 0)
    top, turn = peak(y), first((y <= 0) & (np.arange(len(y)) > 0))
    evidence.at_least("1, 2: height of the peak of y, of √alpha", y[top] / np.sqrt(alpha), 0.1)
    evidence.close(
        "2: x_t against the product", x[: turn + 1], signed_product(x, y, eta)[: turn + 1], 1e-12 * delta * 1e2
    )
    evidence.close("3: step of the peak of y, first |x| >= √(2α/β)", top, first(x**2 >= delta**2), 0, uncertainty=0)
    overshoot = np.abs(x[top]) / delta
    evidence.at_most("3: |x| at the peak of y / √(2α/β)", overshoot, 1 + eta * y[top], uncertainty=0)
    evidence.close("4: step of the peak of |x|, first y <= 0", peak(np.abs(x)), turn, 0, uncertainty=0)
    after = slice(turn, None)
    evidence.at_most("4: smallest |x| afterwards, of its peak", np.abs(x[after]).min() / np.abs(x[turn]), 0.9)
    lowest = turn + int(np.argmin(y[turn : turn + len(y) // 2]))
    evidence.at_least("4: y rises again, of √alpha", (y[lowest:].max() - y[lowest]) / np.sqrt(alpha), 0.1)
    for name, values in (("y/√α", y / np.sqrt(alpha)), ("|x|/√(2α/β)", np.abs(x) / delta)):
        evidence.series(
            f"ε = {epsilon:g}, z = {small:g}", np.arange(steps + 1) * epsilon, values, axes=("time ε t", name)
        )


@four_stages.check(
    proves=True,
    controls={"2.04 in place of 2 in √(2α/β)": dict(two="51/25"), "a restoring force 2 % weaker": dict(half="49/100")},
)
def test_the_stages_from_the_signs_of_every_step(evidence, two="2", half="1/2"):
    """For all eta, alpha, beta > 0 and every start with y_0 = 0 and 0 < |x_0| < √(2α/β); z is β x²/(2α).

    Up to the first step with z >= 1 y rises, by eta α (1 - z); and as y > 0, |x| grows, at least geometrically, so
    that there is such a step: there y peaks. From then on y falls as long as it is positive, by more than in the step
    before, as |x| still grows: there is a first step with y <= 0, and there |x| peaks. Afterwards |x| diminishes; y
    falls until z < 1, and then rises by more in every step until it is positive again. In the statements c, p, q and
    g are positive.
    """
    change, rises, falls = "y after a step", "y rises where z < 1", "y falls where z > 1"
    grows, shrinks, alternates = "|x| grows where y > 0", "|x| diminishes where -1/eta < y < 0", "x alternates"
    statements = (
        (change, "y1 - y", "=", "eta*alpha*(1 - z)"),
        (rises, "eta*alpha*(1 - (1 - c))", ">", "0"),
        (falls, "0", ">", "eta*alpha*(1 - (1 + c))"),
        (grows, "((1 + eta*p)*x)**2", ">", "x**2"),
        (shrinks, "x**2", ">", "((1 - eta*p)*x)**2"),
        (alternates, "-x*x1", ">", "0"),
    )
    identity = Identity(
        statements,
        "x y eta alpha beta z s c p q g",
        where={"x1": "-(1 + eta*y)*x", "y1": f"y + eta*(alpha - {half}*beta*x**2)"},
        given=((f"{two}*alpha*z", "beta*x**2"), ("x**2", "s"), ("eta*p + q", "1"), ("1 + eta*y", "g")),
        positive="eta alpha beta s c p q g",
        remainder={
            change: "1/2*eta*given1",
            grows: "(2*eta*p + (eta*p)**2)*given2",
            shrinks: "eta*p*(2 - eta*p)*given2 - s*eta*p*given3",
            alternates: "(1 + eta*y)*given2 + s*given4",
        },
        excess={
            rises: "eta*alpha*c",
            falls: "eta*alpha*c",
            grows: "s*(2*eta*p + (eta*p)**2)",
            shrinks: "s*eta*p*(1 + q)",
            alternates: "s*g",
        },
    )
    evidence.proved("from every such start", prove_identity(identity), identity.theorem)


@four_stages.check(
    replicate=[0, 1, 2],
    controls={"gradient descent on the loss's quadratic Taylor polynomial": dict(order=2)},
)
def test_the_stages_on_a_network(evidence, replicate, order=None):
    """In this order, and when they are predicted. How large |x| is at the peak of y is drawn and not bounded.

    Definition 4.1 does not describe a network that closely (stabilization/fourth-order-error): it was 0.54 to 1.1 times
    the prediction.
    """
    loss, at, second = at_the_edge(evidence.seed(replicate))
    evidence.requires("λ_2 < 1.9/eta (Assumption 1)", second < 0.95)
    evidence.requires("alpha > 0 (Assumption 2)", at.alpha > 0)
    delta = float(jnp.sqrt(2 * at.alpha / at.beta))
    objective = loss if order is None else TaylorLoss(loss, at.point, order)
    path = trajectory(gd_step(objective, at.eta), at.point + 0.05 * delta * at.vector, 100)
    x, y = np.asarray(at.coordinates(path)).T
    predicted_x, predicted_y = np.asarray(
        trajectory(predicted_step(at.eta, at.alpha, at.beta), np.array([0.05 * delta, 0.0]), 100)
    ).T
    top, predicted_top = peak(y), peak(predicted_y)
    turn = first((y <= 0) & (np.arange(len(y)) > top))
    evidence.close("step of the peak of y / predicted", top / predicted_top, 1, 0.2)
    evidence.at_most("2: steps up to the peak in which x keeps its sign", int(np.sum(x[1 : top + 1] * x[:top] >= 0)), 0)
    later = slice(turn, turn + 25)
    evidence.at_most("4: y becomes negative", y[turn], 0)
    evidence.at_most("4: smallest |x| afterwards, of its peak", np.abs(x[later]).min() / np.abs(x).max(), 0.5)
    until = slice(turn + 10)
    for name, true, predicted in (("y", y, predicted_y), ("|x|/√(2α/β)", abs(x) / delta, abs(predicted_x) / delta)):
        axes = ("step", name)
        evidence.series(f"network {replicate + 1}", np.arange(101)[until], true[until], axes=axes)
        label = f"network {replicate + 1}, predicted"
        evidence.series(label, np.arange(101)[until], predicted[until], axes=axes, style="reference")


@four_stages.counterexample(epsilon=0.03, small=0.1)
def test_the_printed_sign_of_the_product(evidence, epsilon, small):
    alpha = epsilon**2
    step = predicted_step(1.0, alpha, 2.0)
    x, y = np.asarray(trajectory(step, np.array([np.sqrt(small * alpha), 0.0]), 20)).T
    evidence.close("x_t against the printed product", x, signed_product(x, y, 1.0, power=None), 1e-9 * np.abs(x).max())


@four_stages.counterexample(epsilon=0.03, smalls=(0.1, 0.11, 0.12, 0.13, 0.14, 0.15, 0.16, 0.17))
def test_x_may_be_negative_where_y_peaks(evidence, epsilon, smalls):
    at_peak = []
    for small in smalls:
        alpha = epsilon**2
        step = predicted_step(1.0, alpha, 2.0)
        x, y = np.asarray(trajectory(step, np.array([np.sqrt(small * alpha), 0.0]), 300)).T
        at_peak.append(x[peak(y)] / epsilon)
    evidence.close("x at the peak of y / √(2α/β)", at_peak, 1, 0.2)


class Rise(NamedTuple):
    """From the edge until y peaks: the loss's change, and the terms that are to make it up."""

    change: np.ndarray
    slope: np.ndarray  # ∇L(θ_0)·(θ_t - θ_0)
    quadratic: np.ndarray  # ½ (θ_t - θ_0)ᵀ ∇²L(θ_0) (θ_t - θ_0)
    bowl: np.ndarray  # x_t²/eta

    def error(self, predicted):
        """Of a prediction of the change, over its largest value."""
        return np.abs(self.change - predicted) / np.abs(self.change).max()


def rises(loss, at):
    delta = jnp.sqrt(2 * at.alpha / at.beta)
    path = trajectory(gd_step(loss, at.eta), at.point + 0.05 * delta * at.vector, 100)
    x, y = np.asarray(at.coordinates(path)).T
    until = slice(1, peak(y) + 1)
    moved = path[until] - at.point
    return Rise(
        np.asarray(jax.vmap(loss)(path[until]) - loss(at.point)),
        np.asarray(moved @ at.gradient),
        np.asarray(jax.vmap(curvature, (None, None, 0))(loss, at.point, moved)) / 2,
        x[until] ** 2 / float(at.eta),
    )


@eqx.filter_jit
def curvature(loss, x, v):
    """vᵀ ∇²L(x) v"""
    return v @ jax.jvp(jax.grad(loss), (x,), (v,))[1]


loss_rise = Claim(
    "stabilization/loss-rise",
    source=Source("shapira-review", "Section 4.2, Destabilization"),
    printed=(
        r"The loss also increases rapidly: $\mathcal{L}(\theta_t) - \mathcal{L}(\theta_0) \approx \nabla "
        r"\mathcal{L}(\theta_0)(\theta_t - \theta_0) + \frac{1}{2} (\theta_t - \theta_0)^\top \nabla^2 "
        r"\mathcal{L}(\theta_0) (\theta_t - \theta_0) \approx \frac{1}{\eta} x_t^2$."
    ),
    corrected=(
        r"$\mathcal{L}(\theta_t) - \mathcal{L}(\theta_0) \approx \nabla \mathcal{L}(\theta_0)(\theta_t - \theta_0) + "
        r"\frac{1}{2} (\theta_t - \theta_0)^\top \nabla^2 \mathcal{L}(\theta_0) (\theta_t - \theta_0) \approx \nabla "
        r"\mathcal{L}(\theta_0)(\theta_t - \theta_0) + \frac{1}{\eta} x_t^2$, of which the first term is negative and "
        r"the larger one until $y_t$ peaks: the loss falls."
    ),
    expected="corrected",
    severity="false",
    why=(
        "The printed sum leaves out the linear term, which outweighs the quadratic one: the loss falls where "
        "it is said to increase rapidly."
    ),
)


@loss_rise.check(
    replicate=[0, 1, 2],
    controls={"without the linear term, as printed": dict(linear=0.0), "twice it": dict(linear=2.0)},
)
def test_the_change_of_the_loss_until_y_peaks(evidence, replicate, linear=1.0):
    loss, at, second = at_the_edge(evidence.seed(replicate))
    evidence.requires("λ_2 < 1.9/eta (Assumption 1)", second < 0.95)
    rise = rises(loss, at)
    slope = linear * rise.slope
    predicted = slope + rise.bowl
    polynomial = rise.error(slope + rise.quadratic)
    evidence.at_most("error of the Taylor polynomial / largest change of the loss", polynomial, 0.2)
    evidence.at_most("error / largest change of the loss", rise.error(predicted), 0.2)
    evidence.at_least("|∇L·(θ_t - θ_0)| / (x_t²/eta)", np.abs(slope) / rise.bowl, 1)
    evidence.at_most("change of the loss / largest", rise.change / np.abs(rise.change).max(), 0)
    steps, axes = np.arange(1, len(slope) + 1), ("step", "change of the loss")
    evidence.series(f"network {replicate + 1}", steps, rise.change, axes=axes, style="points")
    evidence.series(f"network {replicate + 1}, with the linear term", steps, predicted, axes=axes)
    evidence.series(f"network {replicate + 1}, as printed", steps, rise.bowl, axes=axes, style="reference")


@loss_rise.check(
    scales=(0.004, 0.002, 0.001),
    controls={"twice the linear term": dict(linear=2.0), "half of the quadratic one": dict(quadratic=0.5)},
)
def test_the_coefficients_of_both_terms(evidence, scales, linear=1.0, quadratic=1.0):
    """On the normal form with fourth powers, from displacements of both signs of scales times √(2α/β) along u and P∇S.

    The terms left out are of the third order: they leave the odd part with an error of the second order, and the even
    part, with one of the fourth.
    """
    loss, at, _ = normal_form_edge(0)
    unit = jnp.sqrt(2 * at.alpha / at.beta) * (at.vector + at.across / jnp.linalg.norm(at.across))
    odd, even = [], []
    for scale in scales:
        moved = scale * unit
        ahead, behind = (float(loss(at.point + side * moved) - loss(at.point)) for side in (1, -1))
        x, _ = at.coordinates(at.point + moved)
        odd.append((ahead - behind) / 2 / float(linear * at.gradient @ moved))
        even.append((ahead + behind) / 2 / float(quadratic * x**2 / at.eta))
    evidence.constant("1 in 1 ∇L(θ_0)(θ_t - θ_0)", 1, odd, 1e-3)
    evidence.constant("1 in 1 x_t²/eta", 1, even, 1e-3)


@loss_rise.counterexample(replicate=0)
def test_the_change_of_the_loss_is_not_the_bowl_alone(evidence, replicate):
    loss, at, _ = at_the_edge(evidence.seed(replicate))
    rise = rises(loss, at)
    evidence.at_most("error / largest change of the loss", rise.error(rise.bowl), 0.2)
