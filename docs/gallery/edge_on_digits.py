"""The edge of stability on handwritten digits: the sharpness rises to 2/eta, and hovers just above it.

A tanh network on 300 digits by full-batch gradient descent, at three step sizes; `edge/hovers` has fifteen such
runs.
"""

import jax
import numpy as np
import optax
from jax.tree_util import Partial
from look import edge, panels, write

from eosbench import Every, Sharpness, train
from eosbench.problems import digits, mlp


def figure(steps=700, every=2):
    drawing, curvature, loss = panels(("step", "sharpness in units of 2/η"), ("step", "loss"))
    network, start = mlp(digits(300, label_noise=0.2), jax.random.key(0))
    probes = {"sharpness": Every(every, Sharpness(rtol=1e-3))}
    for threshold in (3.5, 5.0, 7.0):
        run = train(network, start, Partial(optax.sgd, 2 / threshold), steps, probes)
        values = np.asarray(run.probes["sharpness"].values)[:, 0]
        curvature.plot(np.arange(0, steps, every), values / threshold, label=f"2/η = {threshold:g}")
        loss.semilogy(np.asarray(run.loss), label=f"2/η = {threshold:g}")
    edge(curvature)
    return drawing


if __name__ == "__main__":
    write(__file__, figure())
