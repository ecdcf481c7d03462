"""Losses that vanish on a known manifold of minimizers Γ, on which their sharpness varies."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float
from scipy.special import lambertw


def valley(x: Float[Array, "2"]) -> Float[Array, ""]:
    """`½ (1 + y²) z²` at `x = (y, z)`: Γ is the line z = 0, with the one non-zero Hessian eigenvalue 1 + y².

    Gradient flow, its limit and both limiting flows are known in closed form (`valley_limit`,
    `valley_log_sharpness_flow`, `valley_sharpness_flow`).
    """
    y, z = x
    return (1 + y**2) * z**2 / 2


def raised_valley(x: Float[Array, "2"]) -> Float[Array, ""]:
    """`valley` plus 0.1: the same Γ, on which the loss is not zero."""
    return valley(x) + 0.1


def skewed_valley(x: Float[Array, "2"]) -> Float[Array, ""]:
    """`valley` with the cubic term `z³/15`: Γ and its sharpness are the same, but the third derivative across is 0.4.

    Γ is only a local minimizer: the loss vanishes again far from it.
    """
    return valley(x) + x[1] ** 3 / 15


def valley_limit(x: Float[ArrayLike, "... 2"]) -> Float[np.ndarray, "... 2"]:
    """The limit of gradient flow on `valley` from x, exactly: the flow conserves `ln y² + y² - z²`."""
    x = np.asarray(x, float)
    y, z = x[..., 0], x[..., 1]
    return np.stack([np.sign(y) * _root(np.log(y**2) + y**2 - z**2), np.zeros_like(z)], axis=-1)


def valley_log_sharpness_flow(
    y0: Float[ArrayLike, "..."], time: Float[ArrayLike, "..."], coefficient: Float[ArrayLike, "..."]
) -> Float[np.ndarray, "..."]:
    """y(time) on Γ of `valley` from y0 > 0 under `ẏ = -coefficient d/dy log(1 + y²)`.

    Exactly: `ln y² + y²` falls by `4 coefficient time`.
    """
    y0 = np.asarray(y0, float)
    return _root(np.log(y0**2) + y0**2 - 4 * np.asarray(coefficient) * np.asarray(time))


def valley_sharpness_flow(
    y0: Float[ArrayLike, "..."], time: Float[ArrayLike, "..."], coefficient: Float[ArrayLike, "..."]
) -> Float[np.ndarray, "..."]:
    """y(time) on Γ of `valley` from y0 under `ẏ = -coefficient d/dy (1 + y²)`."""
    return np.asarray(y0) * np.exp(-2 * np.asarray(coefficient) * np.asarray(time))


def two_valleys(x: Float[Array, "4"]) -> Float[Array, ""]:
    """`½ ((3 + y_1²) z_1² + (1 + y_2²/2) z_2²)` at `x = (y_1, y_2, z_1, z_2)`: Γ is the plane z = 0.

    Where `z_1 = 0` a gradient method leaves it so, exactly, and never sees the larger eigenvalue 3 + y_1².
    """
    y, z = x[:2], x[2:]
    return ((3 + y[0] ** 2) * z[0] ** 2 + (1 + y[1] ** 2 / 2) * z[1] ** 2) / 2


def curved_valley(x: Float[Array, "4"]) -> Float[Array, ""]:
    """`½ ‖M(y) (z - g(y))‖²` at `x = (y, z)` in R² × R²: Γ is the graph of g, a curved surface in R⁴.

    M turns and stretches along Γ, so both non-zero Hessian eigenvalues (about 7 and 1.4 near y = (0.9, 0.7)) and their
    eigenvectors vary, and no coordinate axis is invariant.
    """
    y, z = x[:2], x[2:]
    stretch = jnp.array([[1.6 + 0.5 * y[0] ** 2, 0.3 * y[1]], [0.2, 0.9 + 0.25 * jnp.sin(y[1]) + 0.15 * y[0]]])
    return jnp.sum((stretch @ (z - _height(y))) ** 2) / 2


def curved_valley_point(y: Float[ArrayLike, "2"]) -> Float[Array, "4"]:
    """The point `(y, g(y))` of Γ of `curved_valley` above the chart coordinates y."""
    y = jnp.asarray(y)
    return jnp.concatenate([y, _height(y)])


def rippled_trough(x: Float[Array, "3"]) -> Float[Array, ""]:
    """`(2 + sin 2y) (4 (e^{z/2} - 1 - z/2) + (cosh(w + z²/4) - 1)/4)` at `x = (y, z, w)`: Γ is the line z = w = 0.

    Along Γ the sharpness 2 + sin 2y rises and falls, and the other non-zero eigenvalue is a quarter of it. Across Γ the
    loss is not quadratic: its third derivative along the top eigenvector is half the sharpness, and z² drives w. Both
    limiting flows are known in closed form (`rippled_trough_log_sharpness_flow`, `rippled_trough_sharpness_flow`).
    """
    y, z, w = x
    across = 4 * (jnp.expm1(z / 2) - z / 2) + jnp.sinh((w + z**2 / 4) / 2) ** 2 / 2
    return (2 + jnp.sin(2 * y)) * across


def rippled_trough_log_sharpness_flow(
    y0: Float[ArrayLike, "..."], time: Float[ArrayLike, "..."], coefficient: Float[ArrayLike, "..."]
) -> Float[np.ndarray, "..."]:
    """y(time) on Γ of `rippled_trough` from y0 under `ẏ = -coefficient d/dy log(2 + sin 2y)`.

    Exactly: with `s = sin 2y`, `(1 + s)/(1 - s)³` decays at the rate `8 coefficient`.
    """
    s = np.sin(2 * np.asarray(y0, float))
    level = (1 + s) / (1 - s) ** 3 * np.exp(-8 * np.asarray(coefficient) * np.asarray(time))
    # The positive root u = 1 - s of level u³ + u = 2.
    u = 2 * np.sinh(np.arcsinh(3 * np.sqrt(3 * level)) / 3) / np.sqrt(3 * level)
    return _on_the_slope_of(y0, 1 - u)


def rippled_trough_sharpness_flow(
    y0: Float[ArrayLike, "..."], time: Float[ArrayLike, "..."], coefficient: Float[ArrayLike, "..."]
) -> Float[np.ndarray, "..."]:
    """y(time) on Γ of `rippled_trough` from y0 under `ẏ = -coefficient d/dy (2 + sin 2y)`.

    Exactly: `artanh(sin 2y)` falls at the rate `4 coefficient`.
    """
    level = np.arctanh(np.sin(2 * np.asarray(y0, float)))
    return _on_the_slope_of(y0, np.tanh(level - 4 * np.asarray(coefficient) * np.asarray(time)))


def _on_the_slope_of(y0: Float[ArrayLike, "..."], s: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """The y with `sin 2y = s` between the same two extremes of the sine as y0."""
    slope = np.round(2 * np.asarray(y0, float) / np.pi)
    return (slope * np.pi + (-1) ** slope * np.arcsin(s)) / 2


def _height(y: Float[Array, "2"]) -> Float[Array, "2"]:
    return jnp.stack([0.3 * y[0] ** 2 - 0.2 * y[1], 0.4 * y[1] * jnp.sin(y[0])])


def _root(level: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """The y >= 0 with `ln y² + y² = level`."""
    return np.sqrt(lambertw(np.exp(level)).real)
