"""The two-layer linear network ``f(x) = Aᵀ W x / √m`` (Shapira, Section 5, after Li, Wang and Li 2022)."""

from functools import cache

import jax
import numpy as np

from eosbench import Claim, Source
from eosbench.dynamics import gd_step, trajectory
from eosbench.problems import LinearNetwork, linear_states, power_law_inputs, random_units

N, D, M = 30, 20, 40  # inputs, their dimension, hidden units


def network(seed, n=N, d=D, decay=1.0, labels="random"):
    """A data set whose XᵀX has eigenvalues n i^-decay, with labels ±1."""
    X = power_law_inputs(n, d, decay=decay, seed=seed)
    random = np.random.default_rng(seed + 1)
    Y = np.sign(top_vectors(X.T @ X, 1)[1][:, 0]) if labels == "sign of v_1" else random.choice([-1.0, 1.0], size=n)
    return LinearNetwork(jax.numpy.asarray(X), jax.numpy.asarray(Y))


def top_vectors(symmetric, k):
    """The k largest eigenvalues, descending, and their eigenvectors in columns."""
    values, vectors = np.linalg.eigh(symmetric)
    return values[::-1][:k], vectors[:, ::-1][:, :k]


def descend(net, units, product, steps):
    """Step size and states of gradient descent with eta λ_1(M_0) = product."""
    eta = product / np.linalg.eigvalsh(net.gram(units))[-1]
    states = linear_states(net, trajectory(gd_step(net, eta), units, steps))
    return eta, type(states)(*map(np.asarray, states))


@cache
def short_run(seed, start):
    """60 steps at eta λ_1(M_0) = 1.2, from outputs that are zero or not."""
    net = network(seed)
    eta, states = descend(net, random_units(M, D, seed=seed, symmetric=start == "symmetric"), 1.2, 60)
    return np.asarray(net.X), np.asarray(net.Y), eta, states


def outer(a, b):
    """a_t b_tᵀ for every t."""
    return a[:, :, None] * b[:, None, :]


def every(scalars):
    """One number per step, to multiply matrices with."""
    return np.asarray(scalars)[:, None, None]


def norm_change(states, X, eta):
    """The right-hand side of the update of ‖A‖², and its part of second order ‖∂L/∂A‖²."""
    n, m = X.shape[1], states.A.shape[1]
    gradient = 2 / (n * np.sqrt(m)) * np.einsum("tmd,td->tm", states.W, states.D @ X.T)
    first, second = -4 * eta / n * (states.F * states.D).sum(1), (gradient**2).sum(1)
    return first + eta**2 * second, second


gram_form = Claim(
    "linear/gram-form",
    source=Source("shapira-review", "Section 5.1"),
    printed=r"$M = \frac{2}{n} \frac{\partial F}{\partial \theta} \frac{\partial F}{\partial \theta}^\top "
    r"= \frac{2}{mn} (\|A\|^2 \Sigma + X^\top W^\top W X)$.",
    expected="holds",
    experiment="linear/identities",
)


@gram_form.check(start=["symmetric", "generic"], controls={"the hidden layer's gradient left out": dict(columns=1)})
def test_the_gram_matrix_of_the_derivatives(evidence, start, columns=D + 1):
    X, Y, _, states = short_run(evidence.seed(), start)
    net = LinearNetwork(X, Y)
    for step in (0, 20, 60):
        units = np.column_stack([states.A[step], states.W[step]])
        J = np.asarray(net.jacobian(units)).reshape(N, M, D + 1)[:, :, :columns].reshape(N, -1)
        evidence.equal(f"M after {step} steps", 2 / N * J @ J.T, states.M[step])


spectrum = Claim(
    "linear/gauss-newton-spectrum",
    source=Source("shapira-review", "Section 5.1"),
    printed=r"[$G =$] $n^{-1} \sum_{i=1}^n \frac{\partial f(x_i, \theta)}{\partial \theta}^\top "
    r"\frac{\partial f(x_i, \theta)}{\partial \theta}$ ... $M = \frac{2}{n} \frac{\partial F(\theta)}{\partial "
    r"\theta} \frac{\partial F(\theta)}{\partial \theta}^\top$. Notice that G and M have the same non-zero "
    r"eigenvalues.",
    corrected=r"The non-zero eigenvalues of $M$ are twice those of $G$.",
    expected="corrected",
    experiment="linear/identities",
)


