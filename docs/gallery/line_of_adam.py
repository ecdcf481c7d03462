"""The line of Adam: its own edge is 1 in the units of `EdgeDistance`, and 2/eta tells nothing.

The preconditioned sharpness settles at 38/eta, while the sharpness itself is far below 2/eta; `edge/adam-network`
has ten such runs, and `adaptive/adam` the number 38.
"""

import jax
import numpy as np
import optax
from jax.tree_util import Partial
from look import edge, panels, write

from eosbench import EdgeDistance, Every, Sharpness, train
from eosbench.problems import digits, mlp


def figure(steps=800, every=5, eta=0.003):
    drawing, panel = panels(("step", "curvature over its line"))
    network, start = mlp(digits(300, label_noise=0.2), jax.random.key(0))
    adam = Partial(optax.adam, eta, 0.9)
    probes = {"distance": Every(every, EdgeDistance(adam)), "sharpness": Every(every, Sharpness(rtol=1e-3))}
    run = train(network, start, adam, steps, probes)
    at = np.arange(0, steps, every)
    panel.plot(at, np.asarray(run.probes["distance"].values)[:, 0], label="preconditioned sharpness over 38/η")
    panel.plot(at, np.asarray(run.probes["sharpness"].values)[:, 0] * eta / 2, label="sharpness over 2/η")
    edge(panel)
    panel.set_ylim(0, 1.5)  # before Adam has seen a few gradients it is far beyond
    return drawing


if __name__ == "__main__":
    write(__file__, figure())
