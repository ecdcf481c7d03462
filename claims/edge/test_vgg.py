"""The edge of stability of a convolutional network.

It was first looked at in ten runs from six other seeds, with the setting here (60 patches, 2/eta of 20) and one near it
(72, 24): the sharpness started at 0.15 to 0.30 of 2/eta, crossed it at step 24 to 168, overshot to 1.4 to 4.3 times it,
and from 50 steps later on was 1.01 to 1.21 times it on average, in the second half of these steps at most 6 % above the
first; 21 to 50 % of them raised the loss. Single runs at other settings averaged 1.05 to 1.43 with tanh, the more the
larger the step size, and 1.46 with GELU, which the bound of 1.4 here excludes. Then the bounds were fixed, and the
seeds here run.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

from eosbench import Claim, Sharpness, Source, train
from eosbench.problems import micro_batched, photographs, vgg

from .setting import SETTLED, cifar, critical, recorded

vgg_cifar10 = Claim(
    "edge/vgg-cifar10",
    source=Source("arora-talk", "Edge of Stability (EoS), VGG-16 on CIFAR-10"),
    printed=(
        r"EoS phase: $\lambda_{max}(\nabla^2 L)$ along trajectory increases above $2/\eta$, then levels off. Loss "
        r"oscillates across iterations, with overall downward trend. VGG-16 on CIFAR-10 [; at the small size a VGG of "
        r"11 layers, width 4 and tanh on 60 patches of two photographs]."
    ),
    expected="holds",
    coarse=(
        r"An error of 15 % in $2/\eta$ would pass: between settings the sharpness levels off at 1.01 to 1.21 times "
        r"it, and the bounds leave room for others."
    ),
)


@vgg_cifar10.check(
    replicate=[0, 1, 2],
    controls={
        "so small a step that 2/eta is never reached": dict(threshold=100.0),
        "a start above 2/eta": dict(threshold=3.0),
    },
)
def test_vgg(evidence, replicate, threshold=20.0, steps=280, images=5000, layers=16, width=64, batch=250):
    """At the paper's size with `images` of CIFAR-10, `batch` of them at a time, and ten times the steps."""
    seed = evidence.seed(replicate)
    key = jax.random.key(seed)
    if evidence.scale == "paper":
        if jax.default_backend() == "cpu":
            evidence.out_of_scope("VGG-16 on 5,000 images needs a GPU; install eosbench[cuda] on a machine with one")
        objective, start = vgg(cifar(evidence, images, seed), key, layers=layers, width=width)
        objective, steps = micro_batched(objective, batch), 10 * steps
        threshold = critical(objective, start, threshold, usual=4.6)
    else:
        objective, start = vgg(photographs(60, seed=seed), key, layers=11, width=4, activation=jnp.tanh, gain=1.0)
    probes = {"sharpness": Sharpness(rtol=1e-2)}
    run = recorded(train(objective, start, Partial(optax.sgd, 2 / threshold), steps, probes), threshold)
    evidence.spent(run.products)
    evidence.at_most("sharpness / (2/eta) at the start", run.sharpness[0], 0.85, uncertainty=run.error[0])
    evidence.at_most("step at which the sharpness is certainly above 2/eta", run.crossing, steps - 2 * SETTLED)

    at_edge, doubt = run.sharpness[run.settled], np.mean(run.error[run.settled])
    first, second = (half.mean() for half in np.array_split(at_edge, 2))
    evidence.close("mean sharpness / (2/eta) at the edge", np.mean(at_edge), 1.15, 0.25, uncertainty=doubt)
    evidence.close(
        "its mean over the second half, against the first", second, first, 0.15 * first, uncertainty=2 * doubt
    )
    loss = run.loss[run.settled]
    evidence.at_least("share of the steps at the edge that raise the loss", np.mean(np.diff(loss) > 0), 0.10)
    windows = [window.mean() for window in np.array_split(loss, max(2, len(loss) // SETTLED))]
    evidence.monotone(f"mean loss over {SETTLED} steps", windows)

    axes, label = ("step", "sharpness in units of 2/η"), f"2/η = {threshold:.3g}"
    evidence.series(label, np.arange(steps), run.sharpness, axes=axes, spread=np.where(run.error < 1, run.error, 0))
    evidence.series("2/η", [0, steps], [1, 1], axes=axes, style="reference")
    evidence.series(label, np.arange(steps), run.loss, axes=("step", "training loss"), scale="semilogy")
