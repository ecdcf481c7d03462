"""Deep linear networks with one output: the sharpness of their minimizers, and the least that it can be."""

from functools import reduce
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from eosbench import Claim, Source
from eosbench.proof import Identity, prove_identity

INPUTS, WIDTH, SAMPLES = 3, 4, 20


def whitened(random):
    """Inputs whose covariance is 1, a row for each sample."""
    return np.linalg.qr(random.normal(size=(SAMPLES, INPUTS)))[0] * SAMPLES**0.5


def solved(layers, target):
    """The layers with the first one changed as little as makes the network the target."""
    first, *rest = layers
    row = reduce(lambda product, layer: layer @ product, rest)
    return [first + row.T @ (target[None] - row @ first) / (row**2).sum(), *rest]


def normal_layers(depth, random):
    """Layers of normal numbers, with the spread that keeps the size of what they transport."""
    sizes = [INPUTS, *[WIDTH] * (depth - 1), 1]
    return [random.normal(size=(out, into)) / into**0.5 for into, out in pairwise(sizes)]


def flattest(depth, target, random):
    """Layers of rank one and equal norm, each along what the one before puts out."""
    axes = [target / np.linalg.norm(target)]
    axes += [axis / np.linalg.norm(axis) for axis in random.normal(size=(depth - 1, WIDTH))] + [np.ones(1)]
    return [np.linalg.norm(target) ** (1 / depth) * np.outer(axes[k + 1], axes[k]) for k in range(depth)]


@jax.jit
def sharpness_and_loss(layers, inputs, target):
    """Of half the mean squared error, from its Hessian, and the loss itself."""
    flat, unflatten = ravel_pytree(layers)

    def loss(flat):
        output = reduce(lambda moved, layer: moved @ layer.T, unflatten(flat), inputs)
        return jnp.mean((output[:, 0] - inputs @ target) ** 2) / 2

    return jnp.linalg.eigvalsh(jax.hessian(loss)(flat))[-1], loss(flat)


def over_the_bound(depth, layers, inputs, target, exponent=None, factor=None):
    """The sharpness over L |w*|^(2 - 2/L), and the loss."""
    sharpness, loss = map(float, sharpness_and_loss([jnp.asarray(w) for w in layers], inputs, target))
    bound = (depth if factor is None else factor) * np.linalg.norm(target) ** (
        2 - 2 / depth if exponent is None else exponent
    )
    return sharpness / bound, loss


least_sharpness = Claim(
    "flat-minima/least-sharpness",
    source=Source("marion-chizat", "Abstract"),
    printed=(
        "In this paper, we study the sharpness of deep linear networks for univariate regression. Minimizers can have "
        "arbitrarily large sharpness, but not an arbitrarily small one. Indeed, we show a lower bound on the sharpness "
        "of minimizers, which grows linearly with depth. [For half the mean squared error on whitened inputs, targets "
        r"$w_*^\top x$ and $L$ layers it is $L|w_*|^{2 - 2/L}$, and there is a minimizer with this sharpness.]"
    ),
    expected="holds",
)


@least_sharpness.check(
    depth=[2, 3, 4, 6],
    norm=[0.4, 3.0],
    controls={
        "2 % more": dict(depth=3, norm=3.0, factor=3.06),
        "the exponent 2": dict(depth=3, norm=3.0, exponent=2.0),
        "the exponent 2, a small target": dict(depth=4, norm=0.4, exponent=2.0),
        "without the depth": dict(depth=2, norm=3.0, factor=1.0),
        "layers of unequal norm": dict(depth=3, norm=3.0, unequal=1.2),
    },
)
def test_the_flattest_minimizer(evidence, depth, norm, unequal=1.0, exponent=None, factor=None):
    random = np.random.default_rng(evidence.seed())
    target = random.normal(size=INPUTS)
    target *= norm / np.linalg.norm(target)
    layers = flattest(depth, target, random)
    layers[0], layers[1] = layers[0] * unequal, layers[1] / unequal
    ratio, loss = over_the_bound(depth, layers, whitened(random), target, exponent, factor)
    evidence.at_most("loss", loss, 1e-20)
    evidence.constant("sharpness over L |w*|^(2 - 2/L)", 1.0, ratio, 1e-9)
    axes = ("depth", "sharpness of the flattest minimizer")
    evidence.series(f"|w*| = {norm:g}", [depth], [ratio * depth * norm ** (2 - 2 / depth)], axes=axes, style="points")


