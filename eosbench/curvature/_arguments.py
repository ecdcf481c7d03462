"""Arguments that several functions take, each refused with one sentence that names it, its value and a remedy."""

import operator
from typing import Any

import jax
import numpy as np
from jaxtyping import Array


def as_integer(name: str, number: Any, at_least: int | None = 1) -> int:
    """An integer of any type as Python's, so that it is a constant of what is compiled.

    Raises:
        TypeError: it is not an integer.
        ValueError: it is too small.
    """
    try:
        integer = operator.index(number)
    except TypeError:
        kind = type(number).__name__
        raise TypeError(f"{name} is {number!r}, a {kind}: it must be an integer, so pass an int.") from None
    if at_least is not None and integer < at_least:
        raise ValueError(f"{name} is {integer}: it must be at least {at_least}.")
    return integer


def as_traceable_integer(name: str, number: Any, at_least: int | None = 1) -> Any:
    """The same, for an argument that may also be traced; then nobody can check it."""
    return number if isinstance(number, jax.core.Tracer) else as_integer(name, number, at_least)


def as_tolerance(name: str, number: Any) -> Any:
    """A relative tolerance, as it is; unchecked if it is traced.

    Raises:
        ValueError: it is not a number between 0 and 1.
    """
    if isinstance(number, jax.core.Tracer):
        return number
    try:
        inside = bool(0 < number < 1)
    except (TypeError, ValueError):
        inside = False
    if not inside:
        raise ValueError(f"{name} is {number}: it must be a number between 0 and 1, such as 1e-3.")
    return number


def on_host(function: str, array: Array) -> np.ndarray:
    """What was computed on a device, in float64 on the host.

    Raises:
        TypeError: it is traced, since `function` was called inside a function that is transformed.
    """
    if isinstance(array, jax.core.Tracer):
        raise TypeError(
            f"{function} computes on the host: call it with arrays, outside of what jax.jit, jax.vmap or jax.grad "
            "transform."
        )
    return np.asarray(array, np.float64)
