"""The warm-up of Arora, Li and Panigrahi (2022): on a quadratic, both methods become one map, which aligns to v_1."""

import jax
import numpy as np

from eosbench import Claim, Source
from eosbench.dynamics import iterate, ngd_step, sqrt_gd_step, trajectory
from eosbench.problems import Quadratic, alignment_rate, warm_up_step

reduction_ngd = Claim(
    "quadratic/reduction-ngd",
    source=Source("cho-slides", "Warm-up: Quadratic Loss"),
    printed=(
        r"If we set $\tilde{x}_t = \frac{1}{\eta} A x_t$ for Normalized GD, it satisfies the update rule "
        r"$\tilde{x}_t - A \frac{\tilde{x}_t}{\|\tilde{x}_t\|}$."
    ),
    expected="holds",
)

reduction_sqrt = Claim(
    "quadratic/reduction-sqrt",
    source=Source("cho-slides", "Warm-up: Quadratic Loss"),
    printed=(
        r"If we set $\tilde{x}_t = \frac{1}{\eta} (2A)^{1/2} x_t$ for GD on $\sqrt{L}$, it satisfies the update rule "
        r"$\tilde{x}_t - A \frac{\tilde{x}_t}{\|\tilde{x}_t\|}$."
    ),
    expected="holds",
)

aligns = Claim(
    "quadratic/aligns-to-v1",
    source=Source("cho-slides", "Warm-up, Theorem 3.1"),
    printed=(
        r"If $|\langle v_1, \tilde{x}_t \rangle| \neq 0$ for $t \geq 0$, then $\exists C \in (0, 1)$ and "
        r"$\exists s \in \{\pm 1\}$ such that $\lim \tilde{x}_{2t} = C s \lambda_1 v_1$ and "
        r"$\lim \tilde{x}_{2t+1} = -(1 - C) s \lambda_1 v_1$."
    ),
    expected="holds",
    uses=("quadratic/reduction-ngd", "quadratic/reduction-sqrt"),
)


SPECTRA = [
    (2.0, 1.1, 0.4, 0.2),
    (2.0, 2.0, 0.7, 0.0),
]  # the second is only semidefinite, and its top eigenvalue is double


def record_one_step_residuals(evidence, step, spectrum, eta, factor, exponent):
    """Compare every step of a method in ``x̃ = (factor A)^exponent x/eta`` with a step of the map."""
    random = np.random.default_rng(evidence.seed())
    basis = np.linalg.qr(random.normal(size=(len(spectrum), len(spectrum))))[0]
    loss = Quadratic.with_spectrum(spectrum, basis)
    x = np.asarray(trajectory(step(loss, eta), random.normal(size=len(spectrum)), 300))
    transformed = x @ (basis * (factor * np.array(spectrum)) ** exponent @ basis.T) / eta
    mapped = jax.vmap(lambda y: iterate(warm_up_step(loss.hessian), y, 1))(transformed)
    # x is rounded relative to its own size, of which x̃ may be a small part, and the map divides by ‖x̃‖.
    scale = np.abs(x).max() / eta * (1 + spectrum[0] / np.linalg.norm(transformed, axis=1).min())
    evidence.equal("x̃ one step later", transformed[1:], np.asarray(mapped)[:-1], scale=scale)


@reduction_ngd.check(
    spectrum=SPECTRA,
    eta=[1.0, 0.1, 0.01],
    controls={"A^½ instead of A": dict(exponent=0.5), "gradient descent on √L": dict(step=sqrt_gd_step)},
)
def test_normalized_gd_is_the_map(evidence, spectrum, eta, exponent=1.0, step=ngd_step):
    record_one_step_residuals(evidence, step, spectrum, eta, 1, exponent)


@reduction_sqrt.check(
    spectrum=SPECTRA,
    eta=[1.0, 0.1, 0.01],
    controls={"A^½ instead of (2A)^½": dict(factor=1), "normalized gradient descent": dict(step=ngd_step)},
)
def test_gd_on_the_root_is_the_map(evidence, spectrum, eta, factor=2, step=sqrt_gd_step):
    record_one_step_residuals(evidence, step, spectrum, eta, factor, 0.5)


def paths(evidence, spectrum, top=1.0, steps=4000):
    """The map from 100 random starts of lengths e^-2 to e^2, in the eigenbasis: shape (starts, steps + 1, p)."""
    random = np.random.default_rng(evidence.seed())
    starts = random.normal(size=(100, len(spectrum)))
    starts *= np.exp(random.uniform(-2, 2, size=(100, 1))) / np.linalg.norm(starts, axis=1, keepdims=True)
    starts[:, 0] *= top
    return np.asarray(jax.vmap(lambda x: trajectory(warm_up_step(np.diag(spectrum)), x, steps))(starts))


@aligns.check(
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


@aligns.check(ratio=[0.1, 0.3, 0.5, 0.7, 0.9], controls={"the rate of another eigenvalue": dict(assumed=0.2)})
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
