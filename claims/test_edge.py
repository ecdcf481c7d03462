"""Progressive sharpening and the edge of stability, on real images.

A tanh network is trained on 300 handwritten digits by full-batch gradient descent, and its sharpness is measured at
every step: five runs at each of three step sizes. The first three statements read the same fifteen trajectories, and
each is decided by the fraction of runs that meet all of its criteria. All bounds were fixed before these seeds were
run, on others: after a first fifteen with 500 digits the required fraction was lowered from 0.7 to 0.6, the bound on
the loss at the edge raised from two to four times that at the crossing, and the number of digits cut to 300.

The convolutional network was first looked at in ten runs from six other seeds, with the setting here (60 patches, 2/eta
of 20) and one near it (72, 24): the sharpness started at 0.15 to 0.30 of 2/eta, crossed it at step 24 to 168, overshot
to 1.4 to 4.3 times it, and from 50 steps later on was 1.01 to 1.21 times it on average, in the second half of these
steps at most 6 % above the first; 21 to 50 % of them raised the loss. Single runs at other settings averaged 1.05 to
1.43 with tanh, the more the larger the step size, and 1.46 with GELU, which the bound of 1.4 here excludes. Then the
bounds were fixed, and the seeds here run.

Two claims have the size of the paper besides (`--claims-scale paper`). There 2/eta has the proportion to the sharpness
at the start that it has at the small size, and the bounds are the same; no run has yet shown that they hold there.
"""

from functools import cache
from typing import NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

from eosbench import Claim, Sharpness, Source, sharpness, train
from eosbench.curvature import solve
from eosbench.dynamics import gd_step, gradient_flow, trajectory
from eosbench.problems import (
    DataError,
    Dataset,
    cifar10,
    cross_entropy,
    digits,
    flattened,
    half_squared_error,
    micro_batched,
    mlp,
    photographs,
    vgg,
)

STEPS = 800
SETTLED = 50  # steps after the crossing that belong to neither phase
BLOCK = 100  # steps: a long timescale
THRESHOLDS = (3.5, 5.0, 7.0)  # values of 2/eta
RUNS = 5
RTOL = 1e-3  # of the sharpness
DIVERGED = 1e30  # stands for every larger loss
MOST = 0.6  # what 13 of 15 runs show with 95 % confidence
FRESH = 100  # their first replicate
NETWORKS = {
    "tanh": dict(activation=jnp.tanh),
    "relu": dict(activation=jax.nn.relu, gain=0.65),
    "linear": dict(depth=0),
}
LOSSES = {"squared error": half_squared_error, "cross-entropy": cross_entropy}


class Trajectory(NamedTuple):
    """Loss and sharpness at every step, the sharpness and its error in units of 2/eta.

    Where it is said so, the sharpness is known at some of the steps only.
    """

    loss: np.ndarray
    sharpness: np.ndarray
    error: np.ndarray
    start: float  # the sharpness before the first step, from a solve of its own if there was one
    products: int  # Hessian-vector products

    @property
    def crossing(self) -> int:
        """The first measurement in which the sharpness is certainly above 2/eta; their number if there is none."""
        above = self.sharpness - self.error >= 1
        return int(np.argmax(above)) if above.any() else len(above)

    @property
    def settled(self) -> slice:
        """The steps at the edge; the last one alone if there are none."""
        return slice(min(self.crossing + SETTLED, len(self.loss) - 2), None)


@cache
def trained(
    seed: int, threshold: float, network: str = "tanh", loss: str = "squared error", steps: int = STEPS, every: int = 1
) -> Trajectory:
    """A run with step size 2/threshold, that is with `threshold` as the critical sharpness, measured `every` steps."""
    data = digits(300, label_noise=0.2, seed=seed)
    objective, start = mlp(data, jax.random.key(seed), per_sample=LOSSES[loss], **NETWORKS[network])
    cold = sharpness(objective, start, rtol=RTOL)
    probes = {"sharpness": Sharpness(k=1, rtol=RTOL, every=every)}
    run = train(objective, start, Partial(optax.sgd, 2 / threshold), steps, probes)
    return recorded(run, threshold, cold)


def counted(evidence, *args, **options) -> Trajectory:
    """A run of `trained`, its products counted in the case that makes it: the next one finds it in the cache."""
    before = trained.cache_info().misses
    run = trained(*args, **options)
    if trained.cache_info().misses > before:
        evidence.spent(run.products)
    return run


