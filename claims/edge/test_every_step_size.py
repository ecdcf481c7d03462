"""Step sizes at which a network does not come to the edge of stability."""

import numpy as np

from eosbench import Claim, Source

from .setting import DIVERGED, STEPS, counted

every_step_size = Claim(
    "edge/every-step-size",
    source=Source("arora-talk", "Edge of Stability (EoS)"),
    printed=r"Phenomenon appears for all finite $\eta$.",
    expected="refuted",
    severity="false",
    why=(
        r"Where $2/\eta$ is far below the sharpness at the start gradient descent diverges, and where it is "
        r"above what the sharpness ever reaches training ends before it is there."
    ),
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
    # In the figure the loss is infinite from where it diverges on, and the sharpness nothing where it is not known.
    sharpness = np.where(np.isfinite(run.error), run.sharpness, np.nan)
    loss = np.where(run.loss < DIVERGED, run.loss, np.inf)
    for what, curve in {"sharpness in units of 2/η": sharpness, "training loss": loss}.items():
        evidence.series(f"2/η = {threshold:g}", np.arange(STEPS), curve, axes=("step", what), scale="semilogy")


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
