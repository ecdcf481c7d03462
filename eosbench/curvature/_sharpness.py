"""Sharpness: the algebraically largest eigenvalue of a loss's Hessian, with an error."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from eosbench.curvature._arguments import as_integer, as_tolerance, as_traceable_integer
from eosbench.curvature._dense import dense_spectrum
from eosbench.curvature._lanczos import MAX_HVPS, dense_limit, lanczos
from eosbench.curvature._loss import Loss, check_params, with_args
from eosbench.curvature._perturbation import moving
from eosbench.curvature._point import linearize
from eosbench.curvature._program import compiled
from eosbench.curvature._spectrum import CONVERGED, GRADIENT_NOT_FINITE, LOSS_NOT_FINITE, NotConvergedError, Spectrum


def sharpness(
    loss: Loss,
    params: PyTree[Array],
    *misplaced: Any,
    args: tuple = (),
    k: int = 1,
    rtol: float = 1e-3,
    max_hvps: int = MAX_HVPS,
    throw: bool = True,
    key: PRNGKeyArray | None = None,
) -> Spectrum:
    """The k algebraically largest eigenvalues of the Hessian of `loss` at `params`, each with an error.

    Data go in `args`: `sharpness(loss, params, args=(x, y))` for a `loss(params, x, y)`. All else is given by name.

    Compiled once for what the loss computes, the shapes of `params`, and k. The loss is read anew in each call (see
    `eosbench.curvature._program`), so it may be any function, and what it holds or closes over may change in between.

    `values` have a first derivative, in both modes, with respect to `params` and whatever else `loss` depends on. It is
    u·(dH)u, nan where `simple` is false, and off by about 2 |dH| residual/gap: lower `rtol` where that is too much. Of
    a multiple eigenvalue the sum over its cluster has a derivative, that of
    jnp.sum(u * linearize(loss, params).products(u)) with the vectors u held fixed; beyond 256 parameters one is
    noticed from k = 2 on. Nothing else has a derivative.

    Args:
        loss: a map from a pytree, and `args`, to a real scalar.
        params: any pytree of real arrays, p entries in all. Those in half precision are measured at float32 copies,
            which a warning tells.
        args: what `loss` takes after `params`, such as data.
        k: how many eigenvalues, at most p. Blocks of k vectors are iterated, so a k-fold eigenvalue is found k times.
        rtol: errors up to rtol |value| + a few eps norm(H) are accepted, between 0 and 1.
        max_hvps: largest number of Hessian-vector products, by default 2000 (up to 256 parameters take the dense path
            with p of them).
        throw: whether a solve that did not converge raises; otherwise it is the caller who looks at `converged`.
        key: for the random start; a fixed one by default, so that the same call gives the same value.

    Returns:
        A `Spectrum`; values in units of loss over parameter squared, to be compared with 2/eta.

    Raises:
        TypeError, ValueError: an argument that has no answer, named in one sentence.
        NotConvergedError: see `throw`; carries the spectrum that was reached.
        RuntimeError: a second derivative, or one in reverse mode of anything but `values`; in forward mode it is nan.
    """
    if misplaced:
        raise TypeError("sharpness takes loss and params, and all else by name: data as args=(x, y), or k as k=2.")
    loss = with_args(loss, args)
    check_params(params)
    p = sum(leaf.size for leaf in jax.tree.leaves(params))
    k = as_integer("k", k, at_least=None)
    if not 1 <= k <= p:
        raise ValueError(f"k is {k}, but params has {p} entries: k must lie between 1 and {p}.")
    rtol = as_tolerance("rtol", rtol)
    max_hvps = as_traceable_integer("max_hvps", max_hvps)
    key = jax.random.key(0) if key is None else key
    spectrum = _solve(loss, params, k, jnp.asarray(rtol), jnp.asarray(max_hvps), key)
    if throw and not isinstance(spectrum.converged, jax.core.Tracer) and not spectrum.converged:
        raise NotConvergedError(f"sharpness {spectrum.message} {_remedy(spectrum)}", spectrum)
    return spectrum


def _remedy(spectrum: Spectrum) -> str:
    if not spectrum.finite:
        return (
            "Look there for an overflow, a division by zero, or a root, logarithm or norm of zero, whose derivatives "
            "are infinite; or take other params."
        )
    reached = f"Largest error {float(spectrum.errors.max()):.2g} after {int(spectrum.hvps)} products"
    remedy = "raise max_hvps (or rtol, where the loss computes in half precision), or look at it with throw=False"
    return f"{reached}; {remedy}."


@compiled
def _solve(
    loss: Loss,
    params: PyTree[Array],
    k: int,
    rtol: Float[Array, ""],
    max_hvps: Int[Array, ""],
    key: PRNGKeyArray,
) -> Spectrum:
    """The compiled part."""
    point = linearize(loss, params)
    layout, p, dtype = point.layout, point.layout.p, point.gradient.dtype
    product, gradient, rtol = jax.lax.stop_gradient((point.product, point.gradient, rtol.astype(dtype)))
    if p <= dense_limit(k):
        spectrum = dense_spectrum(product, p, k, rtol, dtype, layout)
    else:
        spectrum = lanczos(product, p, k, rtol, max_hvps.astype(int), key, dtype, guess=gradient, layout=layout)
    # A formula can have a finite second derivative where it has no value: x log x at -1.
    status = jnp.where(jnp.isfinite(point.gradient).all(), spectrum.status, GRADIENT_NOT_FINITE)
    status = jnp.where(jnp.isfinite(point.loss), status, LOSS_NOT_FINITE)
    converged = spectrum.converged & (status == CONVERGED)
    spectrum = eqx.tree_at(lambda s: (s.converged, s.status), spectrum, (converged, status))
    return moving(spectrum, point.product, spectrum.vectors, spectrum.simple)
