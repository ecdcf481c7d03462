"""SGD with momentum on fixed curvatures: where its mean square grows, and what its batches see of that."""

from functools import partial
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import optax

from eosbench import Claim, Source
from eosbench.dynamics import mean_square_growth, onset
from eosbench.proof import Identity, prove_identity


@jax.jit
@partial(jax.vmap, in_axes=(0, None, None, None))
def growth(eta, beta, hessians, weights):
    """Of E|x|² + E|v|², a step of optax's SGD with momentum being on one of x'Hx/2; by its steps from unit vectors."""
    optimizer, p = optax.sgd(eta, momentum=beta), hessians.shape[-1]
    zero, place = optimizer.init(jnp.zeros(p))

    def stepped(hessian, both):
        updates, (memory, _) = optimizer.update(hessian @ both[:p], (zero._replace(trace=both[p:]), place))
        return jnp.concatenate([both[:p] + updates, memory.trace])

    units = jnp.eye(2 * p)
    maps = jax.vmap(lambda hessian: jax.vmap(lambda both: stepped(hessian, both), out_axes=1)(units))(hessians)
    return mean_square_growth(maps[None], weights)[0]


def edge(beta, hessians, weights):
    """The step size from which on the mean square grows."""
    hessians, weights = jnp.asarray(hessians), jnp.asarray(weights)
    mean = jnp.einsum("k,kij->ij", weights, hessians)
    top = float(jnp.linalg.eigvalsh(mean)[-1])
    return onset(lambda etas: growth(jnp.asarray(etas), beta, hessians, weights), 1e-6 / top, 4.1 / top).value


def inverse(mean, variance, beta, plus=1.0, minus=1.0):
    """2/eta at the threshold in one dimension, as the statement has it."""
    return plus * mean / (1 + beta) + minus * variance / mean / (1 - beta)


# Curvatures and how often they are drawn
SAMPLES = {
    "equal": ([1.0, 1.0], [0.5, 0.5]),
    "two": ([0.3, 1.7], [0.5, 0.5]),
    "of both signs": ([-0.5, 1.0, 3.0], [0.3, 0.5, 0.2]),
    "one in a hundred": ([0.0, 100.0], [0.99, 0.01]),
}

mean_square = Claim(
    "momentum/mean-square",
    source=Source("eosbench-statements", "Momentum, mean square"),
    printed=(
        r"Heavy-ball momentum with $0 \leq \beta < 1$ on $\frac{1}{2} a x^2$, where $a$ is drawn anew in each step, "
        r"with mean $\lambda > 0$ and variance $\sigma^2$, has $\mathbb{E} x^2 \to 0$ from every start if "
        r"$\frac{2}{\eta} > \frac{\lambda}{1 + \beta} + \frac{\sigma^2/\lambda}{1 - \beta}$, and not otherwise. "
        r"Momentum raises the largest such $\eta$ if and only if $\frac{\sigma^2}{\lambda^2} < "
        r"\frac{1 - \beta}{1 + \beta}$."
    ),
    expected="holds",
)


@mean_square.check(
    beta=[0.0, 0.5, 0.9],
    samples=list(SAMPLES),
    controls={
        "without the noise": dict(beta=0.5, samples="two", minus=0.0),
        "2 % more of the first": dict(beta=0.5, samples="two", plus=1.02),
        "2 % more of the second": dict(beta=0.9, samples="two", minus=1.02),
        "plain descent with the step size eta/(1 - beta)": dict(beta=0.9, samples="two", effective=True),
    },
)
def test_the_mean_square_grows_from_there_on(evidence, beta, samples, plus=1.0, minus=1.0, effective=False):
    a, weights = map(np.array, SAMPLES[samples])
    mean, variance = weights @ a, weights @ a**2 - (weights @ a) ** 2
    evidence.requires("mean > 0", mean > 0)
    claimed = inverse(mean, variance, 0.0) / (1 - beta) if effective else inverse(mean, variance, beta, plus, minus)
    found = edge(beta, a[:, None, None], weights)
    evidence.constant("eta at the onset, over its formula", 1.0, found * claimed / 2, 1e-6)
    axes = ("σ²/λ²", "η λ at the threshold")
    evidence.series(f"beta = {beta:g}", [variance / mean**2], [found * mean], axes=axes, style="points")


@mean_square.check(
    beta=[0.3, 0.9],
    side=[0.99, 1.01],
    controls={"2 % more": dict(beta=0.9, side=0.99, more=1.02), "2 % less": dict(beta=0.3, side=1.01, more=0.98)},
)
def test_momentum_raises_it_where_the_noise_is_small(evidence, beta, side, more=1.0):
    """Two samples on either side of it: with a variance one per cent off, and the step size as it is without."""
    ratio = side * more * (1 - beta) / (1 + beta)
    hessians, weights = np.array([1 - ratio**0.5, 1 + ratio**0.5])[:, None, None], [0.5, 0.5]
    change = edge(beta, hessians, weights) / edge(0.0, hessians, weights) - 1
    evidence.equal("momentum raises it", bool(change > 0), side < 1)
    evidence.at_least("by what part it moves it", abs(change), 1e-3)


