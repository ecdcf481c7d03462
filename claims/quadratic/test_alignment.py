"""The map that both methods become on a quadratic aligns to v_1."""

import jax
import numpy as np

from eosbench import Claim, Source
from eosbench.dynamics import trajectory
from eosbench.problems import alignment_rate, warm_up_step


def paths(evidence, spectrum, top=1.0, steps=4000):
    """The map from 100 random starts of lengths e^-2 to e^2, in the eigenbasis: shape (starts, steps + 1, p)."""
    random = np.random.default_rng(evidence.seed())
    starts = random.normal(size=(100, len(spectrum)))
    starts *= np.exp(random.uniform(-2, 2, size=(100, 1))) / np.linalg.norm(starts, axis=1, keepdims=True)
    starts[:, 0] *= top
    return np.asarray(jax.vmap(lambda x: trajectory(warm_up_step(np.diag(spectrum)), x, steps))(starts))


aligns_to_v1 = Claim(
    "quadratic/aligns-to-v1",
    source=Source("cho-slides", "Warm-up, Theorem 3.1"),
    printed=(
        r"If $|\langle v_1, \tilde{x}_t \rangle| \neq 0$ for $t \geq 0$, then $\exists C \in (0, 1)$ and $\exists s "
        r"\in \{\pm 1\}$ such that $\lim \tilde{x}_{2t} = C s \lambda_1 v_1$ and $\lim \tilde{x}_{2t+1} = -(1 - C) s "
        r"\lambda_1 v_1$."
    ),
    expected="holds",
    uses=("quadratic/reduction-ngd", "quadratic/reduction-sqrt"),
)


@aligns_to_v1.check(
    ratio=[0.1, 0.3, 0.5, 0.7, 0.9],
    controls={
        "no component along v_1": dict(top=0.0),
        "no gap between the top two eigenvalues": dict(ratio=1.0),
    },
)
def test_iterates_alternate_between_two_multiples_of_v1(evidence, ratio, top=1.0):
    spectrum = np.array([1.0, ratio, 0.8 * ratio, 0.5 * ratio])
    x = paths(evidence, spectrum, top)
    evidence.requires("λ_1 > λ_2", ratio < 1)
    evidence.requires("<v_1, x_t> != 0 for all t", np.all(x[:, :, 0] != 0))
    even, odd, again = x[:, -3], x[:, -2], x[:, -1]
    evidence.at_most(
        "sine of the angle to v_1", np.linalg.norm(again[:, 1:], axis=1) / np.linalg.norm(again, axis=1), 1e-6
    )
    evidence.at_most("distance of x_t+2 from x_t", np.linalg.norm(again - even, axis=1), 1e-9)
    evidence.close("|<v_1, x_2t>| + |<v_1, x_2t+1>|", np.abs(even[:, 0]) + np.abs(odd[:, 0]), spectrum[0], 1e-10)
    evidence.at_most("<v_1, x_2t> <v_1, x_2t+1>", even[:, 0] * odd[:, 0], 0)
    C = np.abs(even[:, 0]) / spectrum[0]
    evidence.at_least("distance of C from 0 and 1", np.minimum(C, 1 - C), 0)

    first = x[0, :200]
    sine = np.linalg.norm(first[:, 1:], axis=1) / np.linalg.norm(first, axis=1)
    evidence.series("<v_1, x_t>", np.arange(200), first[:, 0], axes=("step", "component along v_1"))
    evidence.series("sin θ", np.arange(200), sine + 1e-17, axes=("step", "sine of the angle to v_1"), scale="semilogy")


@aligns_to_v1.check(ratio=[0.1, 0.3, 0.5, 0.7, 0.9], controls={"the rate of another eigenvalue": dict(assumed=0.2)})
def test_the_two_step_rate_of_alignment(evidence, ratio, assumed=None):
    """The rate is not printed; it follows from linearizing two steps about the limit.

    A limit with C(1-C) below r(1-r)/2 would have a rate below -1, and repel.
    """
    x = paths(evidence, np.array([1.0, ratio]))
    starts, late = np.arange(len(x)), x.shape[1] - 1 - np.argmax(np.abs(x[:, ::-1, 1]) > 1e-7, axis=1)
    evidence.requires("alignment is complete before the end", late.max() + 2 < x.shape[1])
    here, there, again = (x[starts, late + k] for k in range(3))
    C = np.abs(here[:, 0]) / (np.abs(here[:, 0]) + np.abs(there[:, 0]))
    evidence.at_least("C(1-C)", C * (1 - C), ratio * (1 - ratio) / 2)
    predicted_loss = 1 - np.asarray(alignment_rate(assumed or ratio, C))
    evidence.constant("1 in r(1-r)/(C(1-C))", 1.0, (1 - again[:, 1] / here[:, 1]) / predicted_loss, 1e-3)

    evidence.series(
        "measured", C, again[:, 1] / here[:, 1], axes=("C", f"two-step factor, r = {ratio:g}"), style="points"
    )
    grid = np.linspace(C.min(), C.max(), 100)
    evidence.series(
        "1 - r(1-r)/(C(1-C))",
        grid,
        np.asarray(alignment_rate(ratio, grid)),
        axes=("C", f"two-step factor, r = {ratio:g}"),
    )
