"""Figure 1 of the review."""

import jax
import numpy as np
import optax
from jax.tree_util import Partial

from eosbench import Claim, Every, Sharpness, Source, train
from eosbench.problems import Dataset, digits, mlp

from .setting import SETTLED, cifar, critical, recorded


def accuracy(objective, params):
    return objective.accuracy(params)


figure_1 = Claim(
    "edge/figure-1",
    source=Source("shapira-review", "Figure 1"),
    printed=(
        r"... we trained an MLP network with two hidden layers of 200 units each and a smooth tanh activation "
        r"function, on a randomly selected subset of 5,000 images from the CIFAR-10 dataset ..., using the mean "
        r"squared error (MSE) loss and full-batch gradient descent. ... we measure the training MSE loss ... and the "
        r"top eigenvector [that is, eigenvalue] of the training loss Hessian ... Training is stopped once the train "
        r"accuracy exceeds 99%. [In the figure the sharpness rises to $2/\eta$ and hovers there while the loss falls. "
        r"At the small size on 500 digits.]"
    ),
    expected="holds",
    coarse=(
        r"An error of 5 % in $2/\eta$ would pass: that far and more the sharpness hovers above it, as edge/hovers "
        r"finds."
    ),
)


@figure_1.check(
    threshold=[7.0, 8.0],
    controls={
        "so small a step that 2/eta is never reached": dict(threshold=30.0, steps=400),
        "a start above 2/eta": dict(threshold=2.0, steps=400),
    },
)
def test_figure_1(evidence, threshold, steps=400, every=2, images=5000, width=200):
    """At the paper's size with `images` of CIFAR-10, fifty times the steps, and the sharpness at every hundredth."""
    seed = evidence.seed()
    if evidence.scale == "paper":
        data = cifar(evidence, images, seed)
        data, steps, every = Dataset(data.inputs.reshape(images, -1), data.targets), 50 * steps, 50 * every
    else:
        data = digits(500, seed=seed)
    objective, start = mlp(data, jax.random.key(seed), width=width)
    if evidence.scale == "paper":
        threshold = critical(objective, start, threshold, usual=4.6)
    probes = {"sharpness": Every(every, Sharpness()), "accuracy": Partial(accuracy, objective)}
    run = train(objective, start, Partial(optax.sgd, 2 / threshold), steps, probes)
    track = recorded(run, threshold)
    loss, sharpness, error = track.loss, track.sharpness, track.error
    evidence.spent(track.products)
    at = np.arange(0, steps, every)
    fitted = np.asarray(run.probes["accuracy"]) > 0.99
    end = int(np.argmax(fitted)) if fitted.any() else steps
    crossing = every * track.crossing
    evidence.requires("the sharpness starts below 0.85 of 2/eta", sharpness[0] <= 0.85)
    evidence.at_most("step of the crossing, against that of 99 % accuracy and 25 more", crossing, end + 25)
    evidence.at_most("step at which the accuracy exceeds 99 %", end, steps - 1)
    evidence.at_least(
        "sharpness at the crossing over that at the start", sharpness[track.crossing - 1] / sharpness[0], 1.1
    )
    settled = at >= min(crossing + SETTLED, steps - 10 * every)
    mean, doubt = np.mean(sharpness[settled]), np.mean(error[settled])
    evidence.close("mean sharpness / (2/eta) at the edge", mean, 1.125, 0.125, uncertainty=doubt)
    evidence.at_most("steps before the crossing that raise the loss", int(np.sum(np.diff(loss[:crossing]) > 0)), 0)
    axes = ("step", "sharpness in units of 2/η")
    label = f"2/η = {threshold:g}"
    evidence.series(label, at, sharpness, axes=axes, spread=error)
    evidence.series("2/η", [0, steps], [1, 1], axes=axes, style="reference")
    evidence.series(label, np.arange(steps), loss, axes=("step", "training loss"), scale="semilogy")
