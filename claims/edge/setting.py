"""Networks trained by gradient descent, with their sharpness in units of 2/eta."""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

from eosbench import Every, Sharpness, sharpness, train
from eosbench.problems import DataError, cifar10, cross_entropy, digits, half_squared_error, mlp

STEPS = 800
SETTLED = 50  # steps after the crossing that belong to neither phase
RTOL = 1e-3  # of the sharpness
REQUIRED_SHARE = 0.6  # what 13 of 15 runs show with 95 % confidence, and 9 of 10
DIVERGED = 1e30  # stands for every larger loss
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
    probes = {"sharpness": Every(every, Sharpness(k=1, rtol=RTOL))}
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


def share_of_runs(evidence, runs, criteria) -> None:
    """The fraction of runs that meet every one of the criteria, a mapping from a name to one truth value per run."""
    met = np.array(list(criteria.values()), bool)
    failed = ", ".join(
        f"{int(np.sum(~row))} not: {name}" for name, row in zip(criteria, met, strict=True) if not row.all()
    )
    name = "runs that meet all criteria" + (f" ({failed})" if failed else "")
    evidence.fraction(name, int(met.all(0).sum()), len(runs), at_least=REQUIRED_SHARE)


def cifar(evidence, n, seed):
    """The images of CIFAR-10 that a case of the paper's size needs."""
    try:
        return cifar10(n, seed=seed)
    except DataError as problem:
        evidence.out_of_scope(str(problem))


def critical(objective, start, threshold, usual):
    """2/eta for the paper's size: what `threshold` is at the small one, where the sharpness starts near `usual`."""
    return threshold / usual * float(sharpness(objective, start, rtol=RTOL).values[0])
