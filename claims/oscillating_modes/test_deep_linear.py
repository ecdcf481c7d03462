"""Products of L square matrices: how many singular values alternate, what becomes equal, and what turns the vectors."""

from functools import partial, reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import brentq

from eosbench import Claim, Source
from eosbench.dynamics import two_cycle
from eosbench.proof import Identity, prove_identity

ETA = 0.1
RATES = {  # eta L s^(2 - 2/L), below 2.2: beyond it an orbit of period two need not attract
    1: (2.16, 1.7, 1.2, 0.8),
    2: (2.16, 2.1, 1.7, 1.2),
    3: (2.16, 2.1, 2.04, 1.7),
}


def singular_values(layers, rates):
    """Those of the target for which eta L s^(2 - 2/L) is this."""
    return (np.array(rates) / ETA / layers) ** (1 / (2 - 2 / layers))


def loss(layers, target):
    """Half the squared distance of the product from the target."""
    return jnp.sum((reduce(lambda product, layer: layer @ product, layers) - target) ** 2) / 2


@partial(jax.jit, static_argnames="records")
def descend(layers, target, steps, records=3):
    """The layers after so many steps, and after each of those that follow."""

    def step(layers):
        return layers - ETA * jax.grad(loss)(layers, target)

    layers = jax.lax.fori_loop(0, steps, lambda _, w: step(w), layers)
    return jax.lax.scan(lambda w, _: (step(w), w), layers, length=records)[1]


class Orbit(NamedTuple):
    """What is left at the end.

    Attributes:
        alternating: how many singular values of the product's change in a step exceed 1e-6.
        returns: by how much two steps change the product.
        values: the singular values of the product before and after a step, as a row each, in the target's order.
    """

    alternating: int
    returns: float
    values: np.ndarray


def orbit(start, target, bases, steps):
    """Of the last iterates from this start."""
    path = np.asarray(descend(jnp.asarray(start), jnp.asarray(target), steps))
    products = [reduce(lambda product, layer: layer @ product, layers) for layers in path]
    finite = bool(np.isfinite(products).all())
    change = np.linalg.svd(products[1] - products[0], compute_uv=False) if finite else np.full(1, np.inf)
    values = np.array([np.diag(bases[-1].T @ product @ bases[0]) for product in products[:2]])
    return Orbit(int((change > 1e-6).sum()), float(np.abs(products[2] - products[0]).max()), values)


def network(layers, rates, random, unbalanced, plain=False):
    """Layers with the singular vectors of their neighbours, the target, and the bases between the layers.

    `plain` has the axes for singular vectors, so that no rounding turns them.
    """
    n, s = len(rates), singular_values(layers, rates)
    bases = [np.eye(n) if plain else np.linalg.qr(random.normal(size=(n, n)))[0] for _ in range(layers + 1)]
    sizes = s ** (1 / layers) * (1 + unbalanced * random.normal(size=(layers, n)))
    start = np.stack([bases[k + 1] @ np.diag(sizes[k]) @ bases[k].T for k in range(layers)])
    return start, bases[-1] @ np.diag(s) @ bases[0].T, bases


def alternation(layers, s):
    """The two values of the product on the orbit of w -> w - eta (w^L - s) w^(L - 1), which is that of equal layers."""
    cycle = two_cycle(lambda w: jnp.sum((w**layers - s) ** 2) / (2 * layers), ETA, s ** (1 / layers))
    return np.sort(cycle**layers)


dimension = Claim(
    "oscillating-modes/dimension",
    source=Source("ghosh-deep-linear", "Abstract"),
    printed=(
        "We theoretically analyze the regime of the 2-period orbit and show that the loss oscillations occur within a "
        "small subspace, with the dimension of the subspace precisely characterized by the learning rate. [Where "
        r"neighbouring layers share their singular vectors, it is the number of singular values $s$ of the target with "
        r"$\eta L s^{2 - 2/L} > 2$; checked up to 2.16, in steps taken along them.]"
    ),
    expected="holds",
)


@dimension.check(
    layers=[2, 3, 4],
    modes=[1, 2, 3],
    controls={
        "2.06 for 2 below three modes": dict(modes=3, two=2.06),
        "without the depth": dict(layers=3, modes=2, depth=1),
        "rates with exponent 2": dict(layers=3, modes=2, exponent=2.0),
    },
)
def test_as_many_modes_alternate_as_are_beyond_the_edge(evidence, layers, modes, two=2.0, depth=None, exponent=None):
    """The layers stay diagonal to the last digit; the two values of each mode are those of equal layers."""
    random = np.random.default_rng(evidence.seed())
    s = singular_values(layers, RATES[modes])
    rate = ETA * (layers if depth is None else depth) * s ** (2 - 2 / layers if exponent is None else exponent)
    start, target, bases = network(layers, RATES[modes], random, 0.02, plain=True)
    found = orbit(start, target, bases, 20_000)
    evidence.close("what two steps change", found.returns, 0.0, 1e-9)
    beyond = rate > two
    evidence.equal("modes that alternate", found.alternating, int(beyond.sum()))
    for k in np.flatnonzero(beyond):
        evidence.close(
            "values on the orbit, over s", np.sort(found.values[:, k]) / s[k], alternation(layers, s[k]) / s[k], 1e-6
        )
    path = np.asarray(descend(jnp.asarray(start), jnp.asarray(target), 0, records=80))
    if layers == 3:
        values = np.array([np.diag(reduce(lambda p, w: w @ p, w)) for w in path]) / s
        for k in range(modes):
            evidence.series(
                f"{modes} beyond, {RATES[modes][k]:g}",
                np.arange(80),
                values[:, k],
                axes=("step", "σ/s"),
                style="points",
            )


