"""The sharpness at the minimizers of a ReLU neuron."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source
from eosbench.problems import ReluNeuron
from eosbench.proof import Identity, prove_identity

from .setting import teacher


@eqx.filter_jit
def top_eigenvalues(loss, theta):
    return jax.vmap(lambda theta: jnp.linalg.eigvalsh(jax.hessian(loss)(theta))[-1])(theta)


sharpness_formula = Claim(
    "relu/sharpness-formula",
    source=Source("chen-bruna-poster", "III, Flattest minima"),
    printed=(
        r"For any minimizer with $v\tilde{w} = \tilde{w}$ [read $v w = \tilde{w}$], the largest eigenvalue of Hessian "
        r"is $\lambda_1 = \frac{(\|w\| - v)^2 + 2\|\tilde{w}\|}{d} \geq 2 \frac{\|\tilde{w}\|}{d}$. Sharpness at the "
        r"flattest minima is $2 \frac{\|\tilde{w}\|}{d}$. EoS learning rate is $\frac{d}{\|\tilde{w}\|}$."
    ),
    expected="holds",
)


@sharpness_formula.check(
    d=[2, 3, 10, 50],
    norm=[0.2, 1.0, 3.0],
    controls={"v w = 1.2 w̃ is no minimizer": dict(scale=1.2), "v w = -w̃ is none": dict(scale=-1.0)},
)
def test_the_sharpness_at_minimizers(evidence, d, norm, scale=1.0):
    u = teacher(d, norm, evidence.seed())
    v = np.sqrt(norm) * np.array([0.4, 0.7, 1.0, 1.5, 2.0])
    loss, theta = ReluNeuron(u), np.concatenate([v[:, None], scale * u / v[:, None]], axis=1)
    evidence.requires("v w = w̃", scale == 1)
    measured = np.asarray(top_eigenvalues(loss, theta))
    w = np.linalg.norm(theta[:, 1:], axis=1)
    evidence.equal("λ_1", measured, ((w - v) ** 2 + 2 * norm) / d)
    evidence.equal("least of them, at v = |w|", measured.min(), 2 * norm / d)

    order = np.linspace(0.3, 2.2, 60)
    axes = ("v/√‖w̃‖", "d λ_1/‖w̃‖")
    if (d, norm) == (2, 1.0):
        evidence.series("printed", order, (1 / order - order) ** 2 + 2, axes=axes)
        evidence.series("measured", v / np.sqrt(norm), measured * d / norm, axes=axes, style="points")


@sharpness_formula.check(proves=True, controls={"2.04 in place of 2": dict(two="51/25")})
def test_the_spectrum_at_every_minimizer(evidence, two="2"):
    """In every dimension, of d times the Hessian at v w = w̃, where it takes (α, ω) to (|w|² α + v wᵀω, v w α + v² ω).

    So it is, since the kernel φ of the loss has ∇φ = w̃ and no second derivative where w is parallel to w̃: by
    ∇φ = ((π - a) w̃ + |w̃| sin a w/|w|)/π, for the angle a between the two, the terms of first order in a cancel. The
    vectors (|w|², v w) and (v, -w), and (0, z) for z orthogonal to w, span the whole space and are eigenvectors; the
    eigenvalues are |w|² + v², 0 and v². With q = |w| and v > 0, |w̃| = v q.
    """
    first, least, largest = "(|w| - v)² + 2 |w̃|", "at least 2 |w̃|", "the largest"
    statements = (
        ("(|w|², v w), first component", "N*N + v*w.T@(v*w)", "=", "(N + v**2)*N"),
        ("(|w|², v w), the others", "v*w*N + v**2*(v*w)", "=", "(N + v**2)*(v*w)"),
        ("(v, -w), first component", "N*v - v*w.T@w", "=", "0"),
        ("(v, -w), the others", "v*w*v - v**2*w", "=", "0"),
        ("(0, z), first component", "v*w.T@z", "=", "0"),
        (first, "N + v**2", "=", f"(q - v)**2 + {two}*v*q"),
        (least, "N + v**2", ">=", "2*v*q"),
        (largest, "N + v**2", ">", "v**2"),
    )
    identity = Identity(
        statements,
        "v q",
        {"w": ("d", "1"), "z": ("d", "1")},
        {"N": "w.T@w"},
        given=(("w.T@w", "q**2"), ("w.T@z", "0")),
        positive="v q",
        remainder={"(0, z), first component": "v*given2", first: "given1", least: "given1", largest: "given1"},
        excess={least: "(q - v)**2", largest: "q**2"},
    )
    evidence.proved("in every dimension", prove_identity(identity), identity.theorem)
