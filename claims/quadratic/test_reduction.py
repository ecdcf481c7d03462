"""On a quadratic both methods become one map."""

import jax
import numpy as np

from eosbench import Claim, Source
from eosbench.dynamics import iterate, ngd_step, sqrt_gd_step, trajectory
from eosbench.problems import Quadratic, warm_up_step

SPECTRA = [
    (2.0, 1.1, 0.4, 0.2),
    (2.0, 2.0, 0.7, 0.0),
]  # the second is only semidefinite, and its top eigenvalue is double


def record_one_step_residuals(evidence, step, spectrum, eta, factor, exponent):
    """Compare every step of a method in `x̃ = (factor A)^exponent x/eta` with a step of the map."""
    random = np.random.default_rng(evidence.seed())
    basis = np.linalg.qr(random.normal(size=(len(spectrum), len(spectrum))))[0]
    loss = Quadratic.with_spectrum(spectrum, basis)
    x = np.asarray(trajectory(step(loss, eta), random.normal(size=len(spectrum)), 300))
    transformed = x @ (basis * (factor * np.array(spectrum)) ** exponent @ basis.T) / eta
    mapped = jax.vmap(lambda y: iterate(warm_up_step(loss.hessian), y, 1))(transformed)
    # x is rounded relative to its own size, of which x̃ may be a small part, and the map divides by ‖x̃‖.
    scale = np.abs(x).max() / eta * (1 + spectrum[0] / np.linalg.norm(transformed, axis=1).min())
    evidence.equal("x̃ one step later", transformed[1:], np.asarray(mapped)[:-1], scale=scale)


reduction_ngd = Claim(
    "quadratic/reduction-ngd",
    source=Source("cho-slides", "Warm-up: Quadratic Loss"),
    printed=(
        r"If we set $\tilde{x}_t = \frac{1}{\eta} A x_t$ for Normalized GD, it satisfies the update rule $\tilde{x}_t "
        r"- A \frac{\tilde{x}_t}{\|\tilde{x}_t\|}$."
    ),
    expected="holds",
)


@reduction_ngd.check(
    spectrum=SPECTRA,
    eta=[1.0, 0.1, 0.01],
    controls={"A^½ instead of A": dict(exponent=0.5), "gradient descent on √L": dict(step=sqrt_gd_step)},
)
def test_normalized_gd_is_the_map(evidence, spectrum, eta, exponent=1.0, step=ngd_step):
    record_one_step_residuals(evidence, step, spectrum, eta, 1, exponent)


reduction_sqrt = Claim(
    "quadratic/reduction-sqrt",
    source=Source("cho-slides", "Warm-up: Quadratic Loss"),
    printed=(
        r"If we set $\tilde{x}_t = \frac{1}{\eta} (2A)^{1/2} x_t$ for GD on $\sqrt{L}$, it satisfies the update rule "
        r"$\tilde{x}_t - A \frac{\tilde{x}_t}{\|\tilde{x}_t\|}$."
    ),
    expected="holds",
)


@reduction_sqrt.check(
    spectrum=SPECTRA,
    eta=[1.0, 0.1, 0.01],
    controls={"A^½ instead of (2A)^½": dict(factor=1), "normalized gradient descent": dict(step=ngd_step)},
)
def test_gd_on_the_root_is_the_map(evidence, spectrum, eta, factor=2, step=sqrt_gd_step):
    record_one_step_residuals(evidence, step, spectrum, eta, factor, 0.5)
