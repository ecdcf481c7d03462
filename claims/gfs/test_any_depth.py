"""On ½ (w_1 ... w_L - 1)²: which steps of gradient descent cannot raise the sharpness of gradient flow's solution."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

from eosbench import Claim, Source
from eosbench.dynamics import gd_step
from eosbench.proof import Identity, prove_identity

N = 100_000


def loss(layers):
    """Half the squared distance of the product of numbers from 1."""
    return (jnp.prod(layers) - 1) ** 2 / 2


def solution_sharpness(layers):
    """The sum of 1/w² at the minimizer with the same differences of squares; a row for each start.

    Its least square z makes the product of z + d one, d being the differences from the least: by bisection of ln z.
    """
    squares = layers**2
    d = squares - squares.min(1, keepdims=True)
    low, high = np.full(len(d), -100.0), np.zeros(len(d))  # each z + d is at least z, so that z <= 1
    for _ in range(60):
        middle = (low + high) / 2
        above = np.log(d + np.exp(middle)[:, None]).sum(1) > 0
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return (1 / (d + np.exp(middle)[:, None])).sum(1)


@jax.jit
@partial(jax.vmap, in_axes=(0, 0))
def stepped(eta, layers):
    """The layers after one step of gradient descent."""
    return gd_step(loss, eta)(layers)


class Steps:
    """One from each start, with the step size for which eta |r| c is `excess`, c being the largest of the c_ij."""

    def __init__(self, layers, excess):
        least = np.sort(np.abs(layers), 1)[:, :2]
        product = layers.prod(1)
        eta = excess / np.abs((product - 1) * product) * least.prod(1)
        after = np.asarray(stepped(jnp.asarray(eta), jnp.asarray(layers)))
        self.change = solution_sharpness(after) / solution_sharpness(layers) - 1

    @property
    def rises(self):
        """In how many steps it rises by more than rounding."""
        return int((self.change > 1e-9).sum())


def starts(depth, random):
    """Layers of both signs; their squares differ by 1e-3 to 10 of the least, and their product is 1e-2 to 1e6."""
    gaps = 10 ** random.uniform(-3, 1, size=(N, depth))
    gaps[:, 0] = 0.0
    layers = np.sqrt(1 + gaps.cumsum(1)) * random.choice([-1.0, 1.0], size=(N, depth))
    size = 10 ** random.uniform(-2, 6, size=N) / np.abs(layers.prod(1))
    return layers * size[:, None] ** (1 / depth)


any_depth = Claim(
    "gfs/any-depth",
    source=Source("eosbench-statements", "Gradient flow solution, any depth"),
    printed=(
        r"On $\frac{1}{2}(w_1 \cdots w_L - 1)^2$ a step of gradient descent does not raise the sharpness of the "
        r"minimizer to which gradient flow goes from almost every start, if $\eta|w_1 \cdots w_L - 1| c_{ij} \leq 1$ "
        r"for all $i \neq j$, where $c_{ij}$ is the absolute product of the other layers. For two layers $\sqrt{2}$ "
        r"suffices in place of 1; from three on 1 is the largest such number."
    ),
    expected="holds",
    uses=("gfs/monotone-depth-2",),
)


@any_depth.check(depth=[3, 5], controls={"2 % more": dict(depth=3, more=1.02), "at the start": dict(depth=3, own=True)})
def test_where_gradient_flow_ends(evidence, depth, own=False, more=1.0):
    random = np.random.default_rng(evidence.seed())
    begin = random.uniform(0.5, 1.5, size=(6, depth)) * random.choice([-1.0, 1.0], size=(6, depth))
    gradient = jax.jit(jax.grad(loss))
    flows = [solve_ivp(lambda _, w: -gradient(w), (0, 20), w, rtol=1e-10, atol=1e-12).y[:, -1] for w in begin]
    end = np.array(flows)
    evidence.at_most("|product - 1| in the end", np.abs(end.prod(1) - 1), 1e-9)
    hessians = np.asarray(jax.vmap(jax.hessian(loss))(begin if own else end))
    claimed = more * solution_sharpness(begin)
    evidence.close("sharpness there, over its formula", np.linalg.eigvalsh(hessians)[:, -1] / claimed, 1.0, 1e-7)


@any_depth.check(controls={"1.02 eta² r² c²": dict(one="51/50")})
def test_what_a_step_makes_of_a_difference_of_squares(evidence, one="1"):
    """a and b are two layers, and r c b and r c a their gradients.

    Where eta |r| c is at most 1 for every pair, differences keep their sign and do not grow. So, with the squares in
    falling order, those of the new minimizer less those of the old do not fall along the order; some first ones are not
    larger than before, the others not smaller, and the product of all is 1 in both. The logarithms of the new squares
    are therefore majorized by those of the old, and the sum of 1/w², convex in them, is not larger: Karamata's
    inequality, which is cited.
    """
    identity = Identity(
        (
            (
                "the difference after a step",
                "(a - eta*r*c*b)**2 - (b - eta*r*c*a)**2",
                "=",
                f"(1 - {one}*eta**2*r**2*c**2)*(a**2 - b**2)",
            ),
        ),
        "a b c r eta",
    )
    evidence.proved("for every step", prove_identity(identity), identity.theorem)


@any_depth.check(
    depth=[2, 3, 4, 6],
    controls={
        "up to the root of two, three layers": dict(depth=3, bound=2**0.5),
        "up to the root of two, four layers": dict(depth=4, bound=2**0.5),
        "up to 1.5, two layers": dict(depth=2, bound=1.5),
    },
)
def test_no_step_raises_it(evidence, depth, bound=None):
    random = np.random.default_rng(evidence.seed())
    largest = bound or (2**0.5 if depth == 2 else 1.0)
    evidence.requires("the bound", bound is None)
    steps = Steps(starts(depth, random), random.uniform(0, largest, size=N))
    evidence.finite("the change", steps.change)
    evidence.equal("steps that raise it", steps.rises, 0)
    evidence.at_least("steps that lower it by 1 %", int((steps.change < -0.01).sum()), 1000)


@any_depth.check(
    depth=[3, 4, 6],
    excess=[1.005, 1.1],
    controls={"two layers": dict(depth=2, excess=1.005), "just below": dict(depth=3, excess=0.995)},
)
def test_just_beyond_a_step_may_raise_it(evidence, depth, excess):
    """Two layers are equal, and a third is so little larger that the step takes it below them; others are far larger.

    Before, the two lie below the third, and the sharpness tends to 0 as the product grows; after, one lies below two,
    and it does not.
    """
    squares = np.array([1.0, 1.0, (1 + excess**2) / 2, *np.arange(2.0, depth)])[:depth]
    layers = np.sqrt(squares)[None]
    layers *= (1e12 / layers.prod()) ** (1 / depth)
    steps = Steps(layers, np.array([excess]))
    evidence.at_least("what a step adds to it, of what it was", steps.change, 0.01)
    axes = ("η|r|c", "ln of the sharpness after a step over before")
    evidence.series(f"L = {depth}", [excess], np.log1p(steps.change), axes=axes, style="points")
