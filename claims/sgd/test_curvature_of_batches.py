"""What the curvature along mini-batch gradients says about the stability of SGD: less than its name promises."""

from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import optax

from eosbench import Claim, Source
from eosbench.dynamics import mean_square_growth, onset

from .setting import curvatures

SEQUENCES = jnp.asarray(list(product([0, 1], repeat=12)))  # all orders in which one of two samples is drawn


@jax.jit
@partial(jax.vmap, in_axes=(0, None))
def mean_square(eta, a):
    """Log of E x² after 12 steps over that after 6, over all sequences of optax's SGD on a_i x²/2 from x = 1."""

    def run(order):
        def step(carry, i):
            x, state = carry
            updates, state = optax.sgd(eta).update(a[i] * x, state, x)
            return (x + updates, state), x + updates

        return jax.lax.scan(step, (jnp.asarray(1.0), optax.sgd(eta).init(jnp.asarray(1.0))), order)[1] ** 2

    squares = jax.vmap(run)(SEQUENCES).mean(0)
    return jnp.log(squares[-1] / squares[5])


def seen(a):
    """What samples of curvatures a see at x = 1."""
    hessians = jnp.asarray(a)[None, :, None, None]
    return jax.tree.map(
        lambda value: float(value[0]), curvatures(hessians, jnp.zeros((1, len(a), 1)), jnp.ones((1, 1)))
    )


DS = [0.5, 0.3, 0.1, 0.01]

mean_square_1d = Claim(
    "sgd/mean-square-1d",
    source=Source("eosbench-statements", "Stochastic gradients, batch sharpness"),
    printed=(
        r"For SGD with single samples on $\frac{1}{2} a_i x^2$ with $a_i > 0$, $\mathbb{E} x^2$ grows if and only if "
        r"$\eta\mathbb{E}[a^2] > 2\mathbb{E}[a]$. At that step size the batch sharpness $\mathbb{E}[g H g/g^2]$ is at "
        r"most $2/\eta$ and the ratio $\mathbb{E}[g H g]/\mathbb{E}[g^2]$ is at least $2/\eta$, with equality only if "
        r"all $a_i$ are equal: a batch sharpness above $2/\eta$ is enough for divergence and not necessary, a ratio "
        r"above $2/\eta$ is not enough. For $a$ of $d$ or $2 - d$, as often, the batch sharpness there is "
        r"$\frac{2}{\eta} \cdot \frac{1}{1 + (1 - d)^2}$."
    ),
    expected="holds",
)


@mean_square_1d.check(
    d=DS,
    controls={
        "the ratio in place of the mean of quotients": dict(d=0.3, means="ratio"),
        "d = 0, where a sample has no gradient and is left out": dict(d=0.0, left=(2.0, 2.0)),
        "the threshold of the mean curvature": dict(d=0.3, full=True),
    },
)
def test_two_samples_grow_where_the_batch_sharpness_is_well_below(evidence, d, means="quotient", left=None, full=False):
    a = np.array([d, 2 - d])
    evidence.requires("a > 0", d > 0)
    found = onset(lambda etas: mean_square(jnp.asarray(etas), jnp.asarray(a)), 0.5, 3.0)
    claimed = 2.0 if full else 2 / (1 + (1 - d) ** 2)
    evidence.constant("eta at the onset, over 2 E[a]/E[a²]", 1.0, found.value / claimed, 1e-9)
    at = seen(a if left is None else left)
    share = getattr(at, means) * found.value / 2
    evidence.constant("batch sharpness there, over its value", 1.0, share * (1 + (1 - d) ** 2), 1e-9)
    evidence.at_least("eta/2 times the ratio, there", at.ratio * found.value / 2, 1.0)
    if d == DS[0]:
        edges = [
            onset(lambda etas, b=b: mean_square(jnp.asarray(etas), jnp.array([b, 2 - b])), 0.5, 3.0).value for b in DS
        ]
        for label, name in (("batch sharpness", "quotient"), ("ratio", "ratio"), ("E[g H g]/(E g)²", "interaction")):
            values = [getattr(seen([b, 2 - b]), name) * eta / 2 for b, eta in zip(DS, edges, strict=True)]
            evidence.series(label, DS, values, axes=("d", "η/2 times the curvature, at the onset"), scale="semilogx")