def recorded(run, threshold, cold=None) -> Trajectory:
    """What a run measured, and the cold solve at its start, in units of the critical sharpness."""
    track = run.probes["sharpness"]
    values, errors = (np.asarray(array, float)[:, 0] / threshold for array in (track.values, track.errors))
    loss_values = np.asarray(run.loss, float)
    known = np.asarray(track.converged) & np.isfinite(values)
    return Trajectory(
        np.where(loss_values < DIVERGED, loss_values, DIVERGED),
        np.where(known, values, 0),
        np.where(known, errors, np.inf),
        values[0] if cold is None else float(cold.values[0]) / threshold,
        int(track.hvps.sum()) + (0 if cold is None else int(cold.hvps)),
    )


def fifteen(evidence, thresholds, runs, network="tanh", loss="squared error"):
    """The trajectories of an experiment, `runs` for each step size, each from its own seed."""
    return [
        counted(evidence, evidence.seed(FRESH + runs * i + replicate), threshold, network, loss)
        for i, threshold in enumerate(thresholds)
        for replicate in range(runs)
    ]


def share_of_runs(evidence, runs, criteria) -> None:
    """The fraction of runs that meet every one of the criteria, a mapping from a name to one truth value per run."""
    met = np.array(list(criteria.values()), bool)
    failed = ", ".join(
        f"{int(np.sum(~row))} not: {name}" for name, row in zip(criteria, met, strict=True) if not row.all()
    )
    name = "runs that meet all criteria" + (f" ({failed})" if failed else "")
    evidence.fraction(name, int(met.all(0).sum()), len(runs), at_least=MOST)