@least_sharpness.check(
    depth=[2, 3, 4, 6],
    spread=[0.01, 1.0],
    controls={
        "2 % more": dict(depth=3, spread=0.01, factor=3.06),
        "no minimizers": dict(depth=3, spread=0.01, shrunk=0.9),
        "inputs of half the size": dict(depth=4, spread=0.01, scale=0.5),
    },
)
def test_no_minimizer_is_flatter(evidence, depth, spread, shrunk=1.0, scale=1.0, factor=None):
    """Fifty of them, near the flattest and far: layers with so much noise, and the first one made up for it.

    Why: at a minimizer the sharpness is that of J'J, with J the derivatives of the network's weights on the inputs by
    the layers'. For the direction u of w* it is at least the sum over k of t_k², where t_k = |W_L ... W_(k+1)| |W_(k-1)
    ... W_1 u|. The product of all t_k is that over k < L of |W_L ... W_(k+1)| |W_k ... W_1 u|, each of which is at
    least |w*'u| = |w*| by Cauchy and Schwarz, and the mean of the t_k² is at least their geometric mean.
    """
    random = np.random.default_rng(evidence.seed())
    inputs = scale * whitened(random)
    evidence.requires("whitened inputs", scale == 1)
    ratios, losses = [], []
    for _ in range(50):
        target = random.normal(size=INPUTS)
        noise = normal_layers(depth, random)
        near = flattest(depth, target, random)
        layers = solved([w + spread * e for w, e in zip(near, noise, strict=True)], target)
        ratio, loss = over_the_bound(depth, [shrunk * w for w in layers], inputs, target, factor=factor)
        ratios.append(ratio)
        losses.append(loss)
    evidence.requires("minimizers", max(losses) < 1e-20)
    evidence.at_least("sharpness over L |w*|^(2 - 2/L)", np.array(ratios), 1.0)
    if spread < 0.1:
        evidence.at_most("the least of them", min(ratios), 1.02)


@least_sharpness.check(depth=[2, 3, 6], controls={"factors up to 10": dict(depth=3, factor=10.0)})
def test_it_can_be_as_large_as_one_likes(evidence, depth, factor=1e4):
    random = np.random.default_rng(evidence.seed())
    inputs, target = whitened(random), random.normal(size=INPUTS)
    layers = flattest(depth, target, random)
    layers[0], layers[-1] = layers[0] * factor, layers[-1] / factor
    ratio, loss = over_the_bound(depth, layers, inputs, target)
    evidence.at_most("loss", loss, 1e-20)
    evidence.at_least("sharpness over L |w*|^(2 - 2/L)", ratio, 1e6)


@least_sharpness.check(controls={"3.06 in place of 3": dict(three="153/50")})
def test_of_two_three_and_four_numbers(evidence, three="3"):
    """The layers are the numbers a and b, a³ and so on, a² and so on, so that the bound has no roots in it.

    The sharpness is the sum of the squares of the products of the others, and the target the product of all.
    """
    identity = Identity(
        (
            ("two layers", "a**2 + b**2", ">=", "2*a*b"),
            ("three layers", "(a*b)**6 + (b*c)**6 + (c*a)**6", ">=", f"{three}*(a*b*c)**4"),
            (
                "four layers",
                "(b*c*d)**4 + (a*c*d)**4 + (a*b*d)**4 + (a*b*c)**4",
                ">=",
                "4*(a*b*c*d)**3",
            ),
        ),
        nonnegative="a b c d",
        scalars="a b c d",
        excess={
            "two layers": "(a - b)**2",
            "three layers": "1/2*((a*b)**2 + (b*c)**2 + (c*a)**2)*(((a*b)**2 - (b*c)**2)**2 + ((b*c)**2 - (c*a)**2)**2"
            " + ((c*a)**2 - (a*b)**2)**2)",
            "four layers": "((b*c*d)**2 - (a*c*d)**2)**2 + ((a*b*d)**2 - (a*b*c)**2)**2"
            " + 2*(a*b*c**2*d**2 - a**2*b**2*c*d)**2",
        },
    )
    evidence.proved("for every product of numbers", prove_identity(identity), identity.theorem)