def gauss_newton(X, Y, states):
    """G at the start."""
    J = np.asarray(LinearNetwork(X, Y).jacobian(np.column_stack([states.A[0], states.W[0]])))
    return J.T @ J / N


def half_hessian(X, Y, states):
    """Half the Hessian of the loss at the start: G and what the residual adds."""
    units = jax.numpy.column_stack([states.A[0], states.W[0]])
    return np.asarray(jax.jit(jax.hessian(LinearNetwork(X, Y)))(units)).reshape(units.size, units.size) / 2


@spectrum.check(
    start=["symmetric", "generic"],
    controls={"half the loss's Hessian, residual and all, in place of G": dict(matrix=half_hessian)},
)
def test_the_eigenvalues_of_m_are_twice_those_of_g(evidence, start, matrix=gauss_newton):
    X, Y, _, states = short_run(evidence.seed(), start)
    of_m, of_g = np.linalg.eigvalsh(states.M[0])[::-1], np.linalg.eigvalsh(matrix(X, Y, states))[::-1]
    evidence.constant("2 in λ_i(M) = 2 λ_i(G)", 2.0, of_m[:D] / of_g[:D], 1e-11)
    evidence.close("the other eigenvalues of M", of_m[D:], 0, 1e-12 * of_m[0])
    evidence.close("the other eigenvalues of G", of_g[D:], 0, 1e-12 * of_g[0])


@spectrum.counterexample(start="symmetric")
def test_they_are_not_the_same(evidence, start):
    X, Y, _, states = short_run(evidence.seed(), start)
    of_g = np.linalg.eigvalsh(gauss_newton(X, Y, states))
    evidence.equal("λ_1", np.linalg.eigvalsh(states.M[0])[-1], of_g[-1])


sandwich = Claim(
    "linear/sandwich",
    source=Source("shapira-review", "Assumption 5 and Lemma 3"),
    printed=r"[Assumption 5:] There exists some constant $c > 0$ such that for any $t$: $\|X^\top W_t W_t X - "
    r"\frac{m}{d} \Sigma\| \leq \frac{cn}{2}$ [read $X^\top W_t^\top W_t X$]. [Lemma 3:] $S(\theta_t) \geq v_1^\top "
    r"M_t v_1 \geq S(\theta_t) - \frac{2c}{m}$.",
    expected="holds",
)


def smallest_c(X, W):
    """The smallest c of Assumption 5, with a leading axis of iterates."""
    n, d, m = X.shape[1], X.shape[0], W.shape[-2]
    hidden = W @ X
    deviation = hidden.swapaxes(-1, -2) @ hidden - m / d * X.T @ X
    return 2 / n * np.abs(np.linalg.eigvalsh(deviation)).max(-1)


@sandwich.check(start=["symmetric", "generic"], controls={"the second eigenvector of Σ in place of v_1": dict(which=1)})
def test_v_1_nearly_attains_the_sharpness(evidence, start, which=0):
    X, _, _, states = short_run(evidence.seed(), start)
    v = top_vectors(X.T @ X, 2)[1][:, which]
    S, attained = np.linalg.eigvalsh(states.M)[:, -1], np.einsum("i,tij,j->t", v, states.M, v)
    c = smallest_c(X, states.W)
    evidence.at_least("S", S, attained, uncertainty=0)
    evidence.at_most("S - v_1ᵀ M v_1, of 2c/m", (S - attained) / (2 * c / M), 1)
    axes = ("step", "sharpness")
    evidence.series("S", np.arange(len(S)), S, axes=axes)
    evidence.series("v_1ᵀ M v_1", np.arange(len(S)), attained, axes=axes)
    evidence.series("S - 2c/m", np.arange(len(S)), S - 2 * c / M, axes=axes, style="reference")


