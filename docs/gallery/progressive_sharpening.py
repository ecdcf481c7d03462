"""Progressive sharpening: until it meets its own 2/eta, gradient descent sharpens as gradient flow does.

In the time eta t the runs lie on one curve, that of the flow, and leave it one after the other, each at its dotted
2/eta; `edge/follows-gradient-flow` measures by how much they differ before.
"""

import jax
import numpy as np
import optax
from jax.tree_util import Partial
from look import panels, write

from eosbench import Every, Sharpness, train
from eosbench.problems import digits, mlp


def figure(steps=900, every=3):
    drawing, panel = panels(("time η t", "sharpness"))
    network, start = mlp(digits(300, label_noise=0.2), jax.random.key(1))
    probes = {"sharpness": Every(every, Sharpness(rtol=1e-3))}
    for threshold in (4.0, 5.0, 7.0, 10.0):
        eta = 2 / threshold
        run = train(network, start, Partial(optax.sgd, eta), steps, probes)
        time = eta * np.arange(0, steps, every)
        (line,) = panel.plot(time, np.asarray(run.probes["sharpness"].values)[:, 0], label=f"2/η = {threshold:g}")
        panel.axhline(threshold, color=line.get_color(), linestyle=":", linewidth=0.9)
    panel.set_xlim(0, steps * 2 / 10)
    return drawing


if __name__ == "__main__":
    write(__file__, figure())