@mean_square_1d.check(lowest=[0.0, 0.5], controls={"curvatures of both signs": dict(lowest=-1.0)})
def test_the_order_of_three_curvatures(evidence, lowest, n=5):
    """By how much they differ is told exactly, by expressions that vanish if and only if all a are equal."""
    a = np.random.default_rng(evidence.seed()).uniform(lowest, 1.0, size=(500, n))
    evidence.requires("a > 0", bool((a > 0).all()))
    found = curvatures(jnp.asarray(a)[..., None, None], jnp.zeros((500, n, 1)), jnp.ones((500, 1)))
    second = (a**2).mean(1)
    edge = 2 * a.mean(1) / second
    pairs = (a[:, :, None] * a[:, None, :] * (a[:, :, None] - a[:, None, :]) ** 2).mean((1, 2))
    maps = 1 - np.array([0.999, 1.001])[:, None] * edge[0] * a[0]
    grows = np.asarray(mean_square_growth(jnp.asarray(maps)[..., None, None], jnp.full(n, 1 / n))) > 0
    evidence.equal("E x² grows 0.1 % below the threshold, and above", grows, np.array([False, True]))
    evidence.equal("eta/2 times the batch sharpness", edge * found.quotient / 2, 1 - a.var(1) / second)
    evidence.equal("eta/2 times the ratio", edge * found.ratio / 2, 1 + pairs / (2 * second**2))
    evidence.at_least("the ratio above the batch sharpness", found.ratio / found.quotient, 1.0)
    evidence.at_least("what the ratio has above 2/eta", pairs / second**2, 0.0)


sharpness_order = Claim(
    "sgd/sharpness-order",
    source=Source("eosbench-statements", "Stochastic gradients, order"),
    printed=(
        r"For batches $B$ of equal weight with gradients $g_B$ and Hessians $H_B$ of mean $H$: $\lambda_1(H) \leq "
        r"\mathbb{E}[\lambda_1(H_B)]$, the batch sharpness $\mathbb{E}[g_B^\top H_B g_B/|g_B|^2] \leq "
        r"\mathbb{E}[\lambda_1(H_B)]$, and $\mathbb{E}[g_B^\top H g_B]/\mathbb{E}[|g_B|^2] \leq \lambda_1(H)$. "
        r"Between the batch sharpness and $\lambda_1(H)$ there is no order: either may be the larger one, by any "
        "factor."
    ),
    expected="holds",
)


@sharpness_order.check(
    batches=[4],
    controls={"batches of unequal weight": dict(weighted=True), "batch sharpness below": dict(swapped=True)},
)
def test_three_inequalities_on_random_quadratics(evidence, batches, weighted=False, swapped=False):
    random = np.random.default_rng(evidence.seed())
    halves = random.normal(size=(1000, batches, 3, 3))
    hessians = halves + halves.transpose(0, 1, 3, 2)
    found = curvatures(jnp.asarray(hessians), jnp.asarray(random.normal(size=(1000, batches, 3))), jnp.zeros((1000, 3)))
    weights = random.dirichlet(np.ones(batches), 1000) if weighted else np.full((1000, batches), 1 / batches)
    mean = np.einsum("rk,rkij->rij", weights, hessians)
    evidence.requires("batches of equal weight", not weighted)
    sharpness, size = np.linalg.eigvalsh(mean)[:, -1], np.abs(hessians).max((1, 2, 3))
    allowed = 1e-12 * size
    evidence.at_most("λ_1(H) less E[λ_1(H_B)]", sharpness - found.largest, allowed, uncertainty=1e-13 * size)
    evidence.at_most(
        "batch sharpness less E[λ_1(H_B)]", found.quotient - found.largest, allowed, uncertainty=1e-13 * size
    )
    below = found.quotient if swapped else found.average
    evidence.at_most("E[gHg]/E[g²] less λ_1(H)", below - sharpness, allowed, uncertainty=1e-13 * size)
    evidence.at_least("sets with the batch sharpness above λ_1", int((found.quotient > sharpness).sum()), 1)
    evidence.at_least("sets with the batch sharpness below λ_1", int((found.quotient < sharpness).sum()), 1)


@sharpness_order.check(
    factor=[10.0],
    controls={"gradients along the first axis": dict(along=0), "one batch": dict(apart=False)},
)
def test_either_may_be_the_larger_one_by_any_factor(evidence, factor, along=1, apart=True):
    """All batches diag(1, 1/factor) with gradients along one axis; and batches that share out the axes among them."""
    k = int(factor)
    hessians = jnp.asarray(np.tile(np.diag([1.0, 1 / factor]), (1, k, 1, 1)))
    found = curvatures(hessians, jnp.zeros((1, k, 2)), jnp.eye(2)[along : along + 1])
    evidence.constant(
        "λ_1 over batch sharpness, over the factor", 1.0, found.sharpness / found.quotient / factor, 1e-12
    )
    spread = np.eye(k)[:, :, None] * np.eye(k)[:, None, :] if apart else np.tile(np.eye(k), (k, 1, 1))
    found = curvatures(jnp.asarray(spread)[None], jnp.zeros((1, k, k)), jnp.ones((1, k)))
    evidence.constant(
        "batch sharpness over λ_1, over the factor", 1.0, found.quotient / found.sharpness / factor, 1e-12
    )
