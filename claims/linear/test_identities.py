"""Identities of the two-layer linear network along gradient descent."""

import jax
import numpy as np

from eosbench import Claim, Source
from eosbench.problems import LinearNetwork
from eosbench.proof import Identity, prove_identity

from .setting import ALGEBRA, GRADIENT, D, M, N, short_run, top_vectors


def prove(evidence, *statements, **more):
    """Statements about the network and one step, and what its derivatives are."""
    identity = Identity((*GRADIENT, *statements), **{**ALGEBRA, **more})
    evidence.proved("in matrices of any size", prove_identity(identity), identity.theorem)


gram_form = Claim(
    "linear/gram-form",
    source=Source("shapira-review", "Section 5.1"),
    printed=(
        r"$M = \frac{2}{n} \frac{\partial F}{\partial \theta} \frac{\partial F}{\partial \theta}^\top = \frac{2}{mn} "
        r"(\|A\|^2 \Sigma + X^\top W^\top W X)$."
    ),
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


@gram_form.check(proves=True, controls={"the first term 2 % larger": dict(first="51/50")})
def test_the_gram_matrix_for_all_networks(evidence, first="1"):
    """Row i of ∂F/∂A is k (W X)ᵀ, and ∂F_i/∂W_ab = k A_a X_bi: summed over a and b, k² AᵀA XᵀX.

    Both follow from F along (a, w), whose inner products with c and e are these.
    """
    of_a, of_w = "k*X.T@W.T@a", "k*X.T@w.T@A"
    prove(
        evidence,
        ("∂F/∂A (∂F/∂A)ᵀ", "(k*X.T@W.T)@(k*X.T@W.T).T", "=", "k**2*X.T@W.T@W@X"),
        ("∂F along ∂(cᵀF)/∂A", "k*X.T@W.T@(k*W@X@c)", "=", "k**2*X.T@W.T@W@X@c"),
        ("∂F along ∂(cᵀF)/∂W", "k*X.T@(k*A@c.T@X.T).T@A", "=", "k**2*(A.T@A)*S@c"),
        ("∂(cᵀF) along (a, w)", f"c.T@({of_a} + {of_w})", "=", "(k*W@X@c).T@a + k*A.T@w@X@c"),
        ("M c", f"2*h*({first}*k**2*(A.T@A)*S@c + k**2*X.T@W.T@W@X@c)", "=", "M@c"),
        matrices={**ALGEBRA["matrices"], "c": ("n", "1")},
    )


def gauss_newton(X, Y, states):
    """G at the start."""
    J = np.asarray(LinearNetwork(X, Y).jacobian(np.column_stack([states.A[0], states.W[0]])))
    return J.T @ J / N


def half_hessian(X, Y, states):
    """Half the Hessian of the loss at the start: G and what the residual adds."""
    units = jax.numpy.column_stack([states.A[0], states.W[0]])
    return np.asarray(jax.jit(jax.hessian(LinearNetwork(X, Y)))(units)).reshape(units.size, units.size) / 2


gauss_newton_spectrum = Claim(
    "linear/gauss-newton-spectrum",
    source=Source("shapira-review", "Section 5.1"),
    printed=(
        r"[$G =$] $n^{-1} \sum_{i=1}^n \frac{\partial f(x_i, \theta)}{\partial \theta}^\top \frac{\partial f(x_i, "
        r"\theta)}{\partial \theta}$ ... $M = \frac{2}{n} \frac{\partial F(\theta)}{\partial \theta} \frac{\partial "
        r"F(\theta)}{\partial \theta}^\top$. Notice that G and M have the same non-zero eigenvalues."
    ),
    corrected="The non-zero eigenvalues of $M$ are twice those of $G$.",
    expected="corrected",
    severity="wrong constant",
    experiment="linear/identities",
)


@gauss_newton_spectrum.check(
    start=["symmetric", "generic"],
    controls={"half the loss's Hessian, residual and all, in place of G": dict(matrix=half_hessian)},
)
def test_the_eigenvalues_of_m_are_twice_those_of_g(evidence, start, matrix=gauss_newton):
    X, Y, _, states = short_run(evidence.seed(), start)
    of_m, of_g = np.linalg.eigvalsh(states.M[0])[::-1], np.linalg.eigvalsh(matrix(X, Y, states))[::-1]
    evidence.constant("2 in λ_i(M) = 2 λ_i(G)", 2.0, of_m[:D] / of_g[:D], 1e-11)
    evidence.close("the other eigenvalues of M", of_m[D:], 0, 1e-12 * of_m[0])
    evidence.close("the other eigenvalues of G", of_g[D:], 0, 1e-12 * of_g[0])


@gauss_newton_spectrum.check(proves=True, controls={"2.04 in place of 2": dict(twice="51/25")})
def test_an_eigenvector_of_one_is_mapped_to_one_of_the_other(evidence, twice="2"):
    """J maps an eigenvector of G to one of M of twice the eigenvalue μ, and Jᵀ maps back; no vector is lost if μ ≠ 0.

    Vectors of one eigenspace that are orthogonal stay so, as <J u, J v> = n μ <u, v>: the multiplicities agree.
    """
    statements = (
        ("M J v = 2 μ J v", "2*h*J@J.T@J@v", "=", f"{twice}*mu*J@v"),
        ("<J u, J v> = n μ <u, v>", "h*(J@u).T@J@v", "=", "mu*u.T@v"),
        ("G Jᵀ z = (λ/2) Jᵀ z", f"{twice}*h*J.T@J@J.T@z", "=", "la*J.T@z"),
    )
    given = (("h*J.T@J@v", "mu*v"), ("2*h*J@J.T@z", "la*z"))
    remainder = {
        statements[0][0]: "2*J@given1",
        statements[1][0]: "u.T@given1",
        statements[2][0]: "J.T@given2",
    }
    matrices = {"J": ("n", "p"), "v": ("p", "1"), "u": ("p", "1"), "z": ("n", "1")}
    identity = Identity(statements, "h mu la", matrices, given=given, remainder=remainder)
    evidence.proved("in matrices of any size", prove_identity(identity), identity.theorem)


@gauss_newton_spectrum.counterexample(start="symmetric")
def test_they_are_not_the_same(evidence, start):
    X, Y, _, states = short_run(evidence.seed(), start)
    of_g = np.linalg.eigvalsh(gauss_newton(X, Y, states))
    evidence.equal("λ_1", np.linalg.eigvalsh(states.M[0])[-1], of_g[-1])


error_dynamics = Claim(
    "linear/error-dynamics",
    source=Source("shapira-review", "Lemma 4 (The Dynamics of the Error)"),
    printed=(
        r"$D_{t+1} - D_t = -\eta D_t^\top M_t + \frac{4\eta^2}{n^2 m} \langle F_t, D_t \rangle D_t^\top \Sigma$ [as "
        r"row vectors]."
    ),
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


@error_dynamics.check(proves=True, controls={"the second term 2 % larger": dict(second="102/25")})
def test_the_update_of_the_residual_for_all_networks(evidence, second="4"):
    prove(evidence, ("D_t+1 - D_t", "D1 - D", "=", f"-eta*M@D + {second}*eta**2*h**2*k**2*(F.T@D)*S@D"))


def norm_change(states, X, eta):
    """The right-hand side of the update of ‖A‖², and its part of second order ‖∂L/∂A‖²."""
    n, m = X.shape[1], states.A.shape[1]
    gradient = 2 / (n * np.sqrt(m)) * np.einsum("tmd,td->tm", states.W, states.D @ X.T)
    first, second = -4 * eta / n * (states.F * states.D).sum(1), (gradient**2).sum(1)
    return first + eta**2 * second, second


norm_dynamics = Claim(
    "linear/norm-dynamics",
    source=Source("shapira-review", "Section 5.3"),
    printed=(
        r"$\|A_{t+1}\|^2 - \|A_t\|^2 = -\frac{4\eta}{n} \langle F_t, D_t \rangle + \eta^2 \left\| \frac{\partial "
        r"\mathcal{L}}{\partial A} \right\|^2$."
    ),
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


@norm_dynamics.check(proves=True, controls={"the first term 2 % larger": dict(first="102/25")})
def test_the_update_of_the_norm_for_all_networks(evidence, first="4"):
    gradient = "(2*h*k*W@X@D)"
    change = f"-{first}*eta*h*F.T@D + eta**2*{gradient}.T@{gradient}"
    prove(evidence, ("‖A_t+1‖² - ‖A_t‖²", "A1.T@A1 - A.T@A", "=", change))


def outer(a, b):
    """a_t b_tᵀ for every t."""
    return a[:, :, None] * b[:, None, :]


def every(scalars):
    """One number per step, to multiply matrices with."""
    return np.asarray(scalars)[:, None, None]


def gram_change(states, X, eta, sign=1, last=None):
    """The lemma's right-hand side; `last` is what stands for eta² in the term with Σ D Dᵀ Σ."""
    n, m, sigma = X.shape[1], states.A.shape[1], X.T @ X
    DS = states.D @ sigma
    first = 2 * every((states.F * states.D).sum(1)) * sigma + outer(states.F, DS) + sign * outer(DS, states.F)
    pre_activation = np.einsum("tmd,td->tm", states.W, states.D @ X.T)
    through_a = eta**2 * every((pre_activation**2).sum(1)) * sigma
    through_w = (eta**2 if last is None else last) * every((states.A**2).sum(1)) * outer(DS, DS)
    return -4 * eta / (n**2 * m) * first + 8 / (n**3 * m**2) * (through_a + through_w)


gram_dynamics = Claim(
    "linear/gram-dynamics",
    source=Source("shapira-review", "Lemma 5 (The Dynamics of the Gram Matrix)"),
    printed=(
        r"$M_{t+1} - M_t = -\frac{4\eta}{n^2 m} (2\langle F_t, D_t \rangle \Sigma + F_t D_t^\top \Sigma - \Sigma D_t "
        r"F_t^\top) + \frac{8\eta^2}{n^3 m^2} (\|W_t X D_t\|^2 \Sigma + \|A_t\|^2 \Sigma D_t D_t^\top \Sigma)$ [; the "
        r"last term of its proof has $4\eta$]."
    ),
    corrected=(
        r"$M_{t+1} - M_t = -\frac{4\eta}{n^2 m} (2\langle F_t, D_t \rangle \Sigma + F_t D_t^\top \Sigma + \Sigma D_t "
        r"F_t^\top) + \frac{8\eta^2}{n^3 m^2} (\|W_t X D_t\|^2 \Sigma + \|A_t\|^2 \Sigma D_t D_t^\top \Sigma)$; the "
        r"last term of its proof has $4\eta^2$."
    ),
    expected="corrected",
    severity="slip",
    uses=("linear/gram-form", "linear/norm-dynamics"),
    experiment="linear/identities",
)


@gram_dynamics.check(start=["symmetric", "generic"], controls={"the terms of second order left out": dict(share=0.0)})
def test_the_update_of_the_gram_matrix(evidence, start, share=1.0):
    X, _, eta, states = short_run(evidence.seed(), start)
    whole, doubled = gram_change(states, X, eta), gram_change(states, X, 2 * eta)
    of_second_order = doubled / 2 - whole
    predicted = whole - (1 - share) * of_second_order
    evidence.equal("M_t+1 - M_t", np.diff(states.M, axis=0), predicted[:-1], scale=np.abs(states.M).max())


FIRST = "2*(F.T@D)*S + F@D.T@S + S@D@F.T"
SECOND = "(D.T@X.T@W.T@W@X@D)*S + (A.T@A)*S@D@D.T@S"


@gram_dynamics.check(
    proves=True,
    controls={
        "the first term 2 % larger": dict(first="102/25"),
        "the sign as printed": dict(terms="2*(F.T@D)*S + F@D.T@S - S@D@F.T"),
    },
)
def test_the_update_of_the_gram_matrix_for_all_networks(evidence, first="4", terms=FIRST):
    change = f"-{first}*eta*h**2*k**2*({terms}) + 8*eta**2*h**3*k**4*({SECOND})"
    prove(evidence, ("M_t+1 - M_t", "M1 - M", "=", change))


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
    printed=(
        r"$v_i^\top (M_{t+1} - M_t) v_i \geq -\frac{8\lambda_i \eta}{n^2 m} \left( \langle F_t, D_t \rangle + \langle "
        r"v_i, F_t \rangle \langle D_t, v_i \rangle \right)$."
    ),
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


@mode_inequality.check(
    proves=True,
    controls={"the bound 2 % larger": dict(bound="204/25"), "only the first term": dict(modes="0")},
)
def test_the_growth_along_every_mode_for_all_networks(evidence, bound="8", modes="1"):
    """For a unit v with Σ v = λ v; what is left of v_iᵀ (M_t+1 - M_t) v_i is a sum of squares."""
    name = "v_iᵀ (M_t+1 - M_t) v_i"
    right = f"-{bound}*la*eta*h**2*k**2*(F.T@D + {modes}*(v.T@F)*(D.T@v))"
    squares = "8*eta**2*h**3*k**4*((W@X@D).T@(W@X@D)*((X@v).T@(X@v)) + (A.T@A)*(v.T@X.T@X@D)**2)"
    of_given = "-8*eta*h**2*k**2*((F.T@D)*(v.T@given1 + la*given2) + (v.T@F)*(D.T@given1))"
    prove(
        evidence,
        (name, "v.T@(M1 - M)@v", ">=", right),
        scalars=f"{ALGEBRA['scalars']} la",
        matrices={**ALGEBRA["matrices"], "v": ("n", "1")},
        given=(("S@v", "la*v"), ("v.T@v", "1")),
        nonnegative="h",
        excess={name: squares},
        remainder={name: of_given},
    )
