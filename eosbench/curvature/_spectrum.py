"""What a solve returns: eigenvalues that come with their errors."""

import equinox as eqx
import jax
from jaxtyping import Array, Bool, Float, Int

from eosbench.curvature._layout import Layout
from eosbench.curvature._shown import as_html, has_numbers, with_errors

_MESSAGES = (
    "converged: every error is within the tolerance.",
    "not converged: max_hvps products were spent before every error met the tolerance.",
    "not finite: the Hessian is nan or infinite at params, where the gradient is finite.",
    "not finite: the gradient is nan or infinite at params, where the loss is finite.",
    "not finite: the loss is nan or infinite at params.",
)
CONVERGED, STARVED, NOT_FINITE, GRADIENT_NOT_FINITE, LOSS_NOT_FINITE = range(5)


class Spectrum(eqx.Module):
    """The k algebraically largest eigenvalues of a Hessian, each with an error, in loss over parameter squared.

    Attributes:
        values: Rayleigh quotients of `vectors` from fresh products, descending, shape (k,). Up to the rounding of a
            product each is a lower bound of the eigenvalue of its rank.
        errors: how far below its eigenvalue each may lie, min(r, max(r^2/gap, r/3)) of its residual norm r, shape (k,);
            see `eosbench.curvature._bounds`. That the eigenvalue is the one of this rank rests on the random start.
        upper: the largest eigenvalue lies below, but for the failure probability of the random start (1e-6), scalar.
            See `eosbench.curvature._bounds`.
        vectors: orthonormal rows, shape (k, p), in the order of `jax.flatten_util.ravel_pytree(params)`; with params or
            data on a mesh of devices in that of `layout`.
        residuals: norms r of H u - value u, shape (k,): some eigenvalue certainly lies that near.
        simple: whether the gaps to the neighbours were seen to exceed r and rounding, so that the value has a
            derivative, shape (k,).
        hvps: Hessian-vector products spent, scalar.
        converged: whether errors <= rtol |value| + a few eps norm(H) for all k, scalar.
        status: an index into the messages, scalar.
        layout: how params lie in `vectors`: `layout.unravel(vectors[0])` is a tree like params.
    """

    values: Float[Array, " k"]
    errors: Float[Array, " k"]
    upper: Float[Array, ""]
    vectors: Float[Array, "k p"]
    residuals: Float[Array, " k"]
    simple: Bool[Array, " k"]
    hvps: Int[Array, ""]
    converged: Bool[Array, ""]
    status: Int[Array, ""]
    layout: Layout = eqx.field(static=True)

    def times(self, unit: Float[Array, ""]) -> "Spectrum":
        """The spectrum of the Hessian times a scalar, as converged as this one."""
        scaled = lambda s: (s.values, s.errors, s.upper, s.residuals)  # noqa: E731
        return eqx.tree_at(scaled, self, tuple(unit * quantity for quantity in scaled(self)))

    @property
    def finite(self) -> Bool[Array, ""]:
        """Whether loss, gradient and Hessian were."""
        return self.status < NOT_FINITE

    @property
    def message(self) -> str:
        """One sentence on how the solve ended."""
        return _MESSAGES[int(self.status)]

    def __repr__(self) -> str:
        """`Spectrum(10.99995 ± 2e-05, 10.977 ± 4e-05; 92 products, converged)`; else the shapes."""
        if not has_numbers(*jax.tree.leaves(self)) or self.values.ndim != 1:
            return eqx.tree_pformat(self)
        ended = self.message.partition(":")[0]
        return f"Spectrum({with_errors(self.values, self.errors)}; {int(self.hvps)} products, {ended})"

    def _repr_html_(self) -> str:
        return as_html(repr(self))


class NotConvergedError(RuntimeError):
    """A solve ended before its errors met the tolerance; `spectrum` holds what it reached."""

    def __init__(self, message: str, spectrum: Spectrum) -> None:
        super().__init__(message)
        self.spectrum = spectrum
