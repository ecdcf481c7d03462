"""The product of two factors: runs that converge end in a stable minimum, but for some of rational numbers."""

from fractions import Fraction
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source
from eosbench.proof import Identity, prove_identity


@jax.jit
@partial(jax.vmap, in_axes=(0, 0, None, None))
def descend(factors, eta, product, steps):
    """x, y after so many steps on ½ (product - xy)²."""

    def step(_, w):
        return w - eta * jax.grad(lambda w: (product - w[0] * w[1]) ** 2 / 2)(w)

    return jax.lax.fori_loop(0, steps, step, factors)


almost_every_start = Claim(
    "stable-limit/almost-every-start",
    source=Source("eosbench-statements", "Stable limits"),
    printed=(
        r"Gradient descent on $\frac12(1 - xy)^2$ that converges to a minimum does so, from almost every start, to one "
        r"with $\eta(x^2 + y^2) \leq 2$. There are other starts: with $\eta = \frac13$ one step takes $(3, 2)$ to "
        r"$(-\frac13, -3)$, a minimum with $\eta(x^2 + y^2) = \frac{82}{27}$, and on $\frac14(x^2 - 1)^2$ with $\eta = "
        r"\frac{25}{24}$ one takes $\frac35$ to 1, where $\eta\lambda = \frac{25}{12}$; but not from beside them."
    ),
    expected="holds",
)


@almost_every_start.check(
    eta=[0.3, 0.5, 0.8, 0.95],
    controls={"1.96 for 2": dict(eta=0.95, two=1.96), "starts at minima": dict(eta=0.3, at_minima=True)},
)
def test_runs_from_a_grid_end_in_stable_minima(evidence, eta, two=2.0, at_minima=False):
    """Of products of powers of two the minima are met exactly, and left by no step."""
    axis = np.linspace(-3, 3, 100)  # none of them 0
    starts = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    if at_minima:
        starts = np.array([[2.0**k, 2.0**-k] for k in range(1, 5)])
    ends = np.asarray(descend(jnp.asarray(starts), jnp.full(len(starts), eta), 1.0, 4000))
    kept = np.abs(ends.prod(1) - 1) < 1e-8
    evidence.at_least("runs that converge, of all", kept.mean(), 0.1)
    evidence.at_most("eta (x² + y²) at the end", eta * (ends[kept] ** 2).sum(1), two)
    order = np.sort(eta * (ends[kept] ** 2).sum(1))
    axes = ("share of the runs that converge", "η (x² + y²) at the end")
    chosen = np.linspace(0, order.size - 1, min(order.size, 200)).astype(int)
    evidence.series(f"eta = {eta:g}", chosen / order.size, order[chosen], axes=axes)


@almost_every_start.check(controls={"84/27 for 82/27": dict(end="84/27"), "from (3, 2.04)": dict(start="51/25")})
def test_exceptions_in_rational_numbers(evidence, end="82/27", start="2"):
    """The gradient is (xy - 1) (y, x) in the plane, and x³ - x on the line."""
    r = f"(3*({start}) - 1)"
    statements = (
        ("x after a step", f"3 - 1/3*{r}*({start})", "=", "0 - 1/3"),
        ("y after a step", f"{start} - 1/3*{r}*3", "=", "0 - 3"),
        ("eta times the sharpness", "1/3*((1/3)**2 + 3**2)", "=", end),
        ("on the line", "3/5 - 25/24*((3/5)**3 - 3/5)", "=", "1"),
        ("eta times the sharpness on the line", "25/24*(3*1**2 - 1)", "=", "25/12"),
    )
    identity = Identity(statements, "x")
    evidence.proved("one step to a minimum beyond the edge", prove_identity(identity), identity.theorem)


@almost_every_start.check(
    digits=[6, 9, 12],
    controls={"in exact arithmetic, from the start itself": dict(digits=0)},
)
def test_from_beside_an_exception_descent_goes_away(evidence, digits):
    """With (3 + 10^-digits, 2), in fractions for one step, and in floating point from there on."""
    off = Fraction(1, 10**digits) if digits else Fraction(0)
    x, y, eta = Fraction(3) + off, Fraction(2), Fraction(1, 3)
    x, y = x - eta * (x * y - 1) * y, y - eta * (x * y - 1) * x
    evidence.at_most("distance after a step", float(abs(x + Fraction(1, 3)) + abs(y + 3)), 10.0 ** (1 - digits))
    stays = x * y == 1  # then no step leaves it
    ends = (
        np.array([float(x), float(y)])
        if stays
        else np.asarray(descend(jnp.array([[float(x), float(y)]]), jnp.array([1 / 3]), 1.0, 4000))[0]
    )
    away = float(np.abs(np.nan_to_num(ends, nan=1e300) - np.array([-1 / 3, -3])).max())
    evidence.at_least("distance at the end", away, 0.1)


large_rates = Claim(
    "stable-limit/large-rates",
    source=Source("wang-large-rates", "Abstract"),
    printed=(
        "We prove a convergence theory for constant large learning rates well beyond $2/L$, where $L$ is the largest "
        r"eigenvalue of Hessian at the initialization. [On $\frac12(\mu - xy)^2$ from almost every start with $\eta = "
        r"\frac{4}{x_0^2 + y_0^2 + 4\mu}$, which is up to twice $2/L$; with 1.1 times that not, for $\mu \leq 1$.]"
    ),
    expected="holds",
)


@large_rates.check(
    mu=[0.5, 1.0, 4.0],
    controls={"1.02 times that": dict(mu=0.5, times=1.02), "1.1 times that": dict(mu=1.0, times=1.1)},
)
def test_no_run_diverges(evidence, mu, times=1.0):
    """Starts are normal, of spread 0.5 to 8; what is not at the minimum after 20 000 steps still nears it."""
    random = np.random.default_rng(evidence.seed())
    starts = random.normal(size=(10_000, 2)) * 2 ** random.uniform(-1, 3, (10_000, 1))
    eta = 4 * times / ((starts**2).sum(1) + 4 * mu)
    evidence.requires("eta <= 4/(x0² + y0² + 4 mu)", times <= 1)
    ends = np.asarray(descend(jnp.asarray(starts), jnp.asarray(eta), mu, 20_000))
    evidence.finite("x and y at the end", ends)
    off = np.abs(np.nan_to_num(ends.prod(1), nan=1e300, posinf=1e300, neginf=-1e300) - mu)
    evidence.at_least("share with |xy - mu| < 1e-6 mu", float((off < 1e-6 * mu).mean()), 0.995)

    x, y = starts.T
    hessian = np.stack([np.stack([y**2, 2 * x * y - mu], -1), np.stack([2 * x * y - mu, x**2], -1)], -1)
    beyond = eta * np.linalg.eigvalsh(hessian)[:, -1] / 2
    evidence.at_least("the largest eta over 2/L", beyond.max(), 1.9)
    order = np.sort(beyond)[:: max(1, len(beyond) // 200)]
    evidence.series(
        f"mu = {mu:g}", np.linspace(0, 1, len(order)), order, axes=("share of starts", "η L/2 at the start")
    )
