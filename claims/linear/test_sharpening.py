"""Why the sharpness of the two-layer linear network rises."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.optimize import brentq

from eosbench import Claim, Source
from eosbench.dynamics import gd_step, trajectory
from eosbench.problems import LinearNetwork, random_units

from .setting import D, M, N, descend, network

WIDTHS = (320, 640, 1280, 2560, 5120)


def product_residuals(states, Y, eta, shift=0):
    """-Yᵀ ∏ (I - eta M_t'), multiplied from the left, over t' = shift ... shift + t - 1 for every t that has them."""
    row, rows = -Y, [-Y]
    for gram in states.M[shift:-1]:
        row = row - eta * row @ gram
        rows.append(row)
    return np.array(rows)


class WideRun(NamedTuple):
    """Output, residual and Gram matrix at the start and after each of 200 steps."""

    F: np.ndarray
    D: np.ndarray
    M: np.ndarray


def wide_run(seed, m, symmetric=True):
    """Gradient descent on the units of the narrowest network, copied, so that the width alone differs."""
    net = network(seed, n=30, d=40)
    units = jnp.tile(random_units(WIDTHS[0], 40, seed=seed, symmetric=symmetric), (m // WIDTHS[0], 1))
    eta = 0.8 / np.linalg.eigvalsh(net.gram(units))[-1]
    seen = trajectory(gd_step(net, eta), units, 200, lambda u: (net.outputs(u), net.residual(u), net.gram(u)))
    return np.asarray(net.X), np.asarray(net.Y), eta, WideRun(*map(np.asarray, seen))


def dropped(X, Y, eta, states, m):
    """Sum over the steps before t of the norms of the second terms of Lemma 4, over ‖Y‖: what (4) may be off by."""
    n = X.shape[1]
    terms = 4 * eta**2 / (n**2 * m) * (states.F * states.D).sum(1)[:, None] * (states.D @ X.T @ X)
    return np.concatenate([[0], np.cumsum(np.linalg.norm(terms, axis=1))])[:-1] / np.linalg.norm(Y)


product_formula = Claim(
    "linear/product-formula",
    source=Source("shapira-review", "Section 5.3, Equation (4)"),
    printed=(
        r"By assuming overparameterization $m > n$ (...), we ignore the second term [of Lemma 4] ... $D_t = -Y "
        r"\prod_{t' \in [t]} (I - \eta M_{t'})$ (4) [with $[t] = \{0, ..., t-1\}$, up to the term that is ignored: its "
        r"sum is $O(1/m)$, and so is the sharpening]"
    ),
    expected="holds",
    uses=("linear/error-dynamics",),
)


@product_formula.check(
    widths=WIDTHS,
    controls={"outputs that do not start at zero": dict(symmetric=False)},
)
def test_the_product_is_right_up_to_one_over_m(evidence, widths, symmetric=True):
    """Between random units of two widths more would differ than the width: such slopes scatter by a tenth."""
    errors, rises, excess = [], [], []
    for m in widths:
        error, rise = [], []
        for replicate in range(3):
            X, Y, eta, states = wide_run(evidence.seed(replicate), m, symmetric)
            predicted = product_residuals(states, Y, eta)
            error.append(np.abs(np.linalg.norm(states.D - predicted, axis=1)).max() / np.linalg.norm(Y))
            sharpness = np.linalg.eigvalsh(states.M)[:, -1]
            rise.append(sharpness[-1] / sharpness[0] - 1)
            excess.append(error[-1] - dropped(X, Y, eta, states, m)[-1])
        errors.append(np.exp(np.mean(np.log(error))))
        rises.append(np.exp(np.mean(np.log(np.abs(rise)))))
    evidence.rate("largest ‖D_t - product‖/‖Y‖", widths, errors, exponent=-1, tolerance=0.02)
    evidence.rate("growth of λ_1(M)", widths, rises, exponent=-1, tolerance=0.02)
    evidence.at_most("error beyond the sum of the dropped terms", excess, 0)
    axes = ("hidden units m", "relative to the start")
    evidence.series("error of the product", widths, errors, axes=axes, scale="loglog", style="points")
    evidence.series("growth of λ_1(M)", widths, rises, axes=axes, scale="loglog", style="points")


@product_formula.check(m=320, controls={"[t] = {1, ..., t}: the product starts one step late": dict(first=1)})
def test_the_product_costs_no_more_than_the_term_that_is_dropped(evidence, m, first=0):
    """Lemma 4 bounds what dropping its second term costs, where every eta M_t' is below 2."""
    X, Y, eta, states = wide_run(evidence.seed(), m)
    evidence.requires("eta λ_1(M_t) < 2", eta * np.linalg.eigvalsh(states.M)[:, -1].max() < 2)
    evidence.requires("m > n", m > X.shape[1])
    product = product_residuals(states, Y, eta, shift=first)
    error = np.linalg.norm(states.D[: len(product)] - product, axis=1) / np.linalg.norm(Y)
    rounding = 1e-13  # D_1 and D_2 attain the bound
    evidence.at_most("‖D_t - product‖/‖Y‖", error, dropped(X, Y, eta, states, m)[: len(product)] + rounding)


negative_inner_product = Claim(
    "linear/negative-inner-product",
    source=Source("shapira-review", "Section 5.3, last paragraph"),
    printed=(
        r"By Equation (4) and $F_t = Y + D_t$, we get that as long as $\lambda_1(M_t) < 2/\eta$, $\langle D_t, F_t "
        r"\rangle < 0$."
    ),
    corrected=(
        r"If $F_0 = 0$, $\lambda_1(M_{t'}) < 1/\eta$ for all $t' < t$, $t \geq 1$, and the $M_{t'}$ commute, then "
        r"$\langle D_t, F_t \rangle < 0$; measured also along gradient descent."
    ),
    expected="corrected",
    severity="wrong constant",
    uses=("linear/product-formula",),
)


@negative_inner_product.check(top=[0.5, 0.99], controls={"between 1/eta and 2/eta": dict(top=1.9)})
def test_equation_4_with_gram_matrices_that_commute(evidence, top):
    """eta M_t' = V diag(p_t') Vᵀ with random p below `top`: modes V, with labels ±1."""
    random = np.random.default_rng(evidence.seed())
    V = np.linalg.qr(random.normal(size=(50, N, N)))[0]
    eigenvalues = top * random.uniform(1e-3, 1, size=(50, 40, N))
    Y = random.choice([-1.0, 1.0], size=(50, N))
    evidence.requires("0 < λ_1(M_t) < 1/eta", eigenvalues.max() < 1)
    modes = np.cumprod(1 - eigenvalues, axis=1) * -np.einsum("rij,ri->rj", V, Y)[:, None, :]
    D = np.einsum("rij,rtj->rti", V, modes)
    evidence.at_most("<D_t, F_t>/n for t >= 1", (D * (Y[:, None, :] + D)).sum(-1) / N, 0)


@negative_inner_product.check(
    labels=["random", "sign of v_1"],
    controls={
        "outputs that do not start at zero": dict(symmetric=False, output_scale=3.0),
        "between 1/eta and 2/eta": dict(labels="sign of v_1", product=1.8),
    },
)
def test_the_inner_product_along_gradient_descent(evidence, labels, product=0.9, symmetric=True, output_scale=1.0):
    largest = []
    for replicate in range(5):
        seed = evidence.seed(replicate)
        net = network(seed, decay=3.0, labels=labels)
        units = random_units(M, D, seed=seed, symmetric=symmetric, output_scale=output_scale)
        eta, states = descend(net, units, product, 100)
        above = eta * np.linalg.eigvalsh(states.M)[:, -1] >= max(product, 1)
        until = int(np.argmax(above)) if above.any() else 100
        evidence.requires("eta λ_1(M_t) stays below 1 for 5 steps or more", product < 1 and until >= 5)
        evidence.requires("F_0 = 0", symmetric)
        FD = (states.F * states.D).sum(1)
        largest.append(FD[1 : max(until, 5) + 1].max() / N)
        evidence.series(f"run {replicate + 1}", np.arange(101), FD / N, axes=("step", "<D, F>/n"))
    evidence.at_most("<D_t, F_t>/n while λ_1(M_t) < 1/eta", largest, 0)


def one_step_of_two_units(product):
    """Gradient descent on one input, where the Gram matrix is a number, from F_0 = 0."""
    net = LinearNetwork(np.ones((1, 1)), np.ones(1))
    return descend(net, jnp.array([[1.0, 1.0], [-1.0, 1.0]]), product, 1)


@negative_inner_product.check(controls={"from a step of 1.02/λ_1 up": dict(lowest=1.02)})
def test_one_over_eta_is_the_threshold(evidence, lowest=0.5):
    """Where Y lies along v_1, <D_1, F_1> changes its sign with 1 - eta λ_1(M_0)."""

    def inner(product):
        _, states = one_step_of_two_units(product)
        return states.D[1] @ states.F[1]

    ends = inner(lowest), inner(1.5)
    evidence.at_most("<D_1, F_1> at the lowest step size", ends[0], 0)
    evidence.at_least("<D_1, F_1> at 1.5/λ_1", ends[1], 0)
    if ends[0] < 0 < ends[1]:
        evidence.constant("1 in λ_1(M_0) < 1/eta", 1.0, brentq(inner, lowest, 1.5, xtol=1e-12), 1e-9)


@negative_inner_product.counterexample(product=1.5)
def test_one_input_and_two_units(evidence, product):
    eta, states = one_step_of_two_units(product)
    evidence.requires("F_0 = 0", states.F[0, 0] == 0)
    evidence.requires("λ_1(M_t) < 2/eta", eta * states.M.max() < 2)
    evidence.at_most("<D_1, F_1>", (states.D[1] * states.F[1]).sum(), 0)


progressive_sharpening = Claim(
    "linear/progressive-sharpening",
    source=Source("shapira-review", "Section 5"),
    printed=(
        r"... sharpness increases along the gradient descent trajectory until it reaches a critical threshold ... The "
        r"escalation in sharpness is contingent on this inner product [$\langle F_t, D_t \rangle$] remaining negative. "
        r"As long as this condition persists, both the norm of the second-layer weight and the sharpness continue to "
        r"increase."
    ),
    expected="holds",
    coarse=(
        r"A threshold of up to 1.4 times $2/\eta$ would pass: the sharpness rises on past $2/\eta$ before the loss "
        r"turns, and the document does not say by how much."
    ),
    uses=("linear/norm-dynamics", "linear/negative-inner-product"),
)


@progressive_sharpening.check(
    replicate=[0, 1, 2, 3, 4],
    controls={
        "outputs that do not start at zero": dict(symmetric=False, output_scale=3.0),
        "a step so small that 2/eta is not reached": dict(product=1e-3),
    },
)
def test_norm_and_sharpness_rise_up_to_the_threshold(
    evidence, replicate, product=0.2, symmetric=True, output_scale=0.3, steps=300
):
    """From the second step on: F_0 = 0, and so is the inner product at the start."""
    seed = evidence.seed(replicate)
    net = network(seed, n=30, d=40, decay=2.0)
    units = random_units(20, 40, seed=seed, symmetric=symmetric, output_scale=output_scale)
    eta, states = descend(net, units, product, steps)
    with np.errstate(all="ignore"):
        finite = np.isfinite(states.M).all((1, 2))
        sharpness = np.full(steps + 1, np.nan)
        sharpness[finite] = eta / 2 * np.linalg.eigvalsh(states.M[finite])[:, -1]
        norm, inner = (states.A**2).sum(1), (states.F * states.D).sum(1)[1:]
    negative = finite[1:] & (inner < 0)
    last = steps if negative.all() else int(np.argmin(negative)) + 1  # the first step at which it is not
    last = min(last, int(finite.sum()) - 1)
    evidence.requires("it starts below 2/eta", sharpness[0] < 1)
    evidence.requires("F_0 = 0", symmetric)
    evidence.at_least("λ_1(M) / (2/eta), as long as <F_t, D_t> is negative", sharpness[last], 1)
    evidence.at_least("growth of λ_1(M) up to there", sharpness[last] / sharpness[0], 1.2)
    rising = slice(None, max(last + 1, 2))
    evidence.monotone("λ_1(M) up to there", sharpness[rising], direction="increasing")
    evidence.monotone("‖A‖² up to there", norm[rising], direction="increasing")
    shown = slice(None, last + 1)
    axes = ("step", "λ_1(M) in units of 2/η")
    evidence.series("λ_1(M)", np.arange(steps + 1)[shown], sharpness[shown], axes=axes)
    evidence.series("2/η", [0, last], [1, 1], axes=axes, style="reference")
