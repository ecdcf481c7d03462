"""The sharpness at the minimizers of a ReLU neuron."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source
from eosbench.problems import ReluNeuron

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
