"""The whole Hessian as a matrix: the oracle for small problems."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PyTree

from eosbench.curvature._arguments import on_host
from eosbench.curvature._bounds import are_simple, rounding, tolerance
from eosbench.curvature._layout import Layout
from eosbench.curvature._loss import Loss
from eosbench.curvature._point import Product, linearize
from eosbench.curvature._program import compiled
from eosbench.curvature._spectrum import CONVERGED, NOT_FINITE, STARVED, Spectrum
from eosbench.curvature._unit import binary_unit


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
    units = point.layout.units(point.gradient.dtype)
    rows = jax.lax.map(point.product, units)
    return rows @ units.T if point.layout.split else rows


def dense_sharpness(loss: Loss, x: Float[ArrayLike, " p"]) -> Float[Array, ""]:
    """The largest eigenvalue of the whole matrix at a flat x; differentiable to every order where it is simple.

    For a few hundred parameters; beyond that, and where an error is wanted, use `sharpness`.
    """
    return _dense_sharpness(loss, jnp.asarray(x))


@compiled
def _dense_sharpness(loss: Loss, x: Float[Array, " p"]) -> Float[Array, ""]:
    return jnp.linalg.eigvalsh(jax.hessian(loss)(x))[-1]


def dense_spectrum(
    product: Product, p: int, k: int, rtol: float | Array, dtype: jnp.dtype, layout: Layout | None = None
) -> Spectrum:
    """The k largest eigenvalues by a dense eigendecomposition with p products; traceable, for p up to a few hundred.

    In double precision where x64 is on, whatever the dtype of the params. See `lanczos` for `layout`.
    """
    layout = Layout.flat(p, dtype) if layout is None else layout
    units = layout.units(dtype)
    hessian = jax.vmap(product)(units)
    hessian = hessian @ units.T if layout.split else hessian
    unit = binary_unit(hessian)
    hessian = hessian / unit
    wide = np.promote_types(dtype, jax.dtypes.canonicalize_dtype(jnp.float64))
    hessian = (hessian + hessian.T).astype(wide) / 2
    values, vectors = jnp.linalg.eigh(hessian, symmetrize_input=False)
    unseen = rounding(jnp.abs(values).max(), dtype)
    every, values, vectors = values[::-1], values[::-1][:k], vectors.T[::-1][:k]
    residuals = jnp.linalg.norm(vectors @ hessian - values[:, None] * vectors, axis=1)
    simple = are_simple(every, residuals, unseen)
    converged = (residuals <= tolerance(values, rtol, unseen)).all()
    status = jnp.where(jnp.isfinite(residuals).all(), jnp.where(converged, CONVERGED, STARVED), NOT_FINITE)
    vectors = vectors.astype(dtype)
    values, residuals, unseen = values.astype(dtype), residuals.astype(dtype), unseen.astype(dtype)
    spectrum = Spectrum(
        values=values,
        errors=residuals,
        upper=values[0] + residuals[0] + unseen,
        vectors=layout.constrain(vectors @ units) if layout.split else vectors,
        residuals=residuals,
        simple=simple,
        hvps=jnp.asarray(p),
        converged=jnp.asarray(converged),
        status=status,
        layout=layout,
    )
    return spectrum.times(unit)
