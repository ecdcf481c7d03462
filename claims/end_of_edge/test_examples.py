"""The end of the edge for the product of four factors, for cross entropy, and for a quadratic regression model."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source
from eosbench.proof import Identity, prove_identity

from .setting import ends, extrapolated, factors_of, sharpness, soft_label


def half_squared_error(z):
    return (1 - z) ** 2 / 2


@eqx.filter_jit
@partial(jax.vmap, in_axes=(None, 0, 0, 0))
def descended(loss, factors, eta, steps):
    """The factors after so many steps of gradient descent on a loss of the product of all of them."""

    def step(_, w):
        return w - eta * jax.grad(lambda w: loss(jnp.prod(w)))(w)

    return jax.lax.fori_loop(0, steps, step, factors)


def run(factors, eta, excess):
    """The factors, two or four, and (2 - eta S)/eta² where runs end that begin with this excess.

    Of four, the sharpness of a minimum is 2 (x² + y²) and C = 8, so that theta = eta²/2; of two it is x² + y².
    """
    eta, curvature = np.asarray(eta), factors / 2
    across = np.sqrt(((2 + excess) / (eta * curvature)) ** 2 - 4)
    xy = factors_of(1 + np.sqrt(np.abs(excess + eta**2 / 2) / 8), across)
    found = descended(half_squared_error, np.tile(xy, factors // 2), eta, np.ceil(60 / eta**2).astype(int))
    return np.asarray(found), (2 - eta * np.asarray(sharpness(half_squared_error, found))) / eta**2


minimalist = Claim(
    "end-of-edge/minimalist",
    source=Source("zhu-minimalist", "Abstract"),
    printed=(
        "While many other well-understood nonconvex objectives such as matrix factorization or two-layer networks can "
        r"also converge despite large sharpness, there is often a larger gap between sharpness of the endpoint and "
        r"$2/\eta$. In this paper, we study EoS phenomenon by constructing a simple function that has the same "
        r"behavior. We ... explain why the final converging point has sharpness close to $2/\eta$. [On $\frac12(1 - "
        r"xyzw)^2$ with $x = z$ and $y = w$ it is $\frac{2}{\eta} - \frac{\eta}{2} + O(\eta^3)$, and the minimum of "
        r"sharpness $2/\eta$ has $x^2 - y^2 = (\eta^{-2} - 4)^{1/2}$; on $\frac12(1 - xy)^2$ the gap is that of the "
        "start or more.]"
    ),
    expected="holds",
    uses=("end-of-edge/sharpness",),
)


@minimalist.check(
    eta=(0.04, 0.02),
    controls={"two factors": dict(factors=2), "below the edge": dict(start=-0.02), "K = 0.51": dict(K=0.51)},
)
def test_four_factors_end_half_a_step_size_below(evidence, eta, factors=4, start=0.01, K=0.5):
    found, below = run(factors, eta, np.full(2, start))
    evidence.close("product at the end", found.prod(-1), 1.0, 1e-8)
    # 16 theta is the first correction and (16 theta)² the next, 3e-5 at eta = 0.02; extrapolated as 1, 4 in eta²
    limit = (4 * below[1] - below[0]) / 3
    evidence.constant("(2/eta - S)/eta, at eta = 0", K, limit, 1e-3)
    evidence.series("four factors", eta, below, axes=("η", "(2/η - S)/η"), style="points")


@minimalist.check(excess=[0.001, 0.003], controls={"four factors": dict(factors=4)})
def test_two_factors_end_as_far_below_as_they_began_beyond(evidence, excess, factors=2):
    """There C = 0, and the averaged equations conserve delta² + 2 eta² w, up to a share of delta."""
    eta = np.array([0.02, 0.01])
    found, below = run(factors, eta, np.full(2, excess))
    evidence.close("product at the end", found.prod(-1), 1.0, 1e-6)
    evidence.at_least("2 - eta S at the end, over the eta S - 2 of the start", below * eta**2 / excess, 1.0)
    conserved = np.sqrt(excess**2 + 2 * eta**2 * (excess + eta**2 / 2) / 8)
    evidence.constant("2 - eta S at the end, over what is conserved", 1.0, below * eta**2 / conserved, 0.005)


@minimalist.check(eta=[0.1, 0.01], controls={"2 % off": dict(four=4.08)})
def test_the_minimum_at_the_edge(evidence, eta, four=4.0):
    xy = factors_of(1.0, (eta**-2 - four) ** 0.5)
    top = float(sharpness(half_squared_error, np.tile(xy, (1, 2)))[0])
    evidence.close("(eta S)², less 4, over 16 eta²", ((eta * top) ** 2 - 4) / (16 * eta**2), 0.0, 1e-8)


soft_labels = Claim(
    "end-of-edge/soft-labels",
    source=Source("gan-product-stability", "Abstract"),
    printed=(
        r"gradient descent applied to objectives of the form $(x,y) \mapsto l(xy)$ can provably converge to the local "
        "minimum even when training in the EoS regime. This framework ... applies to a broad class of losses, "
        r"including binary cross entropy. [With a label that is 1 with probability $p$, for every $0 < p < 1$: with "
        r"$v = p(1 - p)$ it is $C = \frac{2 - 6v}{3}$, between $\frac16$ and $\frac23$, and the sharpness at "
        r"convergence is $\frac{2}{\eta} - \frac{3v^2}{2 - 6v}\eta + O(\eta^3)$.]"
    ),
    expected="holds",
    uses=("end-of-edge/sharpness",),
)


@soft_labels.check(controls={"6.12 v for 6 v": dict(six="153/25"), "f4 = v (1 - 4v)": dict(fourth="1 - 4*v")})
def test_the_constants_of_cross_entropy(evidence, six="6", fourth="1 - 6*v"):
    """With s the logistic function at the minimum, s = p: each derivative is that before it, times s' = s (1 - s).

    At v = 1/4 it is C = 1/6, and v <= 1/4.
    """
    where = {"v": "p*(1 - p)", "f2": "v", "f3": "v*(1 - 2*p)", "f4": f"v*({fourth})", "C3": f"2 - {six}*v"}
    statements = (
        ("f3, the derivative of s (1 - s) by s, times s'", "(1 - 2*p)*v", "=", "f3"),
        ("f4, that of f3", "(1 - 6*p + 6*p**2)*v", "=", "f4"),
        ("3 C f2²", "C3*f2**2", "=", "3*f3**2 - f2*f4"),
        ("C - 1/6, 3 times", "C3 - 1/2", "=", "6*(1/2 - p)**2"),
        ("2/3 - C, 3 times", "2 - C3", "=", "6*p*(1 - p)"),
    )
    identity = Identity(statements, "p", where=where)
    evidence.proved("C for every label", prove_identity(identity), identity.theorem)


@soft_labels.check(
    p=[0.5, 0.8, 0.95, 0.99, 0.1],
    controls={"2 % off": dict(three=3.06), "v² without its factor": dict(p=0.99, three=2.0)},
)
def test_it_converges_from_beyond_the_edge(evidence, p, three=3.0):
    """Corrections are of the order of theta: at p = 0.99 1.7 times theta."""
    evidence.requires("0 < p < 1", 0 < p < 1)
    loss, v = soft_label(p), p * (1 - p)
    found = ends(loss, [8e-4, 4e-4], (2 - 6 * v) / 3)
    evidence.at_most("distance from the minimum", found.off, 1e-8)
    K = three * v**2 / (2 - 6 * v)
    evidence.constant("(2/eta - S)/eta, at eta = 0, over what it is by v", 1.0, extrapolated(*found.below / K), 2e-4)
    evidence.series("measured", [p], [extrapolated(*found.below)], axes=("p", "(2/η - S)/η"), style="points")
    if p == 0.5:
        grid = np.linspace(0.01, 0.99, 99)
        vs = grid * (1 - grid)
        evidence.series("3v²/(2 - 6v)", grid, 3 * vs**2 / (2 - 6 * vs), axes=("p", "(2/η - S)/η"), style="reference")


def surprise(z):
    """Cross entropy of a label that is certain."""
    return jnp.logaddexp(0.0, -z)


hard_labels = Claim(
    "end-of-edge/hard-labels",
    source=Source("eosbench-statements", "End of the edge, hard labels"),
    printed=(
        r"With a hard label, $\ell(z) = \ln(1 + e^{-z})$ has no minimum, and there is no edge: from a start with a "
        r"sharpness above $2/\eta$ and $x^2 - y^2 \gg 1$ gradient descent ends with the sharpness falling as "
        r"$\frac{1}{\eta t}$."
    ),
    expected="holds",
)


@hard_labels.check(beyond=[0.01, 1.0], controls={"a soft label": dict(label=0.8), "2 % off": dict(one=1.02)})
def test_the_sharpness_falls_away(evidence, beyond, label=1.0, one=1.0):
    """Then x² + y² stays what it is, the product grows as ln t and l'' falls as exp(-xy); corrections are (ln t)/t."""
    evidence.requires("a label that is certain", label == 1)
    loss = surprise if label == 1 else soft_label(label).of
    eta, z = 0.02, 1.0
    curvature = float(jax.hessian(surprise)(z))
    start = factors_of(z, np.sqrt(((2 + beyond) / (eta * curvature)) ** 2 - 4 * z**2))[None]
    evidence.at_least("eta S at the start", eta * np.asarray(sharpness(surprise, start)), 2.0)
    times = np.array([10**4, 10**5])
    found = descended(loss, np.tile(start, (2, 1)), np.full(2, eta), times)
    falling = eta * np.asarray(sharpness(loss, found)) * times
    evidence.constant("eta S t at the end", one, falling[-1], 5e-3)
    evidence.series(
        f"{beyond:g} beyond the edge", times, falling, axes=("t", "η S t"), scale="semilogx", style="points"
    )


@jax.jit
@partial(jax.vmap, in_axes=(0, 0, 0, None))
def regress(start, epsilon, c, steps):
    """The last theta, its z and NTK eigenvalue, after `steps` steps of size 1; and eigenvalues on the way.

    Those of the first 400 steps, and 400 over all of them.
    """

    def model(theta):
        return (theta[0] ** 2 - epsilon * theta[1] ** 2) / 2 + c

    def step(_, theta):
        return theta - jax.grad(lambda theta: model(theta) ** 2 / 2)(theta)

    def eigenvalue(theta):
        return jnp.sum(jax.grad(model)(theta) ** 2)

    def record(every):
        return lambda theta, _: (jax.lax.fori_loop(0, every, step, theta), eigenvalue(theta))

    early = jax.lax.scan(record(1), start, length=400)[1]
    last, path = jax.lax.scan(record(steps // 400), start, length=400)
    return last, model(last), eigenvalue(last), early, path


quadratic_regression = Claim(
    "end-of-edge/quadratic-regression",
    source=Source("agarwala-second-order", "Abstract"),
    printed=(
        "For quadratic objectives in two dimensions, we prove that this second-order regression model exhibits "
        "progressive sharpening of the NTK eigenvalue towards a value that differs slightly from the edge of "
        r"stability, which we explicitly compute. [The abstract has no formula. On $\frac12 z^2$ with $z = \frac12"
        r"(\theta_1^2 - \epsilon\theta_2^2) + c$ and $\epsilon\theta_2^2$ of order 1 the NTK eigenvalue $T = |\nabla "
        r"z|^2$ ends at $\frac{2}{\eta} - \frac14\epsilon^2\theta_2^2(1 + O(\epsilon))$, with the last $\theta_2$.]"
    ),
    expected="holds",
)


@quadratic_regression.check(
    beyond=[0.02, 0.06, 0.15],
    controls={
        "epsilon = 1, two equal factors": dict(epsilons=(1.0, 1.0)),
        "a minimum below the edge": dict(beyond=-0.1),
        "0.255 for 1/4": dict(quarter=0.255),
    },
)
def test_the_ntk_eigenvalue_ends_slightly_below(evidence, beyond, epsilons=(0.01, 0.005), quarter=0.25):
    """From a start flatter than its minimum, which is sharper than 2/eta by that share; for 0.02 it is below the edge.

    At the start epsilon theta_2² is 1/2. The rate of theta is epsilon/4; the corrections are a share of epsilon.
    """
    epsilon, second = np.array(epsilons), np.sqrt(0.5 / np.array(epsilons))
    # T = theta_1² + epsilon² theta_2² and z = 0 at the minimum
    first = 2 * (1 + beyond) - (epsilon * second) ** 2
    z = -0.05 * np.ones(2)
    c = (epsilon * second**2 - first) / 2
    start = np.stack([np.sqrt(first + 2 * z), second], -1)
    last, off, eigenvalue, early, path = jax.tree.map(np.asarray, regress(start, epsilon, c, 160_000))
    evidence.at_most("|z| at the end", np.abs(off), 1e-8)
    if beyond < 0.05:
        evidence.at_most("eta T at the start", early[:, 0], 2.0)
        evidence.at_least("the largest eta T", early.max(1), 2.0)
    share = (2 - eigenvalue) / (epsilon * last[:, 1]) ** 2
    evidence.constant("(2/eta - T)/(epsilon theta_2)², at epsilon = 0", quarter, extrapolated(*share), 1e-3)
    evidence.at_most("|eta T - 2| at the end", np.abs(eigenvalue - 2), 0.01)
    axes = ("step", "η T")
    evidence.series(f"{beyond:g} beyond the edge", np.arange(400) * 400, path[0], axes=axes)
