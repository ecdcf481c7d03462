"""The whole Hessian as a matrix: the oracle for small problems."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from eosbench.curvature.arguments import on_host
from eosbench.curvature.bounds import are_simple
from eosbench.curvature.operator import Loss, Product, linearize
from eosbench.curvature.program import compiled
from eosbench.curvature.spectrum import CONVERGED, NOT_FINITE, STARVED, Spectrum
from eosbench.curvature.unit import binary_unit


def dense_hessian(loss: Loss, params: PyTree[Array]) -> np.ndarray:
    """The Hessian in float64 on the host, shape (p, p), symmetrized; its entries are as exact as the params' dtype.

    Raises:
        TypeError, ValueError: an argument that has no answer, or one that is traced, named in one sentence.
    """
    hessian = on_host("dense_hessian", _matrix(loss, params))
    return (hessian + hessian.T) / 2


@compiled
def _matrix(loss: Loss, params: PyTree[Array]) -> Float[Array, "p p"]:
    point = linearize(loss, params)
    return jax.lax.map(point.product, jnp.eye(point.gradient.size, dtype=point.gradient.dtype))


def dense_spectrum(product: Product, p: int, k: int, rtol: float | Array, dtype: jnp.dtype) -> Spectrum:
    """The k largest eigenvalues by a dense eigendecomposition with p products; traceable, for p up to a few hundred.

    In double precision where x64 is on, whatever the dtype of the params.
    """
    hessian = jax.vmap(product)(jnp.eye(p, dtype=dtype))
    unit = binary_unit(hessian)
    hessian = hessian / unit
    wide = np.promote_types(dtype, jax.dtypes.canonicalize_dtype(jnp.float64))
    hessian = (hessian + hessian.T).astype(wide) / 2
    values, vectors = jnp.linalg.eigh(hessian, symmetrize_input=False)
    norm = jnp.abs(values).max()
    every, values, vectors = values[::-1], values[::-1][:k], vectors.T[::-1][:k]
    rounding = 10 * float(jnp.finfo(dtype).eps) * norm
    residuals = jnp.linalg.norm(vectors @ hessian - values[:, None] * vectors, axis=1)
    simple = are_simple(every, residuals, rounding)
    converged = (residuals <= jnp.asarray(rtol, wide) * jnp.abs(values) + rounding).all()
    status = jnp.where(jnp.isfinite(residuals).all(), jnp.where(converged, CONVERGED, STARVED), NOT_FINITE)
    values, residuals, rounding = values.astype(dtype), residuals.astype(dtype), rounding.astype(dtype)
    upper = values[0] + residuals[0] + rounding
    hvps = jnp.asarray(p)
    spectrum = Spectrum(
        values, residuals, upper, vectors.astype(dtype), residuals, simple, hvps, jnp.asarray(converged), status
    )
    return spectrum.times(unit)