@sandwich.check(gaps=(1e-2, 1e-3, 1e-4, 1e-5, 1e-6), controls={"eigenvalues well apart": dict(gaps=(0.5, 0.4, 0.3))})
def test_the_constant_two_is_sharp(evidence, gaps):
    """n = d = 2: W favours v_2, whose eigenvalue is all but λ_1; the loss of v_1 comes near to 2c/m."""
    m, d, losses = 8, 2, []
    for gap in gaps:
        X = np.diag(np.sqrt([1.0, 1 - gap]))
        units = np.zeros((m, 1 + d))
        units[0, 0] = 1
        units[1, 1], units[2, 2] = np.sqrt(m / d - 2), np.sqrt(m / d + 2)
        gram, c = np.asarray(LinearNetwork(X, np.ones(2)).gram(units)), smallest_c(X, units[:, 1:])
        losses.append((np.linalg.eigvalsh(gram)[-1] - gram[0, 0]) * m / c)
    evidence.monotone("(S - v_1ᵀ M v_1) m/c as λ_2 comes near λ_1", losses, direction="increasing")
    evidence.constant("2 in 2c/m", 2.0, losses[-1], 1e-4)


error_dynamics = Claim(
    "linear/error-dynamics",
    source=Source("shapira-review", "Lemma 4 (The Dynamics of the Error)"),
    printed=r"$D_{t+1} - D_t = -\eta D_t^\top M_t + \frac{4\eta^2}{n^2 m} \langle F_t, D_t \rangle D_t^\top \Sigma$ "
    r"[as row vectors].",
    expected="holds",
    experiment="linear/identities",
)


@error_dynamics.check(
    start=["symmetric", "generic"],
    controls={"without the second term": dict(second=0.0), "twice the second term": dict(second=2.0)},
)
def test_the_update_of_the_residual(evidence, start, second=1.0):
    X, _, eta, now = short_run(evidence.seed(), start)
    change = -eta * np.einsum("ti,tij->tj", now.D, now.M)
    change += second * 4 * eta**2 / (N**2 * M) * (now.F * now.D).sum(1)[:, None] * (now.D @ X.T @ X)
    evidence.equal("D_t+1 - D_t", np.diff(now.D, axis=0), change[:-1], scale=np.abs(now.D).max())


norm_dynamics = Claim(
    "linear/norm-dynamics",
    source=Source("shapira-review", "Section 5.3"),
    printed=r"$\|A_{t+1}\|^2 - \|A_t\|^2 = -\frac{4\eta}{n} \langle F_t, D_t \rangle "
    r"+ \eta^2 \left\| \frac{\partial \mathcal{L}}{\partial A} \right\|^2$.",
    expected="holds",
    experiment="linear/identities",
)


@norm_dynamics.check(
    start=["symmetric", "generic"], controls={"in first order only, as gradient flow has it": dict(second=0.0)}
)
def test_the_update_of_the_second_layers_norm(evidence, start, second=1.0):
    X, _, eta, states = short_run(evidence.seed(), start)
    change, of_second_order = norm_change(states, X, eta)
    norm = (states.A**2).sum(1)
    predicted = change - (1 - second) * eta**2 * of_second_order
    evidence.equal("change of ‖A‖²", np.diff(norm), predicted[:-1], scale=norm.max())


gram_dynamics = Claim(
    "linear/gram-dynamics",
    source=Source("shapira-review", "Lemma 5 (The Dynamics of the Gram Matrix)"),
    printed=r"$M_{t+1} - M_t = -\frac{4\eta}{n^2 m} (2\langle F_t, D_t \rangle \Sigma + F_t D_t^\top \Sigma "
    r"- \Sigma D_t F_t^\top) + \frac{8\eta^2}{n^3 m^2} (\|W_t X D_t\|^2 \Sigma "
    r"+ \|A_t\|^2 \Sigma D_t D_t^\top \Sigma)$ [; the last term of its proof has $4\eta$].",
    corrected=(
        r"$M_{t+1} - M_t = -\frac{4\eta}{n^2 m} (2\langle F_t, D_t \rangle \Sigma + F_t D_t^\top \Sigma + \Sigma D_t "
        r"F_t^\top) + \frac{8\eta^2}{n^3 m^2} (\|W_t X D_t\|^2 \Sigma + \|A_t\|^2 \Sigma D_t D_t^\top \Sigma)$; the "
        r"last term of its proof has $4\eta^2$."
    ),
    expected="corrected",
    uses=("linear/gram-form", "linear/norm-dynamics"),
    experiment="linear/identities",
)


