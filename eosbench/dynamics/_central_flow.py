"""The velocity of a flow that is to follow gradient descent's mean while its sharpness stays at most 2/eta.

The central flow of Cohen and others (2025) in one unstable direction, in our words: an oscillation of variance σ² along
the top eigenvector adds ½σ²∇S to the mean gradient, and σ² is the least that keeps the sharpness S from exceeding
2/eta. Where there is none, that is what is answered, and no number.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float

from eosbench.curvature._dense import dense_hessian
from eosbench.curvature._derivatives import sharpness_gradient
from eosbench.curvature._program import compiled
from eosbench.dynamics._maps import Loss

CentralStatus = Literal["stable", "held", "infeasible"]


class CentralVelocity(NamedTuple):
    """What a sharpness-constrained flow does at a point.

    Attributes:
        status: "stable" below the edge, where it is gradient flow; "held" at the edge; "infeasible" where no variance
            meets the constraint.
        velocity: dw/dt, shape (p,), a step of gradient descent taking the time eta; None where it is infeasible.
        variance: σ²; None where it is infeasible.
        sharpness: S.
        reason: why it is infeasible; "" where it is not.
    """

    status: CentralStatus
    velocity: Float[np.ndarray, "p"] | None
    variance: float | None
    sharpness: float
    reason: str = ""


def central_velocity(loss: Loss, w: Float[ArrayLike, "p"], eta: float, rtol: float = 1e-9) -> CentralVelocity:
    """The velocity at w of the flow that keeps the sharpness at most 2/eta, or why it has none.

    `dw/dt = -∇L - ½σ²∇S` with the least `σ² >= 0` for which dS/dt <= 0, where S = 2/eta to within `rtol`. The Hessian
    is formed; one direction may be unstable.
    """
    w = jnp.asarray(w, float)
    values, vectors = np.linalg.eigh(dense_hessian(loss, w))
    edge, largest = 2 / eta, float(values[-1])
    slope = np.asarray(_gradient(loss, w))
    if largest > edge * (1 + rtol):
        steep = np.asarray(sharpness_gradient(loss, w, jnp.asarray(vectors[:, -1])))
        flat = np.linalg.norm(steep) <= rtol * largest
        why = ", and its gradient vanishes: no variance lowers it" if flat else ": the flow does not lead here"
        return CentralVelocity("infeasible", None, None, largest, f"the sharpness exceeds 2/eta{why}")
    if largest < edge * (1 - rtol):
        return CentralVelocity("stable", -slope, 0.0, largest)
    if values.size > 1 and values[-2] > edge * (1 - rtol):
        return CentralVelocity("infeasible", None, None, largest, "two eigenvalues are at 2/eta, and one is known here")
    steep = np.asarray(sharpness_gradient(loss, w, jnp.asarray(vectors[:, -1])))
    rises, square = -float(steep @ slope), float(steep @ steep)
    if rises <= 0:
        return CentralVelocity("held", -slope, 0.0, largest)
    if square <= (rtol * largest) ** 2:
        return CentralVelocity("infeasible", None, None, largest, "the gradient of the sharpness vanishes")
    variance = 2 * rises / square
    return CentralVelocity("held", -slope - variance / 2 * steep, variance, largest)


@compiled
def _gradient(loss: Loss, w: Float[ArrayLike, "p"]) -> Float[ArrayLike, "p"]:
    return jax.grad(loss)(w)
