"""The limiting flow: that of normalized gradient descent has the constant 1/4, and not 1/8.

On a curved valley the iterates, taken to the manifold of minimizers, follow -1/4 of the gradient of the logarithm
of the sharpness along it, at the pace eta² per step; `limiting-flow/ngd` has the interval of the 1/4.
"""

import jax
import jax.numpy as jnp
import numpy as np
from look import panels, write

from eosbench.curvature import dense_sharpness
from eosbench.dynamics import limiting_flow, limiting_map, ngd_step, trajectory
from eosbench.problems import curved_valley

jax.config.update("jax_enable_x64", True)


def figure(eta=0.02, time=1.0, points=12):
    drawing, panel = panels(("η² steps", "sharpness on the manifold of minimizers"))
    start = np.array([0.9, 0.7, 1.3, -0.6])
    for coefficient, style in ((1 / 4, "-"), (1 / 8, "--")):
        times = np.linspace(0, time, 30)
        flow = limiting_flow(curved_valley, start, times, coefficient=coefficient, functional=jnp.log)
        panel.plot(
            times,
            [float(dense_sharpness(curved_valley, x)) for x in flow],
            style,
            label=f"limiting flow, {coefficient:g}",
        )
    steps = round(time / eta**2)
    path = trajectory(ngd_step(curved_valley, eta), start, steps, every=max(1, steps // points))
    at = eta**2 * max(1, steps // points) * np.arange(len(path))
    shadows = [limiting_map(curved_valley, x).point for x in path]
    panel.plot(at, [float(dense_sharpness(curved_valley, x)) for x in shadows], "o", label=f"NGD, η = {eta:g}")
    return drawing


if __name__ == "__main__":
    write(__file__, figure())