def gram_change(states, X, eta, sign=1, last=None):
    """The lemma's right-hand side; `last` is what stands for eta² in the term with Σ D Dᵀ Σ."""
    n, m, sigma = X.shape[1], states.A.shape[1], X.T @ X
    DS = states.D @ sigma
    first = 2 * every((states.F * states.D).sum(1)) * sigma + outer(states.F, DS) + sign * outer(DS, states.F)
    pre_activation = np.einsum("tmd,td->tm", states.W, states.D @ X.T)
    through_a = eta**2 * every((pre_activation**2).sum(1)) * sigma
    through_w = (eta**2 if last is None else last) * every((states.A**2).sum(1)) * outer(DS, DS)
    return -4 * eta / (n**2 * m) * first + 8 / (n**3 * m**2) * (through_a + through_w)


@gram_dynamics.check(start=["symmetric", "generic"], controls={"the terms of second order left out": dict(share=0.0)})
def test_the_update_of_the_gram_matrix(evidence, start, share=1.0):
    X, _, eta, states = short_run(evidence.seed(), start)
    whole, doubled = gram_change(states, X, eta), gram_change(states, X, 2 * eta)
    of_second_order = doubled / 2 - whole
    predicted = whole - (1 - share) * of_second_order
    evidence.equal("M_t+1 - M_t", np.diff(states.M, axis=0), predicted[:-1], scale=np.abs(states.M).max())


@gram_dynamics.counterexample(start="generic")
def test_the_printed_sign(evidence, start):
    X, _, eta, states = short_run(evidence.seed(), start)
    printed = gram_change(states, X, eta, sign=-1)[:-1]
    evidence.equal("M_t+1 - M_t", np.diff(states.M, axis=0), printed, scale=np.abs(states.M).max())


@gram_dynamics.counterexample(start="generic", power="eta")
def test_the_last_term_of_the_printed_proof(evidence, start, power):
    X, _, eta, states = short_run(evidence.seed(), start)
    printed = gram_change(states, X, eta, last=eta)[:-1]
    evidence.equal("M_t+1 - M_t", np.diff(states.M, axis=0), printed, scale=np.abs(states.M).max())


mode_inequality = Claim(
    "linear/mode-inequality",
    source=Source("shapira-review", "Section 5.3, after Lemma 5"),
    printed=r"$v_i^\top (M_{t+1} - M_t) v_i \geq -\frac{8\lambda_i \eta}{n^2 m} \left( \langle F_t, D_t \rangle "
    r"+ \langle v_i, F_t \rangle \langle D_t, v_i \rangle \right)$.",
    expected="holds",
    uses=("linear/gram-dynamics",),
    experiment="linear/identities",
)


@mode_inequality.check(
    start=["symmetric", "generic"],
    controls={"with the sign of Lemma 5 as printed, where the last terms cancel": dict(mode=0)},
)
def test_the_growth_along_every_mode(evidence, start, mode=1):
    X, _, eta, states = short_run(evidence.seed(), start)
    values, v = top_vectors(X.T @ X, D)
    grown = np.einsum("in,tij,jn->tn", v, np.diff(states.M, axis=0), v)
    FD, modes = (states.F * states.D).sum(1)[:-1, None], (states.F @ v * (states.D @ v))[:-1]
    bound = -8 * values * eta / (N**2 * M) * (FD + mode * modes)
    rounding = 64 * np.finfo(float).eps * np.abs(states.M).max()
    evidence.at_least("v_iᵀ (M_t+1 - M_t) v_i", grown, bound, uncertainty=rounding)
    axes = ("step", "v_1ᵀ (M_t+1 - M_t) v_1")
    evidence.series("measured", np.arange(len(grown)), grown[:, 0], axes=axes)
    evidence.series("bound", np.arange(len(grown)), bound[:, 0], axes=axes, style="reference")


product_formula = Claim(
    "linear/product-formula",
    source=Source("shapira-review", "Section 5.3, Equation (4)"),
    printed=r"By assuming overparameterization $m > n$ (...), we ignore the second term [of Lemma 4] ... "
    r"$D_t = -Y \prod_{t' \in [t]} (I - \eta M_{t'})$ (4)",
    corrected=r"$D_t^\top = -Y^\top \prod_{t'=0}^{t-1} (I - \eta M_{t'}) + O(1/m)$, and the sharpening is "
    r"$O(1/m)$ too.",
    expected="corrected",
    uses=("linear/error-dynamics",),
)

