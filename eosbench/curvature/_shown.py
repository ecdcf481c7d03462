"""Measured numbers as a reader wants them: each value with its error, and a few words on the rest."""

import html
from typing import Any

import jax
import numpy as np

MOST = 6
"""As many values are shown."""


def has_numbers(*arrays: Any) -> bool:
    """Whether there are numbers to show: not within compiled code, nor of mere shapes."""
    return all(isinstance(array, jax.Array | np.ndarray) and not isinstance(array, jax.core.Tracer) for array in arrays)


def with_errors(values: Any, errors: Any) -> str:
    """`10.99995 ± 2.1e-05, 10.977 ± 4e-05`: digits of a value as far as its error leaves them."""
    shown = [_with_error(float(v), float(e)) for v, e in zip(values[:MOST], errors[:MOST], strict=True)]
    return ", ".join(shown + ([f"and {len(values) - MOST} more"] if len(values) > MOST else []))


def _with_error(value: float, error: float) -> str:
    if not (np.isfinite(value) and np.isfinite(error)):
        return f"{value:g} ± {error:.1g}"
    smallest = max(error, 1e-7 * abs(value), 1e-300)
    digits = 1 if value == 0 else int(np.clip(np.floor(np.log10(abs(value))) - np.floor(np.log10(smallest)) + 1, 1, 8))
    return f"{value:.{digits}g} ± {error:.1g}"


def as_html(text: str) -> str:
    """For a notebook's cell."""
    return f"<pre>{html.escape(text)}</pre>"
