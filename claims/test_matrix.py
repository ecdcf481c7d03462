"""Matrix factorization beyond the edge of stability (Chen and Bruna 2023, IV)."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source
from eosbench.dynamics import gd_step, iterate, two_cycle
from eosbench.problems import MatrixFactorization, one_d_condition, quartic

condition = Claim(
    "matrix/one-d-condition",
    source=Source("chen-bruna-poster", "IV, 1D condition at any minimizer"),
    printed=(
        r"For any minimizer with $\mathbf{Y}\mathbf{Z}^\top = \mathbf{C}$, consider the 1D function $L_\Delta$ at "
        r"the cross "
        r"section of the loss landscape $L$ and the leading eigen-direction $\Delta$ of Hessian. $L_\Delta$ "
        r"satisfies the 1D "
        r"condition at the minimizer as $3[L_\Delta^{(3)}]^2 - L_\Delta^{(2)}L_\Delta^{(4)} > 0$."
    ),
    corrected=(
        r"For any minimizer with $\mathbf{Y}\mathbf{Z}^\top = \mathbf{C}$ at which the largest singular values $s_Y$, "
        r"$s_Z$ of $\mathbf{Y}$ and $\mathbf{Z}$ are simple and their right singular vectors $v_Y$, $v_Z$ are not "
        r"orthogonal, the 1D function $L_\Delta$ along the leading unit eigenvector $\Delta$ of the Hessian satisfies "
        r"the 1D condition at the minimizer: $3[L_\Delta^{(3)}]^2 - L_\Delta^{(2)}L_\Delta^{(4)} = 96 s_Y^2 s_Z^2 "
        r"(v_Y \cdot v_Z)^2 / (s_Y^2 + s_Z^2) > 0$."
    ),
    expected="corrected",
)


def spectrum(d, second):
    """Eigenvalues 1, λ2 and d - 2 below."""
    return np.array([1.0, *second * np.array([1.0, 0.6, 0.3, 0.1, 0.05])])[:d]


def target(d, second, random, sign=1):
    """A symmetric C with that spectrum, the first eigenvalue times `sign`, and the eigenvector of that one."""
    basis = np.linalg.qr(random.standard_normal((d, d)))[0]
    return basis * spectrum(d, second) * np.where(np.arange(d) == 0, sign, 1) @ basis.T, basis[:, 0]


@eqx.filter_jit
def leading_directions(loss, factors):
    """The unit eigenvector of the Hessian's largest eigenvalue at each of the factors."""

    def top(factors):
        flat = factors.ravel()
        hessian = jax.hessian(lambda x: loss(x.reshape(factors.shape)))(flat)
        return jnp.linalg.eigh(hessian)[1][:, -1].reshape(factors.shape)

    return jax.lax.map(top, factors)


@eqx.filter_jit
def along(loss, factors, direction):
    """L'', L''' and L'''' along a direction at each of the factors."""

    def line(factors, direction):
        derivative, values = (lambda t: loss(factors + t * direction)), []
        for _ in range(4):
            derivative = jax.grad(derivative)
            values.append(derivative(0.0))
        return jnp.stack(values[1:])

    return jax.vmap(line)(factors, direction)


@condition.check(
    d=[2, 3, 5],
    controls={"random directions": dict(direction="random"), "not at a minimizer": dict(scale=1.1)},
)
def test_the_condition_along_the_top_direction(evidence, d, direction="leading", scale=1.0):
    random = np.random.default_rng(evidence.seed())
    c, _ = target(d, 0.5, random)
    y = random.standard_normal((100, d, d))
    y /= np.linalg.norm(y, axis=(1, 2), keepdims=True) / np.sqrt(d)
    z = np.swapaxes(np.linalg.solve(y, np.broadcast_to(scale * c, y.shape)), 1, 2)
    factors = np.stack([y, z], axis=1)
    loss = MatrixFactorization(c)
    evidence.requires("Y Zᵀ = C", np.abs(loss.residual(factors)).max() < 1e-8)
    moves = leading_directions(loss, factors) if direction == "leading" else random.standard_normal(factors.shape)
    second, third, fourth = np.asarray(along(loss, factors, moves)).T
    measured = (3 * third**2 - second * fourth) / second**2
    predicted = np.array([one_d_condition(pair) for pair in factors]) / second**2
    # The eigenvectors carry rounding over the gap of the Hessian.
    evidence.equal("(3 L'''² - L'' L'''')/L''²", measured, predicted, ulps=2**16, scale=np.abs(predicted).max())
    rounding = 64 * np.finfo(float).eps * (3 * third**2 + np.abs(second * fourth)) / second**2
    evidence.at_least("(3 L'''² - L'' L'''')/L''²", measured, 0, uncertainty=rounding)


