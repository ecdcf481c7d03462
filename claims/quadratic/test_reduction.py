"""On a quadratic both methods become one map."""

import jax
import numpy as np

from eosbench import Claim, Source
from eosbench.dynamics import iterate, ngd_step, sqrt_gd_step, trajectory
from eosbench.problems import Quadratic, warm_up_step
from eosbench.proof import Identity, prove_identity

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


ALGEBRA = dict(
    scalars="eta h rho", matrices=dict.fromkeys("AB", ("d", "d", "symmetric")) | dict.fromkeys("xv", ("d", "1"))
)
"""h is 1/eta, and rho one over the norm of what the gradient is normalized by."""


reduction_ngd = Claim(
    "quadratic/reduction-ngd",
    source=Source("cho-slides", "Warm-up: Quadratic Loss"),
    printed=(
        r"If we set $\tilde{x}_t = \frac{1}{\eta} A x_t$ for Normalized GD, it satisfies the update rule $\tilde{x}_t "
        r"- A \frac{\tilde{x}_t}{\|\tilde{x}_t\|}$."
    ),
    expected="holds",
)


@reduction_ngd.check(proves=True, controls={"a step 2 % larger": dict(step="51/50")})
def test_normalized_gd_is_the_map_in_every_dimension(evidence, step="1"):
    """With rho = 1/‖Ax‖ and x̃ = Ax/eta, 1/‖x̃‖ = eta rho."""
    norm = "1/‖x̃‖"
    statements = (
        ("∇L = Ax", "1/2*(x + v).T@A@(x + v)", "=", "1/2*x.T@A@x + (A@x).T@v + 1/2*v.T@A@v"),
        (norm, "(eta*rho)**2*(y.T@y)", "=", "1"),
        ("x̃ one step later", f"h*A@(x - {step}*eta*rho*A@x)", "=", "y - (eta*rho)*A@y"),
    )
    identity = Identity(
        statements,
        **ALGEBRA,
        where={"y": "h*A@x"},
        given=(("rho**2*(x.T@A@A@x)", "1"), ("h*eta", "1")),
        remainder={norm: "eta**2*h**2*given1 + (h*eta + 1)*given2"},
    )
    evidence.proved("in every dimension", prove_identity(identity), identity.theorem)


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


@reduction_sqrt.check(proves=True, controls={"a step 2 % larger": dict(step="51/50")})
def test_gd_on_the_root_is_the_map_in_every_dimension(evidence, step="1"):
    """With B = (2A)^½ and rho = 1/‖Bx‖, ∇√L = Ax/(2 √L) = rho Ax, and 1/‖x̃‖ = eta rho for x̃ = Bx/eta."""
    root, norm, after = "1/(2 √L) is rho", "1/‖x̃‖", "x̃ one step later"
    statements = (
        ("∇L = Ax", "1/2*(x + v).T@A@(x + v)", "=", "1/2*x.T@A@x + (A@x).T@v + 1/2*v.T@A@v"),
        (root, "4*rho**2*(1/2*x.T@A@x)", "=", "1"),
        (norm, "(eta*rho)**2*(y.T@y)", "=", "1"),
        (after, f"h*B@(x - {step}*eta*rho*A@x)", "=", "y - (eta*rho)*A@y"),
    )
    identity = Identity(
        statements,
        **ALGEBRA,
        where={"y": "h*B@x"},
        given=(("B@B", "2*A"), ("rho**2*(x.T@B@B@x)", "1"), ("h*eta", "1")),
        remainder={
            root: "given2 - rho**2*(x.T@given1@x)",
            norm: "eta**2*h**2*given2 + (h*eta + 1)*given3",
            after: "1/2*h*eta*rho*(B@given1 - given1@B)@x",
        },
    )
    evidence.proved("in every dimension", prove_identity(identity), identity.theorem)


@reduction_sqrt.check(
    spectrum=SPECTRA,
    eta=[1.0, 0.1, 0.01],
    controls={"A^½ instead of (2A)^½": dict(factor=1), "normalized gradient descent": dict(step=ngd_step)},
)
def test_gd_on_the_root_is_the_map(evidence, spectrum, eta, factor=2, step=sqrt_gd_step):
    record_one_step_residuals(evidence, step, spectrum, eta, factor, 0.5)
