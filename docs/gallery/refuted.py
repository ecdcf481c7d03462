"""A refuted claim: the cycle of self-stabilization "ensures that the trajectory of gradient descent remains stable".

Each step of the predicted dynamics raises the potential whose level sets are the cycles, so that they grow until
the iterates leave; `stabilization/stays-bounded`.
"""

import jax
import numpy as np
from look import panels, write

from eosbench.dynamics import potential, predicted_step, trajectory

jax.config.update("jax_enable_x64", True)


def figure(steps=2600, eta=1.0, alpha=0.002, beta=1.0):
    drawing, size, height = panels(("step", "|x|/√(2α/β)"), ("step", "potential"))
    rest = np.sqrt(2 * alpha / beta)
    states = np.asarray(trajectory(predicted_step(eta, alpha, beta), np.array([0.7 * rest, 0.0]), steps))
    size.semilogy(np.abs(states[:, 0]) / rest, linewidth=0.7)
    size.set_ylim(1e-7, 1e3)
    height.semilogy(np.asarray(potential(states, alpha, beta)))
    height.set_ylim(1e-1, 1e3)
    return drawing


if __name__ == "__main__":
    write(__file__, figure())