@mean_square.check(proves=True, controls={"2.04 in place of 2": dict(two="51/25")})
def test_a_potential_falls_or_rises(evidence, two="2"):
    """With y the x before, and V = (1 + b)|x|² - 2b y'Cx + b²(1 + b)|y|², where C = 1 + b - eta H.

    The curvatures are H + D, and D is zero in the mean. What a step makes of V is quadratic in D, so that its mean is
    the same for all D that have the mean square of two of opposite sign. In one dimension D² is the variance, and V
    falls by x² times a number that is positive if and only if eta is below the threshold: then the sum of E x² is
    finite. At the threshold the mean of V stays, and beyond it rises, in two steps by a number times the mean of
    x² + y² between them, of which V is at most a multiple: it grows without end. V is positive, by its squares, for
    eta λ < 2 + 2b; from there on the mean of x does not vanish. When momentum raises the threshold is the last of
    these.
    """
    potential = "(1 + b)*({0}).T@({0}) - 2*b*({1}).T@((1 + b)*({0}) - eta*H@({0})) + b**2*(1 + b)*({1}).T@({1})"
    after = " + ".join(f"1/2*({potential.format(one, 'x')})" for one in ("up", "down"))
    identity = Identity(
        (
            (
                "what a step takes off",
                f"({potential.format('x', 'y')}) - ({after})",
                "=",
                f"eta*((1 - b)*x.T@H@({two}*(1 + b)*x - eta*H@x) - (1 + b)*eta*x.T@D@D@x)",
            ),
            (
                "(1 + b) times it",
                f"(1 + b)*({potential.format('x', 'y')})",
                "=",
                f"((1 + b)*x - b*Cy).T@((1 + b)*x - b*Cy) + b**2*eta*y.T@H@({two}*(1 + b)*y - eta*H@y)",
            ),
            (
                "2/eta without momentum less that with it, times λ (1 - b)(1 + b)/b",
                "(1 - b)*(1 + b)*(la**2 + s) - ((1 - b)*la**2 + (1 + b)*s)",
                "=",
                "b*((1 - b)*la**2 - (1 + b)*s)",
            ),
        ),
        "b eta la s",
        matrices={
            "H": ("p", "p", "symmetric"),
            "D": ("p", "p", "symmetric"),
            "x": ("p", "1"),
            "y": ("p", "1"),
        },
        where={
            "up": "(1 + b)*x - eta*H@x - eta*D@x - b*y",
            "down": "(1 + b)*x - eta*H@x + eta*D@x - b*y",
            "Cy": "(1 + b)*y - eta*H@y",
        },
    )
    evidence.proved("in every dimension", prove_identity(identity), identity.theorem)


def batches(inputs, size):
    """Hessians of all batches of this size, drawn without replacement; the loss of a sample is (a'x)²/2."""
    chosen = [list(members) for members in combinations(range(len(inputs)), size)]
    return np.stack([inputs[members].T @ inputs[members] / size for members in chosen])


def batch_sharpness(hessians, x):
    """E[g_B'H_B g_B / |g_B|²] at x, by derivatives of the losses."""

    def loss(x, hessian):
        return x @ hessian @ x / 2

    g = jax.vmap(jax.grad(loss), (None, 0))(x, hessians)
    curved = jax.vmap(lambda g, hessian: jax.jvp(lambda x: jax.grad(loss)(x, hessian), (x,), (g,))[1])(g, hessians)
    return float(((g * curved).sum(1) / (g**2).sum(1)).mean())


def orthogonal(n, random):
    """As many inputs of length 2, on axes of a random frame."""
    return 2 * np.linalg.qr(random.normal(size=(n, n)))[0]


two_plateaus = Claim(
    "momentum/two-plateaus",
    source=Source("andreyev-momentum", "Abstract"),
    printed=(
        "Batch Sharpness (the expected directional mini-batch curvature) stabilizes in two distinct regimes: at small "
        r"batch sizes it converges to a lower plateau $2(1-\beta)/\eta$, ... at large batch sizes it converges to a "
        r"higher plateau $2(1+\beta)/\eta$ ... We further show that this aligns with linear stability thresholds "
        "[those of the mean square in linear regression, on inputs of equal length. For $n$ orthogonal ones and "
        r"batches of $B$ without replacement the batch sharpness at the threshold is $\frac{2}{\eta}\frac{n(1 - "
        r"\beta^2)}{n(1 + \beta) - 2\beta B}$; for any, with single samples, it is the lower plateau over a number "
        r"between $1 - c\frac{\lambda_1}{\mathrm{tr} H}$ and $1 - c\frac{\lambda_p}{\mathrm{tr} H}$, $c = "
        r"\frac{2\beta}{1 + \beta}$, where $H$ is the mean Hessian and $\lambda_p$ its least eigenvalue]."
    ),
    expected="holds",
    uses=("momentum/mean-square",),
)


