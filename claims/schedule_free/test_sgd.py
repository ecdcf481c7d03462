"""Schedule-free gradient descent: its line at every step, and where the line goes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
from jax.tree_util import Partial

from eosbench import Claim, Source, stability
from eosbench.dynamics import hessian_onset
from eosbench.problems import Quadratic
from eosbench.proof import jury_identity, prove_identity

ETA = 0.01
BASIS = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0]
HESSIAN = np.asarray(jax.hessian(Quadratic.with_spectrum([1.0, 0.4, 0.1], BASIS))(np.zeros(3)))  # λ_1 = 1


def schedule_free(beta):
    """That of optax, its numbers arrays, so that others are not compiled again."""
    return Partial(optax.contrib.schedule_free_sgd, jnp.asarray(ETA), b1=jnp.asarray(beta))


@jax.jit
def trained(optimizer, steps, seed):
    """The state of an optimizer after steps with random gradients, at the minimum."""

    def step(t, state):
        gradient = jax.random.normal(jax.random.fold_in(jax.random.key(seed), t), (3,))
        return optimizer().update(gradient, state, jnp.zeros(3))[1]

    state = jax.lax.fori_loop(0, steps, step, optimizer().init(jnp.zeros(3)))
    return optax.tree.set(state, z=jnp.zeros(3))


def threshold(beta, c):
    """Eta λ_1 at the edge, where the next iterate enters the average with weight c."""
    return (4 - 2 * c) / ((1 - beta) * (2 - c) + beta * c)


def next_step(seed, beta, t):
    """Eta λ_1 where the step that follows t steps begins to grow, its weights held."""
    optimizer = schedule_free(beta)
    state, held = trained(optimizer, t, seed), ("weight_sum", "max_lr", "step_count")
    return ETA * hessian_onset(optimizer, HESSIAN, 1 / ETA, 100 / ETA, state=state, held=held, steps=20_000).value


TIMES = [3, 30, 300, 3000]

sgd = Claim(
    "schedule-free/sgd",
    source=Source("eosbench-statements", "Schedule-free averaging, one step"),
    printed=(
        r"Schedule-free gradient descent, $z \leftarrow z - \eta g(y)$, $x \leftarrow (1 - c) x + c z$ and $y = (1 - "
        r"\beta) z + \beta x$ with $0 \leq \beta < 1$ and $0 < c \leq 1$ held fixed, converges on every quadratic "
        r"with eigenvalues in $(0, \lambda_1]$ if $\eta\lambda_1 < \frac{4 - 2c}{(1 - \beta)(2 - c) + \beta c}$, and "
        r"diverges from almost every start if $\eta\lambda_1$ is larger. With a constant step size $c = 1/(t + 1)$ "
        "after $t$ steps."
    ),
    expected="holds",
)


@sgd.check(
    beta=[0.5, 0.9, 0.95],
    t=TIMES,
    controls={
        "2/(1 - beta) at an early step": dict(beta=0.9, t=30, share=0.0),
        "1/t for 1/(t + 1)": dict(beta=0.9, t=30, one=0),
        "2 + 2 beta, as heavy ball": dict(beta=0.9, t=300, heavy=True),
    },
)
def test_the_next_step_grows_from_the_threshold_on(evidence, beta, t, share=1.0, one=1, heavy=False):
    evidence.requires("0 <= beta < 1", 0 <= beta < 1)
    claimed = 2 + 2 * beta if heavy else threshold(beta, share / (t + one))
    measured = next_step(evidence.seed(), beta, t)
    evidence.constant("eta λ_1 at the onset, over its value", 1.0, measured / claimed, 1e-6)
    if t == TIMES[0]:
        axes, fine = ("steps taken", "η λ_1 at the edge"), np.geomspace(1, 1e4, 200)
        found = [next_step(evidence.seed(), beta, time) for time in TIMES]
        evidence.series(f"β = {beta:g}", TIMES, found, axes=axes, style="points", scale="semilogx")
        evidence.series(f"β = {beta:g}", fine, threshold(beta, 1 / (fine + 1)), axes=axes, scale="semilogx")


@sgd.check(t=[300], controls={"1/t for 1/(t + 1)": dict(one=0)})
def test_the_derivatives_of_a_step_say_so(evidence, t, beta=0.9, one=1):
    line = stability(schedule_free(beta), trained(schedule_free(beta), t, evidence.seed()), jnp.zeros(3)).line
    evidence.constant("eta λ_1 of stability, over its value", 1.0, ETA * line / threshold(beta, 1 / (t + one)), 1e-9)


@sgd.check(proves=True, controls={"4.08 in place of 4": dict(four="102/25")})
def test_one_step_on_every_quadratic(evidence, four="4"):
    """The pair (y, z), with s for c. Jury's criterion is cited; `jury_identity` says what is proved of it."""
    rest = "(-2*(1 - s)*given3 - 2*d*given4)"
    identity = jury_identity(
        {"m1": "m - eta*A@x", "x1": "(1 - s)*(x - (1 - b)*m) + (b*s + 1 - b)*m1"},
        ("1 - s", "s", "-eta*(b*s + 1 - b)"),
        ("0", "1", "-eta"),
        ("(1 - b)*(2 - s) + b*s", f"{four} - 2*s"),
        excess={
            "factor": "2*d*e + s",
            "p(1)": "s*eta*la",
            "1 - determinant": "(2*d*e + s)*(s + eta*la*d*e)",
            "1 + determinant": "s*(1 + e) + c*d*e",
        },
        remainder={
            "factor": rest,
            "1 - determinant": (
                f"(2*d*e + s)*eta*la*(given3*given4 - e*given3 - d*given4) + {rest}*(s + eta*la*(1 - b)*(1 - s))"
            ),
            "1 + determinant": "-(1 - b)*(1 - s)*given2 + c*(s - 1)*given3 - (d*c + s)*given4",
        },
        scalars="b d s e",
        nonnegative="b e",
        given=(("b + d", "1"), ("s + e", "1")),
    )
    evidence.proved("on either side of the threshold", prove_identity(identity), identity.theorem)


