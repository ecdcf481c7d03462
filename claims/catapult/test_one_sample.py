"""Gradient descent on one sample, by a linear network of two layers: two numbers follow each other exactly.

Weights u and v of width n, input 1 and label 0: the output is f = u·v/sqrt(n), the loss f²/2, and l = (|u|² + |v|²)/n
is the only entry of the neural tangent kernel.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from eosbench import Claim, Source
from eosbench.proof import Identity, prove_identity

FAR = 1e6  # an output beyond which a run counts as diverged; it is held there


class Seen(NamedTuple):
    """Of a network: its output, and eta times the curvature."""

    output: jax.Array
    curvature: jax.Array


@partial(jax.jit, static_argnames="steps")
@partial(jax.vmap, in_axes=(0, 0, 0, None))
def trained(u, v, eta, steps):
    """What is seen at each step of optax's gradient descent, and at its end."""

    def loss(weights):
        u, v = weights
        return (u @ v) ** 2 / u.size / 2

    def see(weights):
        u, v = weights
        return Seen(u @ v / jnp.sqrt(u.size), eta * (u @ u + v @ v) / u.size)

    def step(weights, _):
        updates, _ = optax.sgd(eta).update(jax.grad(loss)(weights), optax.sgd(eta).init(weights))
        left = jnp.abs(see(weights).output) > FAR
        moved = jax.tree.map(lambda w, update: jnp.where(left, w, w + update), weights, updates)
        return moved, see(weights)

    last, path = jax.lax.scan(step, (u, v), length=steps)
    return path, see(last)


@partial(jax.jit, static_argnames="steps")
def followed(share, curvature, steps):
    """eta² f²/n, at each of these steps, by the recursion of it and of eta l."""

    def step(carry, _):
        g, k = carry
        return (g * (1 - k + g) ** 2, k + g * (k - 4)), g

    return jax.lax.scan(step, (share, curvature), length=steps)[1]


def weights(random, n, starts):
    """Weights of variance one."""
    return random.normal(size=(2, starts, n))


recursion = Claim(
    "catapult/recursion",
    source=Source("eosbench-statements", "Catapult, recursion"),
    printed=(
        r"Gradient descent on $\frac{1}{2} f^2$ with $f = u \cdot v/\sqrt{n}$ and $l = (|u|^2 + |v|^2)/n$ for weights "
        r"$u$ and $v$ of width $n$: $f \leftarrow f (1 - \eta l + \eta^2 f^2/n)$ and $l \leftarrow l + \frac{\eta "
        r"f^2}{n}(\eta l - 4)$, exactly."
    ),
    expected="holds",
)


@recursion.check(
    n=[1, 10, 1000],
    controls={"without the last term of f": dict(n=1, last=0.0), "2 % more in the 4": dict(n=1, four=4.08)},
)
def test_a_step_from_the_weights(evidence, n, last=1.0, four=4.0):
    """The steps of 200 runs; below eta l = 4, where they stay in reach."""
    random = np.random.default_rng(evidence.seed())
    u, v = weights(random, n, 200)
    eta = random.uniform(0.5, 3.9, size=200) * n / ((u**2).sum(1) + (v**2).sum(1))
    path, _ = trained(u, v, eta, 200)
    f, k, eta = np.asarray(path.output), np.asarray(path.curvature), eta[:, None]
    share = eta[:, 0, None] ** 2 * f[:, :-1] ** 2 / n
    size = np.sqrt(n) / eta  # of outputs with share 1
    evidence.close("f after a step", f[:, 1:] / size, f[:, :-1] / size * (1 - k[:, :-1] + last * share), 1e-12)
    evidence.close("eta l after a step", k[:, 1:], k[:, :-1] + share * (k[:, :-1] - four), 1e-12)


@recursion.check(proves=True, controls={"2 % more in the 4": dict(four="102/25")})
def test_a_step_for_every_width(evidence, four="4"):
    """With F = u·v = sqrt(n) f, K = n l and e = eta/n, so that e K = eta l and e² F² = eta² f²/n.

    The gradient of F²/(2n) in u is F v/n, and that in v is F u/n: the terms of first order in a change (a, b).
    """
    identity = Identity(
        (
            ("the gradient", "((u + a).T@(v + b))**2", "=", "F**2 + 2*F*(v.T@a + u.T@b) + rest"),
            ("u·v after a step", "U.T@V", "=", "F*(1 - e*K + e**2*F**2)"),
            ("|u|² + |v|² after a step", "U.T@U + V.T@V", "=", f"K + e*F**2*(e*K - {four})"),
        ),
        "e",
        dict.fromkeys("uvab", ("p", "1")),
        where={
            "F": "u.T@v",
            "K": "u.T@u + v.T@v",
            "U": "u - e*F*v",
            "V": "v - e*F*u",
            "rest": "2*F*(a.T@b) + (v.T@a + u.T@b + a.T@b)**2",
        },
    )
    evidence.proved("for every width", prove_identity(identity), identity.theorem)


threshold = Claim(
    "catapult/threshold",
    source=Source("eosbench-statements", "Catapult, threshold"),
    printed=(
        r"Of that network, whatever its width: if $\eta l < 4$ at the start, $f$ tends to 0 from every start, $\eta l$ "
        r"falls in every step with $f \neq 0$, and unless $f$ becomes 0 in finitely many steps it ends at 2 or below; "
        r"if $\eta l > 4$, $\eta l$ tends to infinity unless $f$ becomes 0 in finitely many steps."
    ),
    expected="holds",
    uses=("catapult/recursion",),
)


