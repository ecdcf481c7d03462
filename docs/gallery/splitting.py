"""Why the sharpness is above: several eigenvalues share the edge, and split.

A network with one output, for even and odd digits. Once the oscillation is built up, the mean of the eigenvalues
with the squared cosines of the gradient as weights is at 2/eta; the sharpness is the upper one. (Running means of
100 steps.) `edge/cluster-mean` has fifteen runs with ten outputs, and `edge/one-mode` what is where nothing splits.
"""

import jax
import numpy as np
import optax
from jax.tree_util import Partial
from look import edge, panels, write

from eosbench import Every, GradientAlignment, Sharpness, train
from eosbench.problems import digits, mlp


def figure(steps=1500, every=5, threshold=18.0, k=3, window=20):
    drawing, panel = panels(("step", "in units of 2/η"))
    data = digits(300, label_noise=0.2)
    parity = (-1.0) ** data.targets.argmax(1, keepdims=True)
    network, start = mlp(data._replace(targets=parity.astype(data.targets.dtype)), jax.random.key(0))
    probes = {"aligned": Every(every, GradientAlignment(Sharpness(k=k, rtol=1e-3)))}
    run = train(network, start, Partial(optax.sgd, 2 / threshold), steps, probes)
    values = np.asarray(run.probes["aligned"].track.values) / threshold
    cosines = np.asarray(run.probes["aligned"].cosines)
    weighed = (values * cosines).sum(1) / cosines.sum(1)

    def draw(curve, color, label=None):
        smooth = np.convolve(curve, np.full(window, 1 / window), "valid")
        panel.plot(every * (np.arange(len(smooth)) + window / 2), smooth, color=color, label=label)

    draw(values[:, 0], "C0", f"the {k} largest eigenvalues")
    for i in range(1, k):
        draw(values[:, i], "C0")
    draw(weighed, "C1", "their mean, as the gradient weighs them")
    edge(panel)
    panel.set_ylim(0.85, 1.15)
    return drawing


if __name__ == "__main__":
    write(__file__, figure())