@two_plateaus.check(
    beta=[0.0, 0.5, 0.9],
    size=[1, 2, 3, 4],
    controls={
        "the lower plateau for the full batch": dict(beta=0.5, size=4, claimed="lower"),
        "the higher plateau for single samples": dict(beta=0.5, size=1, claimed="higher"),
        "2 % more": dict(beta=0.9, size=2, more=1.02),
        "inputs that are not orthogonal": dict(beta=0.5, size=2, skewed=0.3),
    },
)
def test_at_the_threshold_on_orthogonal_inputs(evidence, beta, size, claimed=None, more=1.0, skewed=0.0, n=4):
    random = np.random.default_rng(evidence.seed())
    inputs = orthogonal(n, random)
    inputs[0] += skewed * inputs[1]
    evidence.requires("orthogonal inputs", not skewed)
    hessians = batches(inputs, size)
    found = edge(beta, hessians, np.full(len(hessians), 1 / len(hessians)))
    seen = found / 2 * batch_sharpness(jnp.asarray(hessians), jnp.asarray(random.normal(size=n)))
    formula = n * (1 - beta**2) / (n * (1 + beta) - 2 * beta * size)
    claim = {"lower": 1 - beta, "higher": 1 + beta}.get(claimed, more * formula)
    evidence.constant("eta/2 times the batch sharpness, over its formula", 1.0, seen / claim, 1e-6)
    axes = ("batch size over n", "η/2 times the batch sharpness at the threshold")
    evidence.series(f"beta = {beta:g}, n = {n}", [size / n], [seen], axes=axes, style="points")


@two_plateaus.check(
    beta=[0.5, 0.9],
    controls={"half of the inputs in a batch": dict(beta=0.5, size=0.5), "2 % below": dict(beta=0.9, more=0.98)},
)
def test_the_lower_plateau_is_that_of_small_batches(evidence, beta, size=1e-4, more=1.0):
    """On orthogonal inputs each coordinate of their frame moves by itself: it is met with probability B/n.

    A batch that is 1e-4 of them is above the plateau by less than 1e-4 of it.
    """
    found = edge(beta, np.array([0.0, 1.0])[:, None, None], [1 - size, size])  # in units of |a|²/B
    evidence.constant("eta/2 times the batch sharpness, over 1 - beta", 1.0, found / 2 / (more * (1 - beta)), 1e-4)


GOLDEN = (1 + 5**0.5) / 2
DIAGONALS = np.array(
    [[0, 1, GOLDEN], [1, GOLDEN, 0], [GOLDEN, 0, 1], [0, 1, -GOLDEN], [1, -GOLDEN, 0], [-GOLDEN, 0, 1]]
)


@two_plateaus.check(
    beta=[0.5, 0.9],
    inputs=["random", "an icosahedron's diagonals"],
    controls={
        "one input three times as long": dict(beta=0.5, inputs="random", stretched=3.0),
        "the lower plateau itself": dict(beta=0.5, inputs="an icosahedron's diagonals", share=0.0),
        "2 % more in c": dict(beta=0.9, inputs="an icosahedron's diagonals", share=1.02),
    },
)
def test_single_samples_on_inputs_of_equal_length(evidence, beta, inputs, stretched=1.0, share=1.0):
    """On the six diagonals all eigenvalues of H are equal, and both bounds are one number."""
    random = np.random.default_rng(evidence.seed())
    a = random.normal(size=(6, 3)) if inputs == "random" else DIAGONALS.copy()
    a /= np.linalg.norm(a, axis=1)[:, None]
    a[0] *= stretched
    evidence.requires("inputs of equal length", stretched == 1)
    hessians = batches(a, 1)
    found = edge(beta, hessians, np.full(6, 1 / 6))
    seen = found / 2 * batch_sharpness(jnp.asarray(hessians), jnp.asarray(random.normal(size=3)))
    eigenvalues = np.linalg.eigvalsh(hessians.mean(0))
    least, *_, most = 1 - share * 2 * beta / (1 + beta) * eigenvalues[::-1] / eigenvalues.sum()
    over = (1 - beta) / seen  # of the lower plateau
    if inputs == "random":
        evidence.at_least("lower plateau over the batch sharpness, less its least value", over - least, 0.0)
        evidence.at_most("that, less its largest value", over - most, 0.0)
    else:
        evidence.constant("lower plateau over the batch sharpness, over the one value", 1.0, over / most, 1e-6)