balancing_gap = Claim(
    "oscillating-modes/balancing-gap",
    source=Source("ghosh-deep-linear", "Abstract"),
    printed=(
        "The crux of our analysis lies in showing that the symmetry-induced conservation law for gradient flow, "
        "defined as the balancing gap among the singular values across layers, breaks at EOS and decays "
        r"monotonically to zero. [The gap is $|\sigma_j^2 - \sigma_k^2|$; a step multiplies it by $1 - \eta^2 r^2 "
        "c^2$ with the residual $r$ and the product $c$ of the other layers.]"
    ),
    expected="holds",
)


@balancing_gap.check(controls={"1.02 eta² r² c²": dict(one="51/50")})
def test_what_a_step_makes_of_the_gap(evidence, one="1"):
    """a and b are the singular values of two layers, and r c b and r c a their gradients."""
    identity = Identity(
        (
            (
                "the gap after a step",
                "(a - eta*r*c*b)**2 - (b - eta*r*c*a)**2",
                "=",
                f"(1 - {one}*eta**2*r**2*c**2)*(a**2 - b**2)",
            ),
        ),
        "a b c r eta",
    )
    evidence.proved("for every step", prove_identity(identity), identity.theorem)


@balancing_gap.check(
    layers=[2, 3, 4],
    rate=[2.05, 2.16],
    controls={"below the edge": dict(rate=1.9), "at a tenth of it": dict(rate=0.2)},
)
def test_it_decays_to_zero_beyond_the_edge_alone(evidence, layers, rate):
    """Below the edge it stays; the least share that a control keeps is about all of it."""
    evidence.requires("eta L s^(2 - 2/L) > 2", rate > 2)
    random = np.random.default_rng(evidence.seed())
    start, target, _ = network(layers, (rate,), random, 0.03, plain=True)
    path = np.asarray(descend(jnp.asarray(start), jnp.asarray(target), 0, records=4000))[:, :, 0, 0]
    last = np.asarray(descend(jnp.asarray(start), jnp.asarray(target), 20_000))[0, :, 0, 0]
    gaps = np.abs(path[:, :, None] ** 2 - path[:, None, :] ** 2)
    size = gaps[0].max()
    evidence.at_most(
        "rise of a gap in a step, of the first", np.diff(gaps, axis=0).max() / size, 1e-12, uncertainty=1e-13
    )
    final = np.abs(last[:, None] ** 2 - last[None, :] ** 2).max()
    evidence.at_most("gap at the end, of the first", final / size, 1e-10)
    axes = ("step", "gap, of the first")
    every = slice(None, None, 10)
    largest = gaps.max((1, 2))[every] / size + 1e-17
    evidence.series(f"L = {layers}, {rate:g}", np.arange(4000)[every], largest, axes=axes, scale="semilogy")


@jax.jit
def two_steps(layers, target):
    """The Jacobian of two steps."""

    def step(layers):
        return layers - ETA * jax.grad(loss)(layers, target)

    return jax.jacobian(lambda layers: step(step(layers)))(layers)


def turning(layers, rates, second=1.001):
    """The largest multiplier of two steps on the orbit of two modes, of what turns their singular vectors.

    From a start along them, in which all else stays zero to the last digit; `second` below 1 has the second mode
    alternate against the first.
    """
    start, target, _ = network(layers, rates, np.random.default_rng(0), 0.0, plain=True)
    start[:, [0, 1], [0, 1]] *= np.array([1.001, second])
    at = np.asarray(descend(jnp.asarray(start), jnp.asarray(target), 20_000))[0]
    jacobian = np.asarray(two_steps(jnp.asarray(at), jnp.asarray(target))).reshape(at.size, at.size)
    off = np.flatnonzero(np.broadcast_to(~np.eye(2, dtype=bool), at.shape))
    return float(np.abs(np.linalg.eigvals(jacobian[np.ix_(off, off)])).max())


def pair(layers, s):
    """Eta times the eigenvalue of the Hessian that belongs to two singular vectors, at the minimum of equal layers."""
    return ETA * sum(s[0] ** (2 * (layers - k) / layers) * s[1] ** (2 * (k - 1) / layers) for k in range(1, layers + 1))


