"""How the size of batches drawn without replacement moves the threshold of SGD, and the noise of its steps."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from eosbench import Claim, Source
from eosbench.dynamics import mean_square_growth, onset
from eosbench.proof import Identity, prove_identity

from .setting import batches, sgd_maps

N = 5
MOST = 10  # batches of one size, at most


def samples(seed):
    """Hessians of five samples in three dimensions, of rank one and two."""
    random = np.random.default_rng(seed)
    factors = random.normal(size=(N, 3, 2)) * np.where(np.arange(N) % 2, 1.0, 0.0)[:, None, None]
    factors[..., 0] = random.normal(size=(N, 3))
    return factors @ factors.transpose(0, 2, 1)


@jax.jit
def growth(etas, hessians, weights):
    """Of E|x|² at each step size, where a step is on one of these with such a probability."""
    return mean_square_growth(jax.vmap(sgd_maps, (0, None))(etas, hessians), weights)


def edge(hessians, rows, weights):
    """The step size from which on the mean square grows, in units of 2/λ_1; each row chooses its samples."""
    chosen = jnp.zeros((MOST, 3, 3)).at[: len(rows)].set(np.einsum("bn,nij->bij", rows, hessians))
    shares = jnp.zeros(MOST).at[: len(rows)].set(weights)
    top = np.linalg.eigvalsh(hessians.mean(0))[-1]
    return onset(lambda etas: growth(jnp.asarray(etas), chosen, shares), 0.05 / top, 2.5 / top).value * top / 2


mixture = Claim(
    "sgd/mixture",
    source=Source("mulayoff-michaeli", "Abstract"),
    printed=(
        "the stability threshold is monotonically non-decreasing in the batch size ... SGD's stability threshold is "
        "equivalent to that of a mixture process which takes in each iteration a full batch gradient step w.p. "
        r"$1-p$, and a single sample gradient step w.p. $p$, where $p \approx 1/B$. [Batches of $B$ out of $n$ "
        r"without replacement, and $p = \frac{n - B}{B(n - 1)}$.]"
    ),
    expected="holds",
)


@mixture.check(
    replicate=[0, 1, 2],
    controls={"p = 1/B": dict(one=0, less=0), "n for n - 1": dict(one=0)},
)
def test_the_mixture_has_the_threshold_of_sgd(evidence, replicate, one=1, less=1):
    hessians, ratios, edges = samples(evidence.seed(replicate)), [], []
    for size in range(1, N + 1):
        p = (N - less * size) / (size * (N - one))
        rows = batches(N, size)
        of_sgd = edge(hessians, rows, np.full(len(rows), 1 / len(rows)))
        mixed = np.vstack([np.full(N, 1 / N), np.eye(N)])
        of_mixture = edge(hessians, mixed, np.array([1 - p, *np.full(N, p / N)]))
        ratios.append(of_mixture / of_sgd)
        edges.append(of_sgd)
    evidence.constant("threshold of the mixture over that of SGD", 1.0, np.array(ratios), 1e-8)
    evidence.monotone("threshold as the batch grows", edges, direction="increasing")
    evidence.constant("eta λ_1/2 of the full batch", 1.0, edges[-1], 1e-8)
    axes = ("batch size", "η λ_1/2 at the threshold")
    evidence.series(f"samples {replicate}", np.arange(1, N + 1), edges, axes=axes)


@mixture.check(controls={"p = 51/200 in place of 1/4": dict(p="51/200")})
def test_two_of_three_samples_are_a_mixture_in_every_dimension(evidence, p="1/4"):
    """What one step makes of a second moment S agrees to first order in eta, as the mean Hessian is the same."""
    two = " + ".join(f"1/12*({a} + {b})@S@({a} + {b})" for a, b in ("FG", "GH", "FH"))
    whole, one = "1/9*(F + G + H)@S@(F + G + H)", "1/3*(F@S@F + G@S@G + H@S@H)"
    identity = Identity(
        (("E[H_B S H_B]", two, "=", f"(1 - {p})*({whole}) + {p}*({one})"),),
        matrices=dict.fromkeys("FGHS", ("p", "p", "symmetric")),
    )
    evidence.proved("n = 3 and B = 2", prove_identity(identity), identity.theorem)


@jax.jit
def step_covariance(eta, gradients, rows):
    """That of one step of optax's SGD over all batches, a row for each."""
    optimizer = optax.sgd(eta)
    zero = jnp.zeros(gradients.shape[1])
    steps = jax.vmap(lambda row: optimizer.update(row @ gradients, optimizer.init(zero), zero)[0])(rows)
    return jnp.cov(steps, rowvar=False, bias=True)


without_replacement = Claim(
    "sgd/without-replacement",
    source=Source("eosbench-statements", "Stochastic gradients, without replacement"),
    printed=(
        r"A step of SGD on a batch of $B$ out of $n$ samples, drawn without replacement, has the covariance $\eta^2 "
        r"\frac{n - B}{B(n - 1)} \Sigma$, where $\Sigma$ is that of the gradients of the $n$ samples; drawn with "
        r"replacement it would be $\eta^2 \frac{1}{B} \Sigma$."
    ),
    expected="holds",
)


@without_replacement.check(
    size=[1, 2, 5, 11, 12],
    controls={
        "with replacement": dict(size=5, replaced=True),
        "n for n - 1": dict(size=2, one=0),
        "1/B for a large batch": dict(size=11, replaced=True),
    },
)
def test_the_covariance_over_all_batches(evidence, size, replaced=False, one=1, n=12):
    gradients = np.random.default_rng(evidence.seed()).normal(size=(n, 3))
    sigma, eta = np.cov(gradients, rowvar=False, bias=True), 0.1
    factor = 1 / size if replaced else (n - size) / (size * (n - one))
    measured = np.asarray(step_covariance(eta, jnp.asarray(gradients), jnp.asarray(batches(n, size))))
    evidence.close("covariance of a step", measured, eta**2 * factor * sigma, 1e-12 * eta**2)
    if size == 1:
        sizes, axes = np.arange(1, n + 1), ("batch size", "covariance, of that of single samples")
        traces = [
            np.trace(step_covariance(1.0, jnp.asarray(gradients), jnp.asarray(batches(n, b))))
            for b in (1, 2, 5, 11, 12)
        ]
        evidence.series("measured", [1, 2, 5, 11, 12], np.array(traces) / np.trace(sigma), axes=axes, style="points")
        evidence.series("without replacement", sizes, (n - sizes) / (sizes * (n - 1)), axes=axes)
        evidence.series("with replacement", sizes, 1 / sizes, axes=axes)