@condition.counterexample(y=(3.0, 0.1), c=(1.0, 0.5))
def test_a_minimizer_with_orthogonal_singular_vectors(evidence, y, c):
    """Y = diag(3, 0.1), Z = diag(1/3, 5): the top right singular vectors are e1 and e2."""
    loss, factors = MatrixFactorization(np.diag(c)), np.stack([np.diag(y), np.diag(np.divide(c, y))])[None]
    evidence.requires("Y Zᵀ = C", np.abs(loss.residual(factors)).max() < 1e-12)
    second, third, fourth = np.asarray(along(loss, factors, leading_directions(loss, factors)))[0]
    evidence.at_least("3 L'''² - L'' L''''", 3 * third**2 - second * fourth, 1e-6)


oscillation = Claim(
    "matrix/balanced-orbit",
    source=Source("chen-bruna-poster", "IV, Convergence (observations)"),
    printed=(
        r"[Target: PSD $\mathbf{C}$ with $\lambda_1 = 1$.] "
        r"For $\eta \in (1, 1.121)$ and $\eta(1 + \lambda_2) < 2$, it converges to 1. Balancing effect: $\mathbf{Y} = "
        r"\delta_{iuv}^\top + \sum_{j=2}^d \sigma_{y,j} u_{y,j} v_{y,j}^\top$ [read $\delta_i u v^\top$, here and "
        r"below]. 2. Oscillation in 1D subspace: $\mathbf{Y}\mathbf{Z}^\top - \mathbf{C} = (\delta_i^2 - 1) u u^\top$. "
        r"$\mathbf{Z} = \delta_{iuv}^\top + \sum_{j=2}^d \sigma_{z,j} u_{z,j} v_{z,j}^\top$ [part of 1]."
    ),
    corrected=(
        r"From a small initialization, for PSD $\mathbf{C}$ with $\lambda_1 = 1$, $\eta \in (1, 1.121)$ and $\eta(1 "
        r"+ \lambda_2) < 2$, it converges to 1. Balancing effect: $\mathbf{Y} = \delta_i uv^\top + \sum_{j=2}^d "
        r"\sigma_{y,j} u_{y,j} v_{y,j}^\top$, $\mathbf{Z} = \delta_i uv^\top + \sum_{j=2}^d \sigma_{z,j} u_{z,j} "
        r"v_{z,j}^\top$. 2. Oscillation in 1D subspace: $\mathbf{Y}\mathbf{Z}^\top - \mathbf{C} = (\delta_i^2 - 1) u "
        r"u^\top$. From other initializations it may diverge: where $\mathbf{Y}$ and $\mathbf{Z}$ are unbalanced off "
        r"$u$, $\eta(1 + \lambda_2) < 2$ does not suffice for stability; where they are balanced it is the exact "
        r"threshold."
    ),
    expected="corrected",
    uses=("orbit/scalar-factorization", "balancing/scalar"),
)

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


@oscillation.check(
    # eta and λ2
    point=[(1.05, 0.5), (1.1, 0.5), (1.12, 0.5), (1.05, 0.85), (1.1, 0.75)],
    controls={
        "eta (1 + λ2) > 2": dict(point=(1.1, 0.95)),
        "below the edge": dict(point=(0.95, 0.5)),
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


@oscillation.check(
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


@oscillation.check(
    ratio=[1.15, 1.5],
    controls={"nearly balanced off u": dict(ratio=1.05)},
)
def test_the_orbit_repels_where_the_rest_is_unbalanced(evidence, ratio, eta=1.1, second=0.8):
    """`ratio` is σ_y/σ_z of the second singular values; near 1.117 the orbit ceases to be stable."""
    evidence.requires("1 < eta < 1.121", 1 < eta < 1.121)
    evidence.requires("eta (1 + λ2) < 2", eta * (1 + second) < 2)
    point = map(jnp.asarray, (eta, second, two_cycle(quartic, eta)[0], ratio))
    evidence.at_least("largest Floquet multiplier", float(largest_multiplier(*point)), 1 + 1e-3)


@oscillation.counterexample(eta=1.1, second=0.8)
def test_starts_near_a_minimizer_may_diverge(evidence, eta, second):
    evidence.requires("1 < eta < 1.121", 1 < eta < 1.121)
    evidence.requires("eta (1 + λ2) < 2", eta * (1 + second) < 2)
    loss, u, factors = settle(eta, second, evidence.seed(), "near a minimizer")
    with np.errstate(invalid="ignore", over="ignore"):
        residual, balance, _ = structure(loss, u, eta, factors)
    evidence.at_most("‖Y Zᵀ - C - (δ_i² - 1) u uᵀ‖", residual, 1e-6)
    evidence.at_most("‖Yᵀu - Zᵀu‖", balance, 1e-6)