def draw(evidence, runs, thresholds) -> None:
    """One run for each step size."""
    steps, axes = np.arange(STEPS), ("step", "sharpness in units of 2/η")
    for threshold, run in zip(thresholds, runs[:: len(runs) // len(thresholds)], strict=True):
        shown = np.where(run.error < 1, run.error, 0)
        evidence.series(f"2/η = {threshold:g}", steps, run.sharpness, axes=axes, spread=shown)
        evidence.series(f"2/η = {threshold:g}", steps, run.loss, axes=("step", "training loss"), scale="semilogy")
    evidence.series("2/η", [0, STEPS], [1, 1], axes=axes, style="reference")


sharpening = Claim(
    "edge/progressive-sharpening",
    source=Source("shapira-review", "Section 3, Progressive Sharpening"),
    printed=r"Initially, the training loss mostly decreases monotonically and $S(\theta_t)$ consistently increases "
    r"along the training trajectory. This phase continues until the sharpness reaches the critical threshold of "
    r"$2/\eta$.",
    expected="holds",
    experiment="edge/tanh-network-on-digits",
)


@sharpening.check(
    thresholds=THRESHOLDS,
    controls={
        "so small a step that 2/eta is never reached": dict(thresholds=(40.0,), runs=4),
        "a ReLU network": dict(network="relu", thresholds=(11.0,), runs=4),
        "a start above 2/eta": dict(thresholds=(1.8,), runs=4),
    },
)
def test_sharpness_rises_to_the_threshold(evidence, thresholds, runs=RUNS, network="tanh"):
    trajectories = fifteen(evidence, thresholds, runs, network=network)
    tracked, cold = (
        np.array(values) for values in zip(*((run.sharpness[0], run.start) for run in trajectories), strict=True)
    )
    evidence.close("tracked sharpness at the start against a cold solve", tracked, cold, 2 * RTOL * cold)

    def sharpens(run):
        return np.mean(np.diff(run.sharpness[: run.crossing][10:]) > 0) if run.crossing > 12 else 0.0

    criteria = {
        "the sharpness starts below 0.85 of 2/eta": [run.sharpness[0] <= 0.85 for run in trajectories],
        "it certainly reaches 2/eta": [run.crossing < STEPS for run in trajectories],
        "it rises in 97 % of the steps from the tenth to there": [sharpens(run) >= 0.97 for run in trajectories],
        "no step before it raises the loss": [np.all(np.diff(run.loss[: run.crossing]) <= 0) for run in trajectories],
    }
    share_of_runs(evidence, trajectories, criteria)
    draw(evidence, trajectories, thresholds)


hovers = Claim(
    "edge/hovers",
    source=Source("shapira-review", "Abstract, and Section 3, Edge of Stability"),
    printed=r"[Abstract:] oscillations of the top eigenvalue around this critical value [$2/\eta$]. [Section 3:] the "
    r"sharpness stably hovers around $2/\eta$.",
    corrected=r"After the crossing the sharpness hovers just above $2/\eta$: it stays within a factor of 2, deviates "
    r"by less than 15 %, and lies above $2/\eta$ in at least 85 % of the steps, on average by less than 25 %.",
    expected="corrected",
    uses=("edge/progressive-sharpening",),
    experiment="edge/tanh-network-on-digits",
)


@hovers.check(
    thresholds=THRESHOLDS,
    controls={
        "cross-entropy": dict(loss="cross-entropy", thresholds=(2.0,), runs=4),
        "half the sharpness measured": dict(measured=0.5, thresholds=(5.0,), runs=4),
        "a linear model just above its threshold": dict(network="linear", thresholds=(7.0,), runs=4),
    },
)
def test_sharpness_stays_just_above_the_threshold(
    evidence, thresholds, runs=RUNS, network="tanh", loss="squared error", measured=1.0
):
    trajectories = [
        run._replace(sharpness=measured * run.sharpness, error=measured * run.error)
        for run in fifteen(evidence, thresholds, runs, network=network, loss=loss)
    ]
    edges = [(run.sharpness[run.settled], run.error[run.settled], run) for run in trajectories]
    criteria = {
        "the sharpness reaches 2/eta": [run.crossing < STEPS - 2 * SETTLED for run in trajectories],
        "its mean is certainly above 2/eta": [np.mean(at) - np.mean(err) >= 1 for at, err, _ in edges],
        "its mean is certainly below 1.25 of 2/eta": [np.mean(at) + np.mean(err) <= 1.25 for at, err, _ in edges],
        "its standard deviation is below 0.15": [np.std(at) <= 0.15 for at, err, _ in edges],
        "it stays below twice 2/eta": [np.all(at + err <= 2) for at, err, _ in edges],
        "it is certainly above 2/eta in 85 % of the steps": [np.mean(at - err > 1) >= 0.85 for at, err, _ in edges],
        "the loss stays below four times that at the crossing": [
            np.all(run.loss[run.settled] <= 4 * run.loss[min(run.crossing, STEPS - 1)]) for run in trajectories
        ],
    }
    share_of_runs(evidence, trajectories, criteria)
    for i, threshold in enumerate(thresholds):
        chosen = edges[i * runs : (i + 1) * runs]
        means, spread = [np.mean(at) for at, _, _ in chosen], [np.std(at) for at, _, _ in chosen]
        if np.all(np.isfinite(means)):
            axes = ("2/η", "sharpness at the edge in units of 2/η")
            label = f"mean and standard deviation, 2/η = {threshold:g}"
            evidence.series(label, np.full(runs, threshold), means, axes=axes, style="points", spread=spread)
    draw(evidence, trajectories, thresholds)


@hovers.counterexample(threshold=5.0)
def test_the_oscillation_is_not_around_the_threshold(evidence, threshold):
    """An oscillation around 2/eta is below it now and then: in more than a tenth of the steps."""
    run = counted(evidence, evidence.seed(), threshold)
    evidence.requires("the sharpness reaches 2/eta", run.crossing < STEPS - 2 * SETTLED)
    above = run.sharpness[run.settled] - run.error[run.settled] > 1
    blocks = [block.mean() for block in np.array_split(above, len(above) // BLOCK)]
    uncertainty = 3 * np.std(blocks, ddof=1) / np.sqrt(len(blocks))
    evidence.at_most("share of steps above 2/eta", np.mean(above), 0.9, uncertainty=uncertainty)


non_monotone = Claim(
    "edge/non-monotone-loss",
    source=Source("shapira-review", "Section 3, Edge of Stability"),
    printed=r"In this phase the training loss exhibits a non-monotonic yet gradually decreasing behavior over long "
    r"timescales.",
    expected="holds",
    uses=("edge/progressive-sharpening",),
    experiment="edge/tanh-network-on-digits",
)


@non_monotone.check(
    thresholds=THRESHOLDS,
    controls={
        "so small a step that 2/eta is never reached": dict(thresholds=(40.0,), runs=4),
        "a linear model just above its threshold": dict(network="linear", thresholds=(7.0,), runs=4),
    },
)
def test_loss_rises_often_and_falls_over_long_windows(evidence, thresholds, runs=RUNS, network="tanh"):
    trajectories = fifteen(evidence, thresholds, runs, network=network)

    def windows_fall(run):
        at_edge = run.loss[run.settled]
        whole = len(at_edge) // BLOCK * BLOCK
        return whole >= 2 * BLOCK and np.all(np.diff(at_edge[:whole].reshape(-1, BLOCK).mean(1)) < 0)

    criteria = {
        "the sharpness reaches 2/eta": [run.crossing < STEPS - 2 * SETTLED for run in trajectories],
        "10 % of the steps at the edge raise the loss": [
            np.mean(np.diff(run.loss[run.settled]) > 0) >= 0.10 for run in trajectories
        ],
        f"its mean over {BLOCK} steps is below that over the {BLOCK} before": [
            windows_fall(run) for run in trajectories
        ],
        "it ends below 0.6 of that at the crossing": [
            run.loss[-1] <= 0.6 * run.loss[min(run.crossing, STEPS - 1)] for run in trajectories
        ],
    }
    share_of_runs(evidence, trajectories, criteria)
    draw(evidence, trajectories, thresholds)


flow_first = Claim(
    "edge/follows-gradient-flow",
    source=Source("shapira-review", "Section 3, Progressive Sharpening"),
    printed=r"The trajectory's behavior of increasing sharpness and decreasing loss closely parallels the dynamics "
    r"seen in gradient flow.",
    expected="holds",
)

SAMPLE = 10  # steps between two looks at gradient descent and gradient flow


@eqx.filter_jit
def sharpness_and_loss(loss, x):
    """S and L at a point, and the products that they took."""
    spectrum = solve(loss, x, 1, jnp.asarray(1e-4), jnp.asarray(3000), jax.random.key(0))
    return jnp.stack([spectrum.values[0], loss(x), spectrum.hvps])


def descent_for_the_flow(loss, start, times, **_):
    """Gradient descent at these times, SAMPLE steps apart."""
    return trajectory(gd_step(loss, times[1] / SAMPLE), start, SAMPLE * (len(times) - 1), every=SAMPLE)


@flow_first.check(
    replicate=[0, 1, 2],
    controls={
        "a comparison that goes on after the crossing": dict(beyond=20),
        "gradient flow twice as fast": dict(speed=2.0),
        "gradient descent in place of the flow": dict(flow=descent_for_the_flow),
    },
)
def test_descent_and_flow_agree_up_to_the_crossing(
    evidence, replicate, beyond=0, speed=1.0, flow=gradient_flow, threshold=5.0, steps=500
):
    """In float64, the flow integrated by two methods at tolerances a hundredfold apart."""
    seed, eta = evidence.seed(replicate), 2 / threshold
    data = digits(200, label_noise=0.2, seed=seed)
    loss, start = flattened(*mlp(data, jax.random.key(seed), width=32))
    times = np.arange(steps // SAMPLE + 1) * SAMPLE * eta
    descent = trajectory(gd_step(loss, eta), start, steps, every=SAMPLE)
    fine = flow(loss, start, speed * times, rtol=1e-7, atol=1e-9)
    coarse = flow(loss, start, speed * times, rtol=1e-5, atol=1e-7, solver=diffrax.Bosh3())
    (s_descent, l_descent, p_descent), (s_flow, l_flow, p_flow), (s_coarse, _, p_coarse) = (
        np.array([sharpness_and_loss(loss, x) for x in path]).T for path in (descent, fine, coarse)
    )
    evidence.spent([p_descent, p_flow, p_coarse])
    error = np.abs(s_flow - s_coarse) + 2e-4 * s_flow  # of the integration and of the eigenvalue
    evidence.requires("it starts below 0.85 of 2/eta and crosses", s_descent[0] < 0.85 * threshold < s_descent.max())
    until = slice(1, int(np.argmax(s_descent >= threshold)) + beyond)
    relative = np.abs(s_descent / s_flow - 1)
    evidence.at_most("|S / S of the flow - 1|", relative[until], 0.1, uncertainty=(error / s_flow)[until])
    evidence.at_most("|L / L of the flow - 1|", np.abs(l_descent / l_flow - 1)[until], 0.05)
    evidence.at_least("last S of the flow / (2/eta)", s_flow[-1] / threshold, 1.3, uncertainty=error[-1] / threshold)
    evidence.monotone("loss of the flow", l_flow)
    evidence.close("sharpness of the flow by two methods", s_coarse / s_flow, 1, 1e-3)
    axes = ("time η t", "sharpness in units of 2/η")
    evidence.series("gradient descent", times, s_descent / threshold, axes=axes)
    evidence.series("gradient flow", times, s_flow / threshold, axes=axes, spread=error / threshold)
    evidence.series("2/η", times[[0, -1]], [1, 1], axes=axes, style="reference")
    for label, values in (("gradient descent", l_descent), ("gradient flow", l_flow)):
        evidence.series(label, times, values, axes=("time η t", "training loss"), scale="semilogy")


every_step_size = Claim(
    "edge/every-step-size",
    source=Source("arora-talk", "Edge of Stability (EoS)"),
    printed=r"Phenomenon appears for all finite $\eta$.",
    expected="refuted",
)


@every_step_size.check(
    threshold=[1e-3, 0.1],
    positive_controls={"2/eta = 5": dict(threshold=5.0)},
)
def test_sharpness_reaches_the_threshold_and_stays_there(evidence, threshold):
    """2/eta of 0.1 and 0.001 are far below where the sharpness starts."""
    run = counted(evidence, evidence.seed(), threshold)
    top = np.nanargmax(run.sharpness)
    evidence.at_least("largest sharpness / (2/eta)", run.sharpness[top], 1.0, uncertainty=run.error[top])
    at_edge = run.sharpness[run.settled]
    evidence.at_most("last loss / first loss", run.loss[-1] / run.loss[0], 1.0)
    evidence.close("mean sharpness at the edge / (2/eta)", np.mean(at_edge), 1.125, 0.125)
    shown = np.isfinite(run.sharpness) & (run.sharpness < 100)
    axes = ("step", "sharpness in units of 2/η")
    if shown.any():
        evidence.series(f"2/η = {threshold:g}", np.arange(STEPS)[shown], run.sharpness[shown], axes=axes)


@every_step_size.counterexample(threshold=40.0, steps=16_000, every=200)
def test_training_ends_below_the_threshold(evidence, threshold, steps, every):
    """2/eta of 40 is above what the sharpness ever reaches."""
    run = counted(evidence, evidence.seed(), threshold, steps=steps, every=every)
    late = run.sharpness[-len(run.sharpness) // 4 :]
    evidence.requires("the loss has come to 1 % of its start", run.loss[-1] <= 0.01 * run.loss[0])
    evidence.requires("the sharpness rises by 5 % or less in the last quarter", late.max() <= 1.05 * late[0])
    top = np.argmax(run.sharpness)
    evidence.at_least("largest sharpness / (2/eta)", run.sharpness[top], 1.0, uncertainty=run.error[top])
    label, step = f"2/η = {threshold:g}", "step of the long run"
    measured = every * np.arange(len(run.sharpness))
    evidence.series(label, measured, run.sharpness, axes=(step, "sharpness in units of 2/η"))
    evidence.series(label, np.arange(steps), run.loss, axes=(step, "training loss"), scale="semilogy")


figure_1 = Claim(
    "edge/figure-1",
    source=Source("shapira-review", "Figure 1"),
    printed=r"... we trained an MLP network with two hidden layers of 200 units each and a smooth tanh activation "
    r"function, on a randomly selected subset of 5,000 images from the CIFAR-10 dataset ..., using the mean squared "
    r"error (MSE) loss and full-batch gradient descent. ... we measure the training MSE loss ... and the top "
    r"eigenvector [that is, eigenvalue] of the training loss Hessian ... Training is stopped once the train accuracy "
    r"exceeds 99%. [In the figure the sharpness rises to $2/\eta$ and hovers there while the loss falls. At the small "
    r"size on 500 digits.]",
    expected="holds",
)


def cifar(evidence, n, seed):
    """The images of CIFAR-10 that a case of the paper's size needs."""
    try:
        return cifar10(n, seed=seed)
    except DataError as problem:
        evidence.out_of_scope(str(problem))


def critical(objective, start, threshold, usual):
    """2/eta for the paper's size: what `threshold` is at the small one, where the sharpness starts near `usual`."""
    return threshold / usual * float(sharpness(objective, start, rtol=RTOL).values[0])


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
    probes = {"sharpness": Sharpness(every=every), "accuracy": Partial(accuracy, objective)}
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


def accuracy(objective, params):
    return objective.accuracy(params)


vgg_on_cifar = Claim(
    "edge/vgg-cifar10",
    source=Source("arora-talk", "Edge of Stability (EoS), VGG-16 on CIFAR-10"),
    printed=r"EoS phase: $\lambda_{max}(\nabla^2 L)$ along trajectory increases above $2/\eta$, then levels off. Loss "
    r"oscillates across iterations, with overall downward trend. VGG-16 on CIFAR-10 [; at the small size a VGG of 11 "
    r"layers, width 4 and tanh on 60 patches of two photographs].",
    expected="holds",
)


@vgg_on_cifar.check(
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