limit = Claim(
    "schedule-free/limit",
    source=Source("eosbench-statements", "Schedule-free averaging, whole runs"),
    printed=(
        r"Of $T$ steps of schedule-free gradient descent with a constant step size on a quadratic, $0 < \beta < 1$, "
        r"the second half grows if and only if $\eta\lambda_1$ exceeds a value that tends to $\frac{2}{1 - \beta}$ "
        r"from below, $\frac{2}{1 - \beta}(1 - \frac{\beta}{1 - \beta}\frac{\ln 2}{T} + O(T^{-2}))$."
    ),
    expected="holds",
    uses=("schedule-free/sgd",),
)


@limit.check(
    beta=[0.5, 0.9, 0.95],
    controls={"2 + 2 beta, as heavy ball": dict(beta=0.9, heavy=True), "2/eta": dict(beta=0.5, share=0)},
)
def test_a_whole_run_grows_from_two_over_one_minus_beta_on(evidence, beta, share=1, heavy=False, steps=20_000):
    claimed = 2 + 2 * beta if heavy else 2 / (1 - share * beta)
    onset = hessian_onset(schedule_free(beta), HESSIAN, 1 / ETA, 100 / ETA, steps=steps)
    evidence.constant("eta λ_1 at the onset, over 2/(1 - beta)", 1.0, ETA * onset.value / claimed, 1e-3)
    evidence.at_most("eta λ_1 at the onset, over 2/(1 - beta)", ETA * onset.value / claimed, 1.0)


@limit.check(beta=[0.5, 0.9, 0.95], controls={"ln 3": dict(beta=0.9, half=3), "no beta": dict(beta=0.9, top=1)})
def test_it_comes_from_below_as_one_over_the_steps(evidence, beta, half=2, top=None, steps=20_000):
    onset = hessian_onset(schedule_free(beta), HESSIAN, 1 / ETA, 100 / ETA, steps=steps)
    missing = steps * (1 - ETA * onset.value * (1 - beta) / 2)
    law = (beta if top is None else top) / (1 - beta) * np.log(half)
    evidence.constant("what is missing, over beta/(1 - beta) ln 2 / T", 1.0, missing / law, 2e-3)
