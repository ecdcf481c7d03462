"""How far a Ritz value can be below its eigenvalue, and how far it may be."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

FAILURE_PROBABILITY = 1e-6


TRUST = 3
"""The error of a Ritz value is never taken to be below its residual norm divided by this.

The quadratic estimate r^2/gap is only as good as the gap between Ritz values, and while a close pair is not resolved
the gap to the next Ritz value is far too wide: that estimate alone settles on the wrong one in most random starts.
"""


ROUNDING = 10
"""The error of a value that no residual shows, in units of eps norm(H)."""


def rounding(norm: Float[Array, ""], dtype: jnp.dtype) -> Float[Array, ""]:
    """A few eps norm(H): the error of a value that no residual shows."""
    return ROUNDING * float(jnp.finfo(dtype).eps) * norm


def tolerance(values: Float[Array, " k"], rtol: Float[ArrayLike, ""], unseen: Float[Array, ""]) -> Float[Array, " k"]:
    """rtol |value| + rounding: the error up to which a value is accepted, cold, dense and tracked alike."""
    return jnp.asarray(rtol, values.dtype) * jnp.abs(values) + unseen


def ritz_errors(values: Float[Array, " k+"], residuals: Float[Array, " k"]) -> Float[Array, " k"]:
    """Error estimates min(r, max(r^2/gap, r/3)) of the largest Ritz values from their residual norms.

    Args:
        values: Ritz values, descending; gaps are to the neighbours on both sides.
        residuals: of the first k of them.
    """
    return trusted_error(residuals, neighbour_gaps(values, len(residuals)))


def are_simple(
    values: Float[Array, " k+"], residuals: Float[Array, " k"], unseen: Float[Array, ""]
) -> Bool[Array, " k"]:
    """Whether the gaps to both neighbours exceed the residual norm, so that the vector is not a mixture of theirs.

    Args:
        values: descending, the k of interest and, unless there are no more, at least one after them.
        residuals: of the first k.
        unseen: the error of the values that no residual shows, see `rounding`.
    """
    return neighbour_gaps(values, len(residuals)) > residuals + unseen


def neighbour_gaps(values: Float[Array, " k+"], k: int) -> Float[Array, " k"]:
    """The distances of the first k of descending values to their nearest neighbours; beyond both ends there is none."""
    far = jnp.full((1,), jnp.inf, values.dtype)
    steps = jnp.concatenate([far, values[:-1] - values[1:], far])
    return jnp.minimum(steps[:k], steps[1 : k + 1])


def trusted_error(
    residuals: Float[Array, " k"], gaps: Float[Array, " k"], trust: Float[ArrayLike, ""] = TRUST
) -> Float[Array, " k"]:
    """min(r, max(r^2/gap, r/trust)); zero where the residual is."""
    quadratic = jnp.where(residuals > 0, residuals**2 / jnp.maximum(gaps, 0), 0)
    return jnp.where(jnp.isnan(residuals), residuals, jnp.minimum(residuals, jnp.maximum(quadratic, residuals / trust)))


def lanczos_gap(
    p: int, steps: Int[Array, ""] | int, failure: float = FAILURE_PROBABILITY, block: int = 1, guess: bool = False
) -> Float[Array, ""]:
    """The fraction of the spread lambda_max - lambda_min by which the largest Ritz value may be low.

    After `steps` Lanczos steps (a Krylov space of that dimension) from a start uniform on the sphere of R^p, the
    fraction is exceeded with probability at most `failure`: 1.648 sqrt(p) exp(-sqrt(fraction) (2 steps - 1)), the
    bound of Kuczynski and Wozniakowski (SIAM J. Matrix Anal. Appl. 13, 1992, Theorem 4.2), for H - lambda_min, positive
    semi-definite. A block of independent starts fails only where each of them would. A guess of equal norm added to a
    random start of the block at most doubles the probability that the start is nearly orthogonal to an eigenvector.
    """
    exponent = jnp.log((2 if guess else 1) * 1.648 * jnp.sqrt(p)) - jnp.log(failure) / block
    return (exponent / jnp.maximum(2 * jnp.asarray(steps) - 1, 1)) ** 2


def randomized_upper(
    largest: Float[Array, ""],
    smallest: Float[Array, ""],
    p: int,
    steps: Int[Array, ""] | int,
    block: int = 1,
    guess: bool = False,
) -> Float[Array, ""]:
    """An upper bound of the largest eigenvalue from extreme Ritz values of a random start; infinite after few steps.

    The spread itself is known only through the Ritz values, which lie inside the spectrum at both ends; each end gets
    half of the failure probability.
    """
    gap = lanczos_gap(p, steps, FAILURE_PROBABILITY / 2, block, guess).astype(largest.dtype)
    spread = (largest - smallest) / (1 - 2 * gap)
    return jnp.where(gap < 0.5, largest + gap * spread, jnp.inf)
