"""The spectral density: at the edge it is a bulk at zero, and a few eigenvalues that training has brought to 2/eta."""

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import Partial
from look import panels, write

from eosbench import sharpness, spectral_density, train
from eosbench.problems import digits, mlp


def figure(steps=600, lanczos=60, threshold=7.0):
    drawing, panel = panels(("eigenvalue in units of 2/η", "spectral density"))
    network, start = mlp(digits(300, label_noise=0.2), jax.random.key(0))
    trained = train(network, start, Partial(optax.sgd, 2 / threshold), steps).params
    grid = jnp.linspace(-0.3, 1.35, 600)
    for label, params in (("at the start", start), (f"after {steps} steps", trained)):
        density = spectral_density(network, params, jax.random.key(1), steps=lanczos, samples=3)
        (line,) = panel.semilogy(grid, density.smoothed(grid * threshold, 0.006 * threshold) * threshold, label=label)
        for value in sharpness(network, params, k=3).values / threshold:
            panel.axvline(value, ymax=0.05, color=line.get_color())
    panel.axvline(1, color="0.35", linestyle="--", linewidth=0.9, label="the edge; ticks: the three largest")
    panel.set_ylim(1e-5, 1e2)
    return drawing


if __name__ == "__main__":
    write(__file__, figure())
