"""Progressive sharpening and the edge of stability, of a network that learns handwritten digits.

A tanh network is trained on 300 handwritten digits by full-batch gradient descent, and its sharpness is measured at
every step: five runs at each of three step sizes. The statements read the same fifteen trajectories, and each is
decided by the fraction of runs that meet all of its criteria. All bounds were fixed before these seeds were run, on
others: after a first fifteen with 500 digits the required fraction was lowered from 0.7 to 0.6, the bound on the loss
at the edge raised from two to four times that at the crossing, and the number of digits cut to 300.
"""

import numpy as np

from eosbench import Claim, Source

from .setting import RTOL, SETTLED, STEPS, counted, share_of_runs

BLOCK = 100  # steps: a long timescale
THRESHOLDS = (3.5, 5.0, 7.0)  # values of 2/eta
RUNS = 5
FIRST_REPLICATE = 100  # from here on no seed was seen before the bounds were fixed


def several_runs(evidence, thresholds, runs, network="tanh", loss="squared error"):
    """The trajectories of an experiment, `runs` for each step size, each from its own seed."""
    return [
        counted(evidence, evidence.seed(FIRST_REPLICATE + runs * i + replicate), threshold, network, loss)
        for i, threshold in enumerate(thresholds)
        for replicate in range(runs)
    ]


def draw(evidence, runs, thresholds) -> None:
    """One run for each step size."""
    steps, axes = np.arange(STEPS), ("step", "sharpness in units of 2/η")
    for threshold, run in zip(thresholds, runs[:: len(runs) // len(thresholds)], strict=True):
        shown = np.where(run.error < 1, run.error, 0)
        evidence.series(f"2/η = {threshold:g}", steps, run.sharpness, axes=axes, spread=shown)
        evidence.series(f"2/η = {threshold:g}", steps, run.loss, axes=("step", "training loss"), scale="semilogy")
    evidence.series("2/η", [0, STEPS], [1, 1], axes=axes, style="reference")


progressive_sharpening = Claim(
    "edge/progressive-sharpening",
    source=Source("shapira-review", "Section 3, Progressive Sharpening"),
    printed=(
        r"Initially, the training loss mostly decreases monotonically and $S(\theta_t)$ consistently increases along "
        r"the training trajectory. This phase continues until the sharpness reaches the critical threshold of "
        r"$2/\eta$. [See Figure 1: with a smooth tanh activation and the mean squared error.]"
    ),
    expected="holds",
    coarse=(
        r"An error of 5 % in $2/\eta$ would pass: the sharpness rises through it without a halt. The unit is told to "
        r"1/2 % by edge/hovers."
    ),
    experiment="edge/tanh-network-on-digits",
)


@progressive_sharpening.check(
    thresholds=THRESHOLDS,
    controls={
        "so small a step that 2/eta is never reached": dict(thresholds=(40.0,), runs=4),
        "a ReLU network": dict(network="relu", thresholds=(11.0,), runs=4),
        "a start above 2/eta": dict(thresholds=(1.8,), runs=4),
    },
)
def test_sharpness_rises_to_the_threshold(evidence, thresholds, runs=RUNS, network="tanh"):
    evidence.requires("a smooth activation, as in Figure 1", network != "relu")
    trajectories = several_runs(evidence, thresholds, runs, network=network)
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
    printed=(
        r"[Abstract:] oscillations of the top eigenvalue around this critical value [$2/\eta$]. [Section 3:] the "
        r"sharpness stably hovers around $2/\eta$ [see Figure 1: with the mean squared error]."
    ),
    corrected=(
        r"After the crossing the sharpness hovers just above $2/\eta$: it stays within a factor of 2, deviates by less "
        r"than 15 %, and lies above $2/\eta$ in at least 85 % of the steps, on average by less than 25 %; in at least "
        r"60 % of runs."
    ),
    expected="corrected",
    severity="wrong constant",
    why=(
        r"After the crossing the sharpness lies above $2/\eta$ in nearly all steps, and does not oscillate "
        r"around it."
    ),
    coarse=(
        r"The unit is told to 1/2 %, the bounds are not: the mean lies 6 to 17 % above $2/\eta$, the more the larger "
        r"the step size, and scatters from run to run."
    ),
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
    evidence.requires("the mean squared error, as in Figure 1", loss == "squared error")
    trajectories = [
        run._replace(sharpness=measured * run.sharpness, error=measured * run.error)
        for run in several_runs(evidence, thresholds, runs, network=network, loss=loss)
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


@hovers.check(controls={"2 % more sharpness": dict(measured=1.02)})
def test_two_over_eta_is_where_the_loss_of_a_linear_model_grows(evidence, measured=1.0, threshold=6.0, steps=60):
    """What is counted in units of 2/eta is told to 1/2 %: the loss grows by (1 - 2 s)² per step, s the sharpness."""
    run = counted(evidence, evidence.seed(), threshold, network="linear", steps=steps)
    growth = np.sqrt(run.loss[-1] / run.loss[-2])
    evidence.requires("it grows", growth > 1)
    found = measured * run.sharpness[-1]
    evidence.constant("2 in 2/η, beyond which a linear model diverges", 2.0, (1 + growth) / found, 1e-2)


@hovers.counterexample(threshold=5.0)
def test_the_oscillation_is_not_around_the_threshold(evidence, threshold):
    """An oscillation around 2/eta is below it now and then: in more than a tenth of the steps."""
    run = counted(evidence, evidence.seed(), threshold)
    evidence.requires("the sharpness reaches 2/eta", run.crossing < STEPS - 2 * SETTLED)
    above = run.sharpness[run.settled] - run.error[run.settled] > 1
    blocks = [block.mean() for block in np.array_split(above, len(above) // BLOCK)]
    uncertainty = 3 * np.std(blocks, ddof=1) / np.sqrt(len(blocks))
    evidence.at_most("share of steps above 2/eta", np.mean(above), 0.9, uncertainty=uncertainty)


non_monotone_loss = Claim(
    "edge/non-monotone-loss",
    source=Source("shapira-review", "Section 3, Edge of Stability"),
    printed=(
        "In this phase the training loss exhibits a non-monotonic yet gradually decreasing behavior over long "
        "timescales."
    ),
    expected="holds",
    coarse=(
        r"No number is printed, and an error of 15 % in $2/\eta$ would pass: from the crossing to where the loss "
        r"oscillates is a matter of some fifty steps. The unit is told to 1/2 % by edge/hovers."
    ),
    uses=("edge/progressive-sharpening",),
    experiment="edge/tanh-network-on-digits",
)


@non_monotone_loss.check(
    thresholds=THRESHOLDS,
    controls={
        "so small a step that 2/eta is never reached": dict(thresholds=(40.0,), runs=4),
        "a linear model just above its threshold": dict(network="linear", thresholds=(7.0,), runs=4),
    },
)
def test_loss_rises_often_and_falls_over_long_windows(evidence, thresholds, runs=RUNS, network="tanh"):
    trajectories = several_runs(evidence, thresholds, runs, network=network)

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
