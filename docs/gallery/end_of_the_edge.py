"""The end of the edge: with soft labels gradient descent ends below 2/eta by a law that knows the label alone.

One sample of logit xy whose label is 1 with probability p, from starts beyond the edge; the line is 3v²/(2 - 6v)
with v = p(1 - p), from the derivatives at the minimum; `end-of-edge/soft-labels`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from look import panels, write

jax.config.update("jax_enable_x64", True)


@jax.jit
def end(p, eta, steps):
    """(2/eta - S)/eta in the end, from an excess of 0.05 at the start."""
    v, z = p * (1 - p), jnp.log(p / (1 - p))
    q = jnp.sqrt((2.05 / (eta * v)) ** 2 - 4 * z**2)  # x² - y²
    x = jnp.sqrt((jnp.sqrt(q**2 + 4 * z**2) + q) / 2)

    def step(_, w):
        slope = jax.nn.sigmoid(w[0] * w[1]) - p
        return w - eta * slope * w[::-1]

    x, y = jax.lax.fori_loop(0, steps, step, jnp.stack([x, (z + 1e-3) / x]))
    return (2 / eta - v * (x**2 + y**2)) / eta


def figure(steps=300_000, etas=(0.2, 0.05), labels=13):
    drawing, panel = panels(("p, of the label", "(2/η - S)/η in the end"))
    grid = np.linspace(0.02, 0.98, 200)
    v = grid * (1 - grid)
    panel.plot(grid, 3 * v**2 / (2 - 6 * v), color="0.35", label="3v²/(2 - 6v)")
    p = np.linspace(0.2, 0.8, labels)
    for eta, marker in zip(etas, "ox", strict=False):
        panel.plot(p, jax.vmap(lambda p, eta=eta: end(p, eta, steps))(p), marker, label=f"η = {eta:g}")
    return drawing


if __name__ == "__main__":
    write(__file__, figure())
