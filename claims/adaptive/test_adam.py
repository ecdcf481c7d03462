"""Adam at 38/eta: with its second moment frozen at every stage of training, and as that decays by itself."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

from eosbench import Claim, Source, stability
from eosbench.dynamics import hessian_onset
from eosbench.problems import Quadratic

ETA, B2, EPS = 0.01, 0.999, 1e-3
BASIS = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
HESSIAN = np.asarray(Quadratic.with_spectrum([1.0, 0.4, 0.1], BASIS).hessian)
SIZES = jnp.asarray([0.3, 1.0, 3.0])  # of the gradients, unequal, so that P is no number


TIMES = [1, 5, 20, 50, 200, 2000, 20_000]
FORMS = {
    "P": {},
    "without the correction of the first moment": dict(first=False),
    "without the correction of the second moment": dict(second=False),
    "P of the step before": dict(after=False),
}


def adam_of(b1):
    """Adam of optax, its numbers arrays, so that others are not compiled again."""
    return Partial(optax.adam, *(jnp.asarray(number) for number in (ETA, b1, B2, EPS)))


@jax.jit
def trained(optimizer, steps, seed):
    """The state of an optimizer after steps with random gradients."""

    def step(t, state):
        gradient = SIZES * jax.random.normal(jax.random.fold_in(jax.random.key(seed), t), (3,))
        return optimizer().update(gradient, state, jnp.zeros(3))[1]

    return jax.lax.fori_loop(0, steps, step, optimizer().init(jnp.zeros(3)))


def preconditioner(v, t, b1, after=True, first=True, second=True, eps=EPS):
    """P of the step that follows t steps, or of the last one; with both corrections of the bias, or without one."""
    v, t = (B2 * v, t + 1) if after else (v, t)
    return (1 - b1**t if first else 1) * (np.sqrt(v / (1 - B2**t if second else 1)) + eps)


def top(p):
    """The largest eigenvalue of P^-1/2 H P^-1/2."""
    return np.linalg.eigvalsh(HESSIAN / np.sqrt(np.outer(p, p)))[-1]


def at_onset(state, b1, t):
    """Eta times the largest eigenvalue of P^-1/2 H P^-1/2 where runs begin to grow, for each form of P."""
    still = optax.tree.set(state, mu=jnp.zeros(3))
    size = hessian_onset(adam_of(b1), HESSIAN, 1e-3 / ETA, 1000 / ETA, state=still, held=("nu", "count")).value
    v = np.asarray(optax.tree.get(state, "nu"))
    return {label: ETA * size * top(preconditioner(v, t, b1, **form)) for label, form in FORMS.items()}


adam = Claim(
    "adaptive/adam",
    source=Source("cohen-adaptive", "Abstract"),
    printed=(
        r"For Adam with step size $\eta$ and $\beta_1 = 0.9$, this stability threshold is $38/\eta$. [Of the maximum "
        r"eigenvalue of the preconditioned Hessian, $P^{-1/2} H P^{-1/2}$. After $t$ steps $P = (1 - \beta_1^{t+1}) "
        r"(\sqrt{\beta_2 v / (1 - \beta_2^{t+1})} + \varepsilon)$ with the second moment $v$: that of the next step, "
        "as it is applied.]"
    ),
    expected="holds",
)


@adam.check(
    t=TIMES,
    controls={
        "2/eta": dict(t=2000, claimed=2.0),
        "without the correction of the first moment": dict(t=20, form="without the correction of the first moment"),
        "without the correction of the second moment": dict(t=2000, form="without the correction of the second moment"),
        "P of the step before": dict(t=20, form="P of the step before"),
        "beta_1 = 0.89": dict(t=200, b1=0.89),
    },
)
def test_adam_with_its_second_moment_held_grows_from_38_on(evidence, t, claimed=38.0, b1=0.9, form="P"):
    evidence.requires("beta_1 = 0.9", b1 == 0.9)
    state = trained(adam_of(b1), t, evidence.seed())
    evidence.constant("38", claimed, at_onset(state, b1, t)[form], 1e-5)
    if t == TIMES[0]:
        levels = [at_onset(trained(adam_of(b1), time, evidence.seed()), b1, time) for time in TIMES]
        for label in FORMS:
            axes, values = ("steps taken", "η λ_1 of the preconditioned Hessian"), [level[label] for level in levels]
            evidence.series(label, TIMES, values, axes=axes, scale="loglog")


@adam.check(t=[50], controls={"without the correction of the first moment": dict(form=dict(first=False))})
def test_the_derivatives_of_a_step_say_so(evidence, t, form=None):
    optimizer = adam_of(0.9)
    state = trained(optimizer, t, evidence.seed())
    line = 2 / top(1 / np.asarray(stability(optimizer, state, jnp.zeros(3)).scale))
    p = preconditioner(np.asarray(optax.tree.get(state, "nu")), t, 0.9, **(form or {}))
    evidence.constant("38, of stability", 38.0, ETA * line * top(p), 1e-7)


@partial(jax.jit, static_argnames="steps")
def followed(eta, b1, b2, eps, v, t, start, steps):
    """|x| and P after each step of Adam on x²/2, from a state with second moment v after t steps."""
    optimizer = optax.adam(eta, b1, b2, eps)

    def step(carry, _):
        x, state = carry
        updates, state = optimizer.update(x, state, x)
        count, moment = optax.tree.get(state, "count"), optax.tree.get(state, "nu")
        p = (1 - b1**count) * (jnp.sqrt(moment / (1 - b2**count)) + eps)
        return (x + updates, state), (jnp.abs(x + updates), p)

    state = optax.tree.set(optimizer.init(start), nu=v, count=t)
    return jax.lax.scan(step, (start, state), length=steps)[1]


def onset_of_spike(eta, b1, b2, steps, **start):
    """Eta λ/P where |x| is smallest, over the steps before, and how long it was above 2."""
    x, p = map(np.asarray, followed(eta, b1, b2, 0.0, **start, steps=40_000))
    least = int(x[:steps].argmin())
    return eta / p[least], int((eta / p[:least] > 2).sum()), x[:steps], eta / p[:steps]


def slowly(eta, b1, b2):
    """Eta λ/P at the least |x|, as the second moment brings it slowly from below the threshold to as far above.

    It begins so near that the two roots of a step are real: further out |x| has nodes of a slow beat. And so near that
    |x| shrinks by no more than e^150: from 1e-100, less than 1e-300 would be zero, and nothing could grow again. Near
    the threshold it shrinks in a step by the threshold times the distance from it, which changes by (1 - b2)/2.
    """
    edge = (2 + 2 * b1) / (1 - b1)
    real = (1 - np.sqrt(b1)) ** 2 / (2 + 2 * b1)
    distance = min(0.8 * real, np.sqrt(150 / edge * (1 - b2)))
    p = (1 + distance) * eta / edge
    start = dict(v=p**2, t=jnp.int32(10**8), start=jnp.asarray(1e-100))
    return onset_of_spike(eta, b1, b2, int(4 * distance / (1 - b2)), **start)[0]


adam_spike = Claim(
    "adaptive/adam-spike",
    source=Source("eosbench-statements", "Adaptive preconditioners, spikes"),
    printed=(
        r"On $\frac{1}{2}\lambda x^2$, where its gradients are small beside what its second moment remembers, Adam's "
        r"iterates shrink while its preconditioner $P$ decays to $\eta\lambda/P = \frac{2 + 2\beta_1}{1 - \beta_1}$, "
        r"up to a share of $O(1 - \beta_2)$, and grow from there on. For $\beta_1 = 0.9$ a spike begins at $38/\eta$, "
        r"and not at $2/\eta$; and it never begins if $\eta\lambda/\varepsilon < 38$."
    ),
    expected="holds",
)


@adam_spike.check(
    b1=[0.0, 0.5, 0.9],
    eta=[1e-3, 1e-1],
    controls={"2/eta": dict(b1=0.5, classical=True), "beta_1 2 % off": dict(b1=0.9, assumed=0.882)},
)
def test_a_spike_begins_where_the_frozen_step_loses_stability(evidence, b1, eta, classical=False, assumed=None):
    """With beta_2 = 1 - 1e-6 the second moment hardly moves while the oscillation turns."""
    evidence.requires("0 <= beta_1 < 1", 0 <= b1 < 1)
    b = b1 if assumed is None else assumed
    claimed = 2.0 if classical else (2 + 2 * b) / (1 - b)
    evidence.constant("eta λ/P at the least |x|, over its value", 1.0, slowly(eta, b1, 1 - 1e-6) / claimed, 1e-4)


@adam_spike.check(controls={"1 % off": dict(claimed=38.38)})
def test_the_delay_is_of_the_order_of_1_minus_beta_2(evidence, claimed=38.0):
    forgotten = np.geomspace(3e-6, 1e-7, 7)
    delays = np.array([slowly(0.01, 0.9, 1 - share) / claimed - 1 for share in forgotten])
    evidence.bounded_by("delay of the onset", delays, forgotten, constant=10.0)
    evidence.series("β_1 = 0.9", forgotten, np.abs(delays), axes=("1 - β_2", "delay of the onset in P"), scale="loglog")


@adam_spike.check(
    b1=[0.0, 0.5, 0.9],
    controls={"2/eta": dict(b1=0.9, classical=True), "40 for 38": dict(b1=0.9, share=40 / 38)},
)
def test_a_run_from_nothing_remembered_spikes_there_too(evidence, b1, classical=False, share=1.0):
    """Adam from x = 1 with beta_2 = 0.99, of which P loses 0.5 % a step: eight steps are 4 %."""
    start = dict(v=0.0, t=jnp.int32(0), start=jnp.asarray(1.0))
    found, above, x, level = onset_of_spike(0.1, b1, 0.99, 3000, **start)
    claimed = 2.0 if classical else share * (2 + 2 * b1) / (1 - b1)
    evidence.close("eta λ/P at the least |x|, over its value", found / claimed, 1.0, 0.04)
    evidence.equal("above 2/eta for 100 steps or more before", above >= 100, b1 > 0)
    axes = ("step", "|x|")
    evidence.series(f"β_1 = {b1:g}", np.arange(1500), x[:1500], axes=axes, scale="semilogy")
    axes = ("step", "η λ/P")
    evidence.series(f"β_1 = {b1:g}", np.arange(1500), level[:1500], axes=axes, scale="semilogy")


@adam_spike.check(level=[34.0, 37.9, 38.1, 42.0], controls={"at 38.1 it spikes": dict(level=38.1, edge=38.2)})
def test_below_38_epsilon_there_is_no_spike(evidence, level, edge=38.0):
    start = dict(v=0.0, t=jnp.int32(0), start=jnp.asarray(1.0))
    x = np.asarray(followed(0.01, 0.9, 0.99, 0.01 / level, **start, steps=40_000)[0])
    grown = np.log10(np.maximum(x[-100:].max(), 1e-300) / np.maximum(x.min(), 1e-300))
    evidence.equal("in the end 1e10 times its least |x|", grown > 10, level > edge)
