"""The orbit of a matrix factorization, and when it attracts."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source
from eosbench.dynamics import gd_step, iterate, two_cycle
from eosbench.problems import MatrixFactorization, quartic
from eosbench.proof import Identity, prove_identity

from .setting import target

DIMENSION = 5


def structure(loss, u, eta, factors):
    """How far each of the factors is from the printed form: residual, Yᵀu = Zᵀu, and its length δ_i.

    With v = Yᵀu/δ_i these are all of it: δ_i Yv = Y Zᵀu = δ_i² u, and δ_i Zv = Z Yᵀu is the same, as Y Zᵀ is symmetric.
    """
    y, z = factors[:, 0], factors[:, 1]
    deltas = two_cycle(quartic, max(eta, 1.001))
    forms = np.asarray(loss.residual(factors))[:, None] - (deltas[:, None, None] ** 2 - 1) * np.outer(u, u)
    residual = np.linalg.norm(forms, axis=(2, 3)).min(1)
    of_y, of_z = np.swapaxes(y, 1, 2) @ u, np.swapaxes(z, 1, 2) @ u
    length = np.abs(np.linalg.norm(of_y, axis=1)[:, None] - deltas).min(1)
    return residual, np.linalg.norm(of_y - of_z, axis=1), length


def settle(eta, second, seed, start, sign=1):
    random = np.random.default_rng(seed)
    c, u = target(DIMENSION, second, random, sign)
    noise = 0.1 * random.standard_normal((20, 2, DIMENSION, DIMENSION))
    values, vectors = np.linalg.eigh(c)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    loss = MatrixFactorization(c)
    return loss, u, np.asarray(iterate(gd_step(loss, eta), noise + (root if start == "near a minimizer" else 0), 4000))


balanced_orbit = Claim(
    "matrix/balanced-orbit",
    source=Source("chen-bruna-poster", "IV, Convergence (observations)"),
    printed=(
        r"[Target: PSD $\mathbf{C}$ with $\lambda_1 = 1$.] For $\eta \in (1, 1.121)$ and $\eta(1 + \lambda_2) < 2$, it "
        r"converges to 1. Balancing effect: $\mathbf{Y} = \delta_{iuv}^\top + \sum_{j=2}^d \sigma_{y,j} u_{y,j} "
        r"v_{y,j}^\top$ [read $\delta_i u v^\top$, here and below]. 2. Oscillation in 1D subspace: "
        r"$\mathbf{Y}\mathbf{Z}^\top - \mathbf{C} = (\delta_i^2 - 1) u u^\top$. $\mathbf{Z} = \delta_{iuv}^\top + "
        r"\sum_{j=2}^d \sigma_{z,j} u_{z,j} v_{z,j}^\top$ [part of 1]."
    ),
    corrected=(
        r"From a small initialization, for PSD $\mathbf{C}$ with $\lambda_1 = 1$, $\eta \in (1, 1.121)$ and $\eta(1 + "
        r"\lambda_2) < 2$, it converges to 1. Balancing effect: $\mathbf{Y} = \delta_i uv^\top + \sum_{j=2}^d "
        r"\sigma_{y,j} u_{y,j} v_{y,j}^\top$, $\mathbf{Z} = \delta_i uv^\top + \sum_{j=2}^d \sigma_{z,j} u_{z,j} "
        r"v_{z,j}^\top$. 2. Oscillation in 1D subspace: $\mathbf{Y}\mathbf{Z}^\top - \mathbf{C} = (\delta_i^2 - 1) u "
        r"u^\top$. Elsewhere it may diverge: where $\mathbf{Y}$ and $\mathbf{Z}$ are unbalanced off $u$, $\eta(1 + "
        r"\lambda_2) < 2$ does not suffice for stability; where they are balanced it is the exact threshold."
    ),
    expected="corrected",
    severity="missing hypothesis",
    coarse=r"Any range up to $\eta = 1.2$ would pass, where the orbit attracts; the 1 is told to 1 %, the 2 to 0.05 %.",
    uses=("orbit/scalar-factorization", "balancing/scalar"),
)


@balanced_orbit.check(
    # eta and λ2
    point=[(1.01, 0.5), (1.05, 0.5), (1.1, 0.5), (1.12, 0.5), (1.05, 0.85), (1.1, 0.75)],
    controls={
        "eta (1 + λ2) > 2": dict(point=(1.1, 0.95)),
        "below the edge": dict(point=(0.99, 0.5)),
        "beyond sqrt(5)-1": dict(point=(1.26, 0.4)),
        "C has the eigenvalue -1 in place of 1": dict(sign=-1),
    },
)
def test_small_starts_reach_a_balanced_orbit(evidence, point, sign=1):
    """Without C ≥ 0 there is an orbit with Yᵀu = -Zᵀu, whose residual has the other sign."""
    eta, second = point
    evidence.requires("1 < eta < 1.121", 1 < eta < 1.121)
    evidence.requires("eta (1 + λ2) < 2", eta * (1 + second) < 2)
    evidence.requires("C is positive semidefinite", sign > 0)
    loss, u, factors = settle(eta, second, evidence.seed(), "small", sign)
    residual, balance, length = structure(loss, u, eta, factors)
    evidence.finite("Y and Z after 4,000 steps", factors)
    evidence.at_most("‖Y Zᵀ - C - (δ_i² - 1) u uᵀ‖", residual, 1e-6)
    evidence.at_most("‖Yᵀu - Zᵀu‖", balance, 1e-6)
    evidence.at_most("distance of ‖Yᵀu‖ from δ_i", length, 1e-6)


@eqx.filter_jit
def largest_multiplier(eta, second, delta, ratio):
    """Largest modulus of a Floquet multiplier of Y = diag(δ, √(λ2 ratio)), Z = diag(δ, √(λ2/ratio)).

    C is diag(1, λ2), and all arguments are arrays: one program serves them all.
    """
    step = gd_step(MatrixFactorization(jnp.diag(jnp.stack([jnp.ones(()), second]))), eta)
    rest = jnp.sqrt(second * jnp.stack([ratio, 1 / ratio]))
    start = jax.vmap(jnp.diag)(jnp.stack([jnp.full(2, delta), rest], axis=1))

    def derivative(x):
        return jax.jacfwd(lambda x: step(x.reshape(2, 2, 2)).ravel())(x.ravel())

    both = derivative(step(start)) @ derivative(start)
    # a product of symmetric matrices, not itself symmetric
    return jnp.abs(jnp.linalg.eigvals(both)).max()


@balanced_orbit.check(
    eta=[1.02, 1.05, 1.08, 1.1, 1.12],
    controls={"an orbit that repels by itself": dict(eta=1.25)},
)
def test_the_threshold_of_the_balanced_orbit(evidence, eta):
    """The multiplier 1 belongs to the rotations of Y and Z together; the threshold is where another passes it."""
    delta, balanced = jnp.asarray(two_cycle(quartic, eta)[0]), jnp.asarray(1.0)

    def multiplier(second):
        return float(largest_multiplier(jnp.asarray(eta), jnp.asarray(second), delta, balanced))

    evidence.requires("1 < eta < 1.121", 1 < eta < 1.121)
    stable, unstable = 0.1, 1.0
    for _ in range(30):
        middle = (stable + unstable) / 2
        if multiplier(middle) > 1 + 1e-6:
            unstable = middle
        else:
            stable = middle
    evidence.constant("2 in eta (1 + λ2) < 2", 2, eta * (1 + stable), 1e-3)

    grid = np.linspace(0.5, 1, 60)
    values = [multiplier(second) for second in grid]
    axes = ("eta (1 + λ2)", "largest Floquet multiplier")
    evidence.series(f"eta = {eta:g}", eta * (1 + grid), values, axes=axes)


@balanced_orbit.check(controls={"2.04 in place of 2": dict(two="51/25")})
def test_the_block_from_which_the_threshold_comes(evidence, two="2"):
    """On the balanced orbit Y = Z = diag(δ, s), λ2 = s², a change (A, B) of Y and Z splits into blocks.

    By `a step in first order`, the entries off the diagonal change among themselves, and their sums A + B and
    differences A - B apart. The sums have the multiplier 1 of the rotations, with the vector (δ, -s), and
    1 - eta (1 - λ2)(1 + eta λ2). The differences have over two steps, with k = 2 - eta (1 + λ2), the determinant
    1 - k (1 + eta - k) and the trace k² - (3 - eta) k + 6 - 4 eta: from this block comes eta (1 + λ2) = 2, where a pair
    of complex multipliers passes |μ| = 1. For 0 < k < 1 + eta both lie inside: det < 1 and |trace| < 1 + det, as
    eta > 1 and 6 - 4 eta > 0; for k < 0, det > 1. On the diagonal are 9 - 2 (1 + eta)² and 3 - 2 eta, and 1 - 2 eta λ2
    with the 1 of the balanced orbit's neighbours. A further eigenvalue of C has a block of its own, with λ_j for λ2.
    """
    eigenvector, sums, det, trace = "(δ_1, -s) to (δ_2, -s)", "det of the sums", "det", "trace"
    inside, outside, plus, minus = "det < 1", "det > 1", "1 + det + trace", "1 + det - trace"
    difference = ("dA12 - dB12", "dA21 - dB21")
    factor = "(1 - eta*(x**2 - 1) - eta*s**2)*(1 - eta*x**2) - eta**2*s**2*x**2"
    first, second = (factor.replace("x", name) for name in ("d1", "d2"))
    of_differences = "((1 + eta*(x**2 - 1) - eta*s**2)*(1 - eta*x**2) - eta**2*s**2*x**2)"
    a, c = "(1 + eta*(x**2 - 1) - eta*s**2)", "(1 - eta*x**2)"

    def both(formula):
        return f"{formula.replace('x', 'd1')}*{formula.replace('x', 'd2')}"

    statements = (
        (
            "a step in first order",
            "(Y + A) - eta*((Y + A)@(Z + B).T - C)@(Z + B)",
            "=",
            "Y - eta*R@Z + (A - eta*(dR@Z + R@B)) - eta*(dR@B + A@B.T@(Z + B))",
        ),
        ("differences, 12", difference[0], "=", "(1 + eta*rho - eta*s**2)*(A12 - B12) + eta*s*d1*(A21 - B21)"),
        ("differences, 21", difference[1], "=", "eta*s*d1*(A12 - B12) + (1 - eta*d1**2)*(A21 - B21)"),
        ("sums, 12", "dA12 + dB12", "=", "(1 - eta*rho - eta*s**2)*(A12 + B12) - eta*s*d1*(A21 + B21)"),
        ("sums, 21", "dA21 + dB21", "=", "-eta*s*d1*(A12 + B12) + (1 - eta*d1**2)*(A21 + B21)"),
        (eigenvector, "(1 - eta*rho - eta*s**2)*d1 + eta*s*d1*s", "=", "d1 - eta*(d1**2 - 1)*d1"),
        ("the same, second", "-eta*s*d1*d1 - (1 - eta*d1**2)*s", "=", "-s"),
        (sums, f"({first})*({second})", "=", "1 - eta*(1 - s**2)*(1 + eta*s**2)"),
        (det, both(of_differences), "=", "1 - k*(1 + eta - k)"),
        (trace, f"{both(a)} + 2*eta**2*s**2*d1*d2 + {both(c)}", "=", "k**2 - (3 - eta)*k + 6 - 4*eta"),
        (minus, "1 + (1 - k*(1 + eta - k)) - (k**2 - (3 - eta)*k + 6 - 4*eta)", "=", "2*(eta - 1)*eta*(1 + s**2)"),
        (plus, "1 + (1 - k*(1 + eta - k)) + (k**2 - (3 - eta)*k + 6 - 4*eta)", "=", "2*(k - 1)**2 + 6 - 4*eta"),
        (inside, "1", ">", "1 - q*q1"),
        (outside, "1 + q*(1 + eta + q)", ">", "1"),
    )
    p = "(given2**2 + 2*given2)"
    c0 = f"(eta - eta*s**2 - {p})"
    identity = Identity(
        statements,
        "eta s d1 d2 A12 A21 B12 B21 q q1",
        dict.fromkeys("ABYZ", ("d", "e")) | {"C": ("d", "d")},
        {
            "R": "Y@Z.T - C",
            "dR": "A@Z.T + Y@B.T",
            "rho": "d1**2 - 1",
            "k": f"{two} - eta*(1 + s**2)",
            "R12": "A12*s + d1*B21",
            "R21": "A21*d1 + s*B12",
            "dA12": "A12 - eta*(R12*s + rho*B12)",
            "dA21": "A21 - eta*R21*d1",
            "dB12": "B12 - eta*(R21*s + rho*A12)",
            "dB21": "B21 - eta*R12*d1",
        },
        given=(("eta*(d1**2 + d2**2)", "1 + eta"), ("eta*d1*d2", "1")),
        positive="q q1 eta",
        remainder={
            sums: f"{c0}**2 + {c0}*(given1 - 1)*(1 + eta + given1) + (given1 - 1)**2*(1 + {p})"
            " - (1 - eta*(1 - s**2)*(1 + eta*s**2))",
            det: f"(k + {p})**2 - (1 + given1)*(k + {p})*(1 + eta + given1) + (1 + given1)**2*(1 + {p})"
            " - (k**2 - k*(1 + eta) + 1)",
            trace: "(k - 2)*given1 + 2*given2**2 + (4 + 2*eta*s**2)*given2",
        },
        excess={inside: "q*q1", outside: "q*(1 + eta + q)"},
    )
    evidence.proved("for every eta and λ2", prove_identity(identity), identity.theorem)


@balanced_orbit.check(
    ratio=[1.15, 1.5],
    controls={"nearly balanced off u": dict(ratio=1.05)},
)
def test_the_orbit_repels_where_the_rest_is_unbalanced(evidence, ratio, eta=1.1, second=0.8):
    """`ratio` is σ_y/σ_z of the second singular values; near 1.117 the orbit ceases to be stable."""
    evidence.requires("1 < eta < 1.121", 1 < eta < 1.121)
    evidence.requires("eta (1 + λ2) < 2", eta * (1 + second) < 2)
    evidence.requires("unbalanced by more than 1.12", ratio > 1.12)
    point = map(jnp.asarray, (eta, second, two_cycle(quartic, eta)[0], ratio))
    evidence.at_least("largest Floquet multiplier", float(largest_multiplier(*point)), 1 + 1e-3)


@balanced_orbit.counterexample(eta=1.1, second=0.8)
def test_starts_near_a_minimizer_may_diverge(evidence, eta, second):
    evidence.requires("1 < eta < 1.121", 1 < eta < 1.121)
    evidence.requires("eta (1 + λ2) < 2", eta * (1 + second) < 2)
    loss, u, factors = settle(eta, second, evidence.seed(), "near a minimizer")
    with np.errstate(invalid="ignore", over="ignore"):
        residual, balance, _ = structure(loss, u, eta, factors)
    evidence.finite("Y and Z after 4,000 steps", factors)
    evidence.at_most("‖Y Zᵀ - C - (δ_i² - 1) u uᵀ‖", residual, 1e-6)
    evidence.at_most("‖Yᵀu - Zᵀu‖", balance, 1e-6)