WIDTHS = (40, 80, 160, 320, 640, 1280)


def product_residuals(states, Y, eta, shift=0):
    """-Yᵀ ∏ (I - eta M_t'), multiplied from the left, over t' = shift ... shift + t - 1 for every t that has them."""
    row, rows = -Y, [-Y]
    for gram in states.M[shift:-1]:
        row = row - eta * row @ gram
        rows.append(row)
    return np.array(rows)


def wide_run(seed, m, symmetric=True):
    net = network(seed, n=30, d=40)
    eta, states = descend(net, random_units(m, 40, seed=seed, symmetric=symmetric), 0.8, 200)
    return np.asarray(net.X), np.asarray(net.Y), eta, states


@product_formula.check(
    widths=WIDTHS,
    controls={"outputs that do not start at zero": dict(symmetric=False)},
)
def test_the_product_is_right_up_to_one_over_m(evidence, widths, symmetric=True):
    errors, rises, excess = [], [], []
    for m in widths:
        error, rise = [], []
        for replicate in range(3):
            X, Y, eta, states = wide_run(evidence.seed(replicate), m, symmetric)
            predicted = product_residuals(states, Y, eta)
            error.append(np.abs(np.linalg.norm(states.D - predicted, axis=1)).max() / np.linalg.norm(Y))
            sharpness = np.linalg.eigvalsh(states.M)[:, -1]
            rise.append(sharpness[-1] / sharpness[0] - 1)
            excess.append(error[-1] - dropped(X, Y, eta, states)[-1])
        errors.append(np.exp(np.mean(np.log(error))))
        rises.append(np.exp(np.mean(np.log(np.abs(rise)))))
    evidence.rate("largest ‖D_t - product‖/‖Y‖", widths, errors, exponent=-1, tolerance=0.2)
    evidence.rate("growth of λ_1(M)", widths, rises, exponent=-1, tolerance=0.2)
    evidence.at_most("error beyond the sum of the dropped terms", excess, 0)
    axes = ("hidden units m", "relative to the start")
    evidence.series("error of the product", widths, errors, axes=axes, scale="loglog", style="points")
    evidence.series("growth of λ_1(M)", widths, rises, axes=axes, scale="loglog", style="points")


def dropped(X, Y, eta, states):
    """Sum over the steps before t of the norms of the second terms of Lemma 4, over ‖Y‖: what (4) may be off by."""
    n, m = X.shape[1], states.A.shape[1]
    terms = 4 * eta**2 / (n**2 * m) * (states.F * states.D).sum(1)[:, None] * (states.D @ X.T @ X)
    return np.concatenate([[0], np.cumsum(np.linalg.norm(terms, axis=1))])[:-1] / np.linalg.norm(Y)


@product_formula.counterexample(m=160)
def test_the_printed_product_starts_one_step_late(evidence, m):
    """Lemma 4 bounds what dropping its second term costs, where every eta M_t' is below 2; the printed
    product costs more."""
    X, Y, eta, states = wide_run(evidence.seed(), m)
    evidence.requires("eta λ_1(M_t) < 2", eta * np.linalg.eigvalsh(states.M)[:, -1].max() < 2)
    evidence.requires("m > n", m > X.shape[1])
    printed = product_residuals(states, Y, eta, shift=1)
    error = np.linalg.norm(states.D[: len(printed)] - printed, axis=1) / np.linalg.norm(Y)
    evidence.at_most("‖D_t - printed product‖/‖Y‖", error, dropped(X, Y, eta, states)[: len(printed)])


inner_product = Claim(
    "linear/negative-inner-product",
    source=Source("shapira-review", "Section 5.3, last paragraph"),
    printed=r"By Equation (4) and $F_t = Y + D_t$, we get that as long as $\lambda_1(M_t) < 2/\eta$, "
    r"$\langle D_t, F_t \rangle < 0$.",
    corrected=r"If $F_0 = 0$, $\lambda_1(M_{t'}) < 1/\eta$ for all $t' < t$, $t \geq 1$, and the $M_{t'}$ commute, "
    r"then $\langle D_t, F_t \rangle < 0$; measured also along gradient descent.",
    expected="corrected",
    uses=("linear/product-formula",),
)


