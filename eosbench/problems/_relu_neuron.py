"""One ReLU neuron that learns another (Chen and Bruna 2023, III): population loss in closed form.

The student `v σ(wᵀx)` fits the teacher `σ(uᵀx)` on inputs uniform on the unit sphere of R^d. With a the angle
between w and u,

    L(v, w) = [v² |w|² - 2 v φ(w) + |u|²]/(2d),    φ(w) = |w| |u| (sin a + (π - a) cos a)/π,

where φ is the arc-cosine kernel (Cho and Saul 2009). Along `w = |w| u/|u|, v > 0` it is the scalar factorization with
`x = v/√|u|, y = |w|/√|u|` and the step size `eta |u|/d`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class ReluNeuron(eqx.Module):
    """The loss as a function of `θ = (v, w)`, summed over leading axes of θ: a batch is a grid of separate problems.

    Minimizers are `v w = u` with `v > 0`, where the sharpness is `((|w| - v)² + 2|u|)/d`; the edge of the
    flattest is at the step size `d/|u|`.
    """

    teacher: Float[Array, "d"] = eqx.field(converter=jnp.asarray)

    def __call__(self, theta: Float[Array, "... d+1"]) -> Float[Array, ""]:
        v, w, u = theta[..., 0], theta[..., 1:], self.teacher
        squares = v**2 * jnp.sum(w**2, axis=-1) - 2 * v * arc_cosine_kernel(w, u) + u @ u
        return jnp.sum(squares) / (2 * u.size)

    def across(self, theta: Float[Array, "... d+1"]) -> Float[Array, "... d"]:
        """w⊥, the part of w orthogonal to the teacher."""
        w, u = theta[..., 1:], self.teacher
        return w - jnp.multiply.outer(w @ u, u) / (u @ u)


@jax.custom_jvp
def arc_cosine_kernel(w: Float[Array, "... d"], u: Float[Array, "d"]) -> Float[Array, "..."]:
    """`|w| |u| (sin a + (π - a) cos a)/π`, which is 2d times the mean of σ(wᵀx) σ(uᵀx) over the unit sphere.

    Twice differentiable in w off the origin; its gradient is computed without a division by sin a. It is not
    differentiable in u here.
    """
    along, across, angle = _angle(w, u)
    return (across + (jnp.pi - angle) * along) / jnp.pi


@arc_cosine_kernel.defjvp
def _arc_cosine_jvp(primals: tuple, tangents: tuple) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    w, u = primals
    _, across, angle = _angle(w, u)
    squared = jnp.sum(w**2, axis=-1)
    away = across / jnp.where(squared > 0, squared, 1)  # |u| sin a/|w|
    gradient = (jnp.multiply.outer(jnp.pi - angle, u) + away[..., None] * w) / jnp.pi
    return arc_cosine_kernel(w, u), jnp.sum(gradient * tangents[0], axis=-1)


def _angle(
    w: Float[Array, "... d"], u: Float[Array, "d"]
) -> tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]:
    """`|w| |u| cos a, |w| |u| sin a` and a.

    Where w is parallel to u the last two have one-sided derivatives, which cancel in the kernel's gradient; there they
    are taken to be constant.
    """
    along = w @ u
    normal = w - jnp.multiply.outer(along, u) / (u @ u)
    squared = jnp.sum(normal**2, axis=-1)
    aligned = squared == 0
    across = jnp.where(aligned, 0.0, jnp.sqrt(jnp.where(aligned, 1.0, squared)) * jnp.sqrt(u @ u))
    return along, across, jnp.arctan2(across, jnp.where(aligned, jax.lax.stop_gradient(along), along))