@threshold.check(
    n=[1, 2, 10, 1000],
    start=[1.9, 2.1, 3.0, 3.95, 4.05, 4.2],
    controls={"4 by 2 % more": dict(n=10, start=4.05, four=4.08), "4 by 2 % less": dict(n=10, start=3.95, four=3.92)},
)
def test_on_which_side_of_four(evidence, n, start, four=4.0):
    """200 starts each, 3000 steps. Some of those below 4 come so low that they have not yet arrived at f = 0."""
    u, v = weights(np.random.default_rng(evidence.seed()), n, 200)
    path, last = trained(u, v, start * n / ((u**2).sum(1) + (v**2).sum(1)), 3000)
    f, k = np.abs(np.asarray(path.output)), np.asarray(path.curvature)
    left = np.abs(np.asarray(last.output)) > FAR
    evidence.equal("runs that diverge, of 200", int(left.sum()), 200 if start > four else 0)
    if not left.any():
        arrived = (np.abs(np.asarray(last.output)) < 1e-6).mean()
        evidence.at_least("share of runs that have come to f = 0", arrived, 0.9)
        evidence.at_most("eta l in the end", np.asarray(last.curvature), 2.0)
        evidence.at_most("what a step adds to eta l", np.diff(k, axis=1), 1e-12)  # of rounding
    axes = ("step", "η l")
    evidence.series(f"n = {n}, eta l = {start:g}", np.arange(40), k[np.argmax(f[:, 0]), :40], axes=axes)


@threshold.check(
    start=[1.9, 2.1, 3.0, 3.95],
    controls={"starts that no weights have": dict(beyond=1.3)},
)
def test_weights_keep_the_output_in_reach(evidence, start, beyond=1.0):
    """As l >= 2|f|/sqrt(n) for all weights, eta² f²/n is at most (eta l)²/4: from there on the recursion stays."""
    share = beyond * start**2 / 4 * np.linspace(0, 1, 401)[1:]
    evidence.requires("l >= 2|f|/sqrt(n)", bool((4 * share <= start**2 * (1 + 1e-12)).all()))
    shares = followed(jnp.asarray(share), jnp.full(400, start), 6)  # beyond reach they soon leave those of the machine
    evidence.at_most("eta² f²/n in six steps", shares, 4.0)


@threshold.check(proves=True, controls={"2 % more in the 4": dict(four="102/25")})
def test_the_sign_of_eta_l_less_four_stays(evidence, four="4"):
    """For k = eta l and g = eta² f²/n. Below 4, d = 4 - k > 0: d grows by d g in a step, so that k falls while g > 0.

    As k is not negative, the sum of d g stays bounded, and d is at least what it was: g tends to 0. Were the limit of k
    above 2, |f| would grow in the end, as its factor tends to 1 - k: it would not tend to 0, unless it is 0.

    Above 4, c = k - 4 > 0 grows by c g, so that k tends to infinity unless the sum of g is finite; then g would tend to
    0, while the factor of f is below -3 + g, a contradiction unless f is 0. That k² >= 4 g is not needed for this: it
    says how far f can get.
    """
    identity = Identity(
        (
            ("4 - eta l after a step", f"{four} - (k + g*(k - 4))", "=", f"({four} - k)*(1 + g)"),
            ("(eta l)² - 4 eta² f²/n", "(u.T@u + v.T@v)**2", ">=", "4*(u.T@v)**2"),
        ),
        "k g",
        dict.fromkeys("uv", ("p", "1")),
        excess={"(eta l)² - 4 eta² f²/n": "((u - v).T@(u - v))*((u + v).T@(u + v))"},
    )
    evidence.proved("for every width", prove_identity(identity), identity.theorem)


# eta l at the start, and the smallest and the largest eta l in the end, as the statement has them
ENDS = {2.2: (1.770, 1.770), 2.5: (1.282, 1.282), 3.0: (0.185, 0.247)}

end = Claim(
    "catapult/end",
    source=Source("eosbench-statements", "Catapult, end"),
    printed=(
        r"It does not end at the edge. From starts with $f^2/n \to 0$, $\eta l$ ends at 1.770 if it was 2.2, at 1.282 "
        "if it was 2.5, and between 0.185 and 0.247, by where $f$ began, if it was 3."
    ),
    expected="holds",
    uses=("catapult/recursion",),
)


@end.check(start=list(ENDS), controls={"2 % more": dict(more=1.02), "at the edge": dict(ends=(2.0, 2.0))})
def test_where_small_outputs_end(evidence, start, more=1.0, ends=None):
    """The weights (a, 0) and (b, 0) make the output as small as one likes; f grows by |1 - eta l| in a step at first.

    So outputs over one such factor are all there are, in the limit. The starts here have eta² f²/n near 1e-12, and the
    numbers three decimals.
    """
    share = 1e-12 * (start - 1) ** np.linspace(0, 2, 401)
    n = 2
    large = np.sqrt(n * start / 2 * (1 + np.sqrt(1 - 4 * share / start**2)))
    small = n * np.sqrt(share) / large
    u, v = np.stack([large, np.zeros(401)], 1), np.stack([small, np.zeros(401)], 1)
    _, found = trained(u, v, np.ones(401), 3000)
    lowest, highest = ENDS[start] if ends is None else ends
    last = np.asarray(found.curvature)
    evidence.at_most("eta |f| in the end", np.abs(np.asarray(found.output)), 1e-6)
    evidence.constant(f"lowest eta l in the end, from {start:g}", more * lowest, last.min(), 1e-3)
    evidence.constant(f"highest eta l in the end, from {start:g}", more * highest, last.max(), 1e-3)
    axes = ("log f at the start, over log |1 - η l|", "η l in the end")
    evidence.series(f"from eta l = {start:g}", np.linspace(0, 1, 401), last, axes=axes)