@inner_product.check(top=[0.5, 0.99], controls={"between 1/eta and 2/eta": dict(top=1.9)})
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


@inner_product.check(
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


@inner_product.counterexample(product=1.5)
def test_one_input_and_two_units(evidence, product):
    net = LinearNetwork(np.ones((1, 1)), np.ones(1))
    eta, states = descend(net, jax.numpy.array([[1.0, 1.0], [-1.0, 1.0]]), product, 1)
    evidence.requires("F_0 = 0", states.F[0, 0] == 0)
    evidence.requires("λ_1(M_t) < 2/eta", eta * states.M.max() < 2)
    evidence.at_most("<D_1, F_1>", (states.D[1] * states.F[1]).sum(), 0)


linear_sharpening = Claim(
    "linear/progressive-sharpening",
    source=Source("shapira-review", "Section 5"),
    printed=r"... sharpness increases along the gradient descent trajectory until it reaches a critical threshold ... "
    r"The escalation in sharpness is contingent on this inner product [$\langle F_t, D_t \rangle$] remaining negative. "
    r"As long as this condition persists, both the norm of the second-layer weight and the sharpness continue to "
    r"increase.",
    expected="holds",
    uses=("linear/norm-dynamics", "linear/negative-inner-product"),
)


@linear_sharpening.check(
    replicate=[0, 1, 2, 3, 4],
    controls={
        "outputs that do not start at zero": dict(symmetric=False, output_scale=3.0),
        "a step so small that 2/eta is not reached": dict(product=1e-3),
        "a start above 2/eta": dict(product=2.5),
    },
)
def test_norm_and_sharpness_rise_until_the_threshold(
    evidence, replicate, product=0.2, symmetric=True, output_scale=0.3, steps=300
):
    seed = evidence.seed(replicate)
    net = network(seed, n=30, d=40, decay=2.0)
    units = random_units(20, 40, seed=seed, symmetric=symmetric, output_scale=output_scale)
    eta, states = descend(net, units, product, steps)
    with np.errstate(all="ignore"):
        finite = np.isfinite(states.M).all((1, 2))
        sharpness = np.full(steps + 1, np.nan)
        sharpness[finite] = eta / 2 * np.linalg.eigvalsh(states.M[finite])[:, -1]
        norm = (states.A**2).sum(1)
    evidence.requires("it starts below 2/eta", sharpness[0] < 1)
    reached = sharpness >= 1
    crossing = int(np.argmax(reached)) if reached.any() else int(finite.sum()) - 1
    up_to = slice(1, crossing + 1)
    inner = (states.F[up_to] * states.D[up_to]).sum(1)
    evidence.requires("F_0 = 0", symmetric)
    evidence.requires("<F_t, D_t> < 0 from the first step up to the crossing", (inner < 0).all())
    evidence.at_least("λ_1(M) / (2/eta) at the crossing", sharpness[crossing], 1)
    evidence.at_least("growth of λ_1(M) up to there", sharpness[crossing] / sharpness[0], 1.2)
    rising = slice(None, max(crossing + 1, 2))
    evidence.monotone("λ_1(M) up to the crossing", sharpness[rising], direction="increasing")
    evidence.monotone("‖A‖² up to the crossing", norm[rising], direction="increasing")
    shown = slice(None, crossing + 20)
    axes = ("step", "λ_1(M) in units of 2/η")
    evidence.series("λ_1(M)", np.arange(steps + 1)[shown], sharpness[shown], axes=axes)
    evidence.series("2/η", [0, crossing + 20], [1, 1], axes=axes, style="reference")


assumption_4 = Claim(
    "linear/assumption-4",
    source=Source("shapira-review", "Assumption 4"),
    printed=r"For all $t$, $S(\theta_{t+1}) > S(\theta_t)$ if and only if $\lambda_1(M_{t+1}) > \lambda_1(M_t)$.",
    corrected=(
        r"From a start that is not small, $S(\theta_{t+1}) > S(\theta_t)$ if and only if $\lambda_1(M_{t+1}) > "
        r"\lambda_1(M_t)$, in at least 95 % of the steps."
    ),
    expected="corrected",
)


@jax.jit
def top_eigenvalues(net, path):
    def one(units):
        hessian = jax.hessian(net)(units).reshape(units.size, units.size)
        return jax.numpy.linalg.eigvalsh(hessian)[-1], jax.numpy.linalg.eigvalsh(net.gram(units))[-1]

    return jax.lax.map(one, path)


def moves_together(seed, scale):
    """For the first 60 steps whether S and λ_1(M) move the same way, steps that move S by no more than
    rounding left out."""
    net = network(seed, n=20, d=8)
    units = scale * random_units(16, 8, seed=seed)
    eta = 1.2 * min(scale, 1) ** 2 / np.linalg.eigvalsh(net.gram(units))[-1]
    S, gram = map(np.asarray, top_eigenvalues(net, trajectory(gd_step(net, eta), units, 60)))
    moving = np.abs(np.diff(S)) > 64 * np.finfo(float).eps * S[1:]
    return (np.sign(np.diff(S)) == np.sign(np.diff(gram)))[moving]


@assumption_4.check(
    replicate=[0, 1, 2, 3, 4],
    controls={"a start so small that the residual's part of the Hessian rules": dict(scale=0.1)},
)
def test_sharpness_and_gram_matrix_move_together(evidence, replicate, scale=1.0):
    together = moves_together(evidence.seed(replicate), scale)
    evidence.at_least("share of the steps in which S and λ_1(M) move the same way", np.mean(together), 0.95)


@assumption_4.counterexample(scale=0.5)
def test_a_step_in_which_they_part(evidence, scale):
    together = moves_together(evidence.seed(), scale)
    evidence.at_least("share of the steps in which S and λ_1(M) move the same way", np.mean(together), 1)


assumption_5 = Claim(
    "linear/assumption-5",
    source=Source("shapira-review", "Assumption 5"),
    printed=r"There exists some constant $c > 0$ such that for any $t$: "
    r"$\|X^\top W_t^\top W_t X - \frac{m}{d} \Sigma\| \leq \frac{cn}{2}$.",
    corrected=(
        r"For $W_{ij} \sim N(0, 1/d)$ at the start, there exists $c > 0$, proportional to $\sqrt{m}$, such that for "
        r"any $t$: $\|X^\top W_t^\top W_t X - \frac{m}{d} \Sigma\| \leq \frac{cn}{2}$; the error is of the order of "
        r"$1/\sqrt{m}$ relative to $\frac{m}{d} \|\Sigma\|$."
    ),
    expected="corrected",
)

DRAWS = 20
GROWING = (20, 80, 320, 1280, 5120)


def initial_c(seed, m, variance=None):
    """Mean over DRAWS networks of the smallest c at the start."""
    random = np.random.default_rng(seed)
    X = power_law_inputs(N, D, decay=1.0, seed=seed)
    W = random.normal(size=(DRAWS, m, D)) * np.sqrt(1 / D if variance is None else variance)
    return smallest_c(X, W).mean()


@assumption_5.check(widths=GROWING, controls={"W from N(0, 1)": dict(variance=1.0)})
def test_c_grows_like_the_root_of_the_width(evidence, widths, variance=None):
    c = [initial_c(evidence.seed(), m, variance) for m in widths]
    evidence.rate("smallest c", widths, c, exponent=0.5, tolerance=0.1)
    relative = np.array(c) / 2 * D / np.array(widths)
    evidence.rate("error relative to (m/d) ‖Σ‖", widths, relative, exponent=-0.5, tolerance=0.1)
    evidence.series("smallest c", widths, c, axes=("hidden units m", "c"), scale="loglog", style="points")


@assumption_5.check(start=["symmetric"], controls={"a step above 2/eta": dict(product=2.6)})
def test_training_hardly_changes_c(evidence, start, product=0.8):
    seed = evidence.seed()
    net = network(seed)
    _, states = descend(net, random_units(M, D, seed=seed), product, 200)
    c = smallest_c(np.asarray(net.X), states.W[np.isfinite(states.W).all((1, 2))])
    evidence.at_most("largest c / c at the start", c.max() / c[0], 2)


@assumption_5.counterexample(narrow=20, wide=5120)
def test_no_constant_serves_every_width(evidence, narrow, wide):
    seed = evidence.seed()
    evidence.at_most(
        "c at 5,120 hidden units, against twice that at 20", initial_c(seed, wide), 2 * initial_c(seed, narrow)
    )