turned_vectors = Claim(
    "oscillating-modes/turned-vectors",
    source=Source("eosbench-statements", "Oscillating modes"),
    printed=(
        r"Let $p_{ij} = \eta\sum_{k=1}^{L} s_i^{2(L - k)/L} s_j^{2(k - 1)/L}$, which is $\eta L s_i^{2 - 2/L}$ for "
        r"$i = j$, and $\eta(s_i + s_j)$ for two layers. Where mode $i$ alternates, $2 < p_{ii} < 2.2$, what turns "
        "the singular vectors of $i$ and $j$ does not grow if $p_{ij} < 2$, and grows if $p_{ij} > 2.02$ (for two "
        "layers, if $p_{ij} > 2$). With one mode beyond the edge and all other $p_{1j} < 2$ the orbit attracts "
        "layers whose singular vectors differ; with two modes beyond the edge the orbit on which both alternate "
        "never attracts them."
    ),
    expected="holds",
)


@turned_vectors.check(
    layers=[2, 3, 4],
    top=[2.08, 2.16],
    between=[1.98, 2.02],
    controls={
        "by the second mode's own rate": dict(between=2.02, own=True),
        "2.04 for 2": dict(between=2.02, two=2.04),
        "1.96 for 2": dict(two=1.96),
    },
)
def test_what_turns_two_vectors_grows_from_two_on(evidence, layers, top, between, two=2.0, own=False):
    """The second singular value is the one for which p_12 is this; gauge directions have the multiplier 1."""
    evidence.requires("2 < p_11 < 2.2", 2 < top < 2.2)
    first = singular_values(layers, (top,))[0]
    second = brentq(lambda s: pair(layers, (first, s)) - between, 0.1 * first, 1.1 * first, xtol=1e-14)
    rate = ETA * layers * second ** (2 - 2 / layers)
    multiplier = turning(layers, (top, rate))
    if (rate if own else between) > two:
        evidence.at_least("multiplier of two steps", multiplier, 1.002)
    else:
        evidence.at_most("multiplier of two steps", multiplier, 1 + 1e-6)
    evidence.series(f"L = {layers}, {top:g}", [between], [multiplier], axes=("p_12", "multiplier"), style="points")


@turned_vectors.check(between=[1.99, 2.01], controls={"2.02 for 2": dict(between=2.01, two=2.02)})
def test_of_two_layers_from_just_two_on(evidence, between, two=2.0, top=2.16):
    second = 2 * between - top  # the rates are 2 eta s
    multiplier = turning(2, (top, second))
    if between > two:
        evidence.at_least("multiplier of two steps", multiplier, 1.005)
    else:
        evidence.at_most("multiplier of two steps", multiplier, 1 + 1e-6)


@turned_vectors.check(
    layers=[2, 3, 4],
    rates=[(2.16, 2.1), (2.06, 2.04), (2.16, 2.02)],
    second=[1.001, 0.999],
    controls={"one mode": dict(rates=(2.16, 1.7))},
)
def test_two_modes_repel_what_turns_their_vectors(evidence, layers, rates, second):
    """Where both are beyond the edge p_12 is at least the lesser of their rates.

    It is least where they alternate together and the rates are near, for equal ones may be turned as one likes.
    """
    evidence.requires("two modes beyond the edge", min(rates) > 2)
    evidence.at_least("multiplier of two steps", turning(layers, rates, second), 1.0001, uncertainty=1e-6)


@turned_vectors.check(
    layers=[2, 3, 4],
    controls={
        "two modes": dict(layers=3, rates=RATES[2]),
        "two modes, barely": dict(layers=3, rates=(2.06, 2.04, 1.7, 1.2)),
        "one mode, p_12 above 2": dict(layers=3, rates=(2.16, 1.95, 1.2, 0.8)),
        "two layers and two modes": dict(rates=RATES[2]),
    },
)
def test_one_mode_attracts_layers_whose_vectors_differ(evidence, layers, rates=RATES[1]):
    """From 3e-3 of disorder in every entry; in the end all but the one mode is still, and it is on its orbit."""
    s = singular_values(layers, rates)
    evidence.requires("one mode beyond the edge", sum(rate > 2 for rate in rates) == 1)
    evidence.requires("p_1j < 2", max(pair(layers, (s[0], other)) for other in s[1:]) < 2)
    random = np.random.default_rng(evidence.seed())
    start, target, bases = network(layers, rates, random, 0.02)
    found = orbit(start + 3e-3 * random.normal(size=start.shape), target, bases, 20_000)
    evidence.finite("the product", found.values)
    evidence.equal("modes that alternate", found.alternating, 1)
    if np.isfinite(found.returns):
        evidence.close("what two steps change", found.returns, 0.0, 1e-8)
        values = np.sort(found.values[:, 0]) / s[0]
        evidence.close("values on the orbit, over s", values, alternation(layers, s[0]) / s[0], 1e-6)
