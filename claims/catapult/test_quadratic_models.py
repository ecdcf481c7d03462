"""Why a catapult lands: in models homogeneous of degree two a large error makes the weights shorter.

A model of degree p has outputs f_a(θ) on n samples with f_a(cθ) = c^p f_a(θ) for c > 0; e = f - y are its errors, the
loss is |e|²/(2n), and the neural tangent kernel is K = J J'/n with the rows ∇f_a of J.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source
from eosbench.proof import Identity, prove_identity

WIDTH, INPUTS = 6, 4
FAR = 1e6  # a step size times an output beyond which a run counts as diverged; it is held there


def quadratic_form(weights, matrices):
    """½ θ'H_a θ."""
    return jnp.einsum("i,aij,j->a", weights, matrices, weights) / 2


def two_layers(weights, inputs):
    """A ReLU network without biases."""
    hidden, out = weights[:-WIDTH].reshape(WIDTH, INPUTS), weights[-WIDTH:]
    return jax.nn.relu(inputs @ hidden.T) @ out


def one_layer(weights, inputs):
    return inputs @ weights[:INPUTS]


def cubes(weights, inputs):
    return (inputs @ weights[:INPUTS]) ** 3


MODELS = {
    "quadratic forms": quadratic_form,
    "two layers with ReLU": two_layers,
    "one layer": one_layer,
    "cubes": cubes,
}


def samples(random, model, n):
    """Symmetric matrices for the quadratic forms, else inputs."""
    size = WIDTH * (INPUTS + 1)
    if model != "quadratic forms":
        return random.normal(size=(n, INPUTS))
    matrices = random.normal(size=(n, size, size))
    return (matrices + matrices.transpose(0, 2, 1)) / 2


@partial(jax.jit, static_argnames="of")
@partial(jax.vmap, in_axes=(None, 0, None))
def outputs(of, weights, data):
    """The outputs, and the largest eigenvalue of the kernel."""
    jacobian = jax.jacrev(of)(weights, data)
    return of(weights, data), jnp.linalg.eigvalsh(jacobian @ jacobian.T / len(jacobian))[-1]


@partial(jax.jit, static_argnames="of")
@partial(jax.vmap, in_axes=(None, 0, None, 0, 0))
def lengthened(of, weights, data, labels, eta):
    """By which part of eta |e|²/n a step of gradient descent makes |θ|² larger."""

    def loss(weights):
        return jnp.mean((of(weights, data) - labels) ** 2) / 2

    step = eta * jax.grad(loss)(weights)
    return (step @ step - 2 * step @ weights) / (2 * eta * loss(weights))


weight_norm = Claim(
    "catapult/weight-norm",
    source=Source("meltzer-catapult", "Abstract"),
    printed=(
        r"we show that for a certain range of learning rates the weight norm decreases whenever the loss becomes "
        r"large. [Of quadratic models and of two-layer, homogeneous networks, with $n$ errors $e$ and labels $y$: in "
        r"every step with $\eta\lambda < 4$ and $|e| > \frac{4|y|}{4 - \eta\lambda}$, $\lambda$ being the largest "
        r"eigenvalue of the neural tangent kernel $\nabla f_a \cdot \nabla f_b/n$; on one sample not with a smaller "
        r"$|e|$, if $e$ and $y$ are of opposite sign.]"
    ),
    expected="holds",
)


@weight_norm.check(
    model=["quadratic forms", "two layers with ReLU"],
    controls={
        "homogeneous of degree one": dict(model="one layer"),
        "homogeneous of degree three": dict(model="cubes"),
        "4.08 for 4": dict(four=4.08),
    },
)
def test_on_one_sample_the_bound_is_met(evidence, model, four=4.0):
    """The label (1 - s) f makes the error s f, and the norm is what it was where s eta λ = 4."""
    random = np.random.default_rng(evidence.seed())
    of, data = MODELS[model], samples(random, model, 1)
    weights = random.normal(size=(300, WIDTH * (INPUTS + 1)))
    f, top = map(np.asarray, outputs(of, weights, data))
    weights, f, top = weights[top > 1e-3], f[top > 1e-3], top[top > 1e-3]  # a ReLU that is off has no slope
    eta = random.uniform(0.2, 3.8, size=top.shape) / top

    def change(s):
        return np.asarray(lengthened(of, weights, data, (1 - s[:, None]) * f, eta))

    s = four / (eta * top)
    evidence.at_most("below the bound, what |θ|² gains", change(0.99 * s), 0.0)
    evidence.at_least("beyond it", change(1.01 * s), 0.0)
    # eta |e|² / n of it: -4/s + eta λ, a straight line in 1/s
    low, high = change(0.9 * s), change(1.1 * s)
    still = 1 / (1 / (0.9 * s) + low / (low - high) * (1 / (1.1 * s) - 1 / (0.9 * s)))
    bound = (4 - eta * top) * still / (still - 1)
    evidence.constant("(4 - ηλ)|e|/|y| where |θ| stays, least", four, bound.min(), 1e-6)
    evidence.constant("(4 - ηλ)|e|/|y| where |θ| stays, largest", four, bound.max(), 1e-6)
    axes = ("ηλ", "error over output where the weight norm stays")
    evidence.series(model, (eta * top)[:60], still[:60], axes=axes, style="points")


@weight_norm.check(
    model=["quadratic forms", "two layers with ReLU"],
    n=[2, 5, 20],
    controls={
        "homogeneous of degree one": dict(model="one layer", n=2),
        "ηλ from 4 to 8": dict(n=2, times=2.0),
        "labels as large as the outputs, whatever the errors": dict(n=2, size=1.0, bounded=False),
    },
)
def test_large_errors_on_several_samples(evidence, model, n, times=1.0, size=0.1, bounded=True):
    """From random weights, with random labels of a tenth of the outputs; those that do not meet the bound are left."""
    random = np.random.default_rng(evidence.seed())
    of, data = MODELS[model], samples(random, model, n)
    weights = random.normal(size=(1000, WIDTH * (INPUTS + 1)))
    f, top = map(np.asarray, outputs(of, weights, data))
    weights, f, top = weights[top > 1e-3], f[top > 1e-3], top[top > 1e-3]
    k = times * random.uniform(2.0, 4.0, size=top.shape)
    labels = random.normal(size=f.shape)
    labels *= size * np.linalg.norm(f, axis=1, keepdims=True) / np.linalg.norm(labels, axis=1, keepdims=True)
    error, label = np.linalg.norm(f - labels, axis=1), np.linalg.norm(labels, axis=1)
    met = (error * (4 - k / times) > 4 * label) if bounded else error > 0
    evidence.at_least("steps that meet the bound, of 1000", int(met.sum()), 300)
    change = np.asarray(lengthened(of, weights, data, labels, k / top))
    evidence.at_most("what |θ|² gains in these", change[met], 0.0)


@weight_norm.check(proves=True, controls={"4.08 for 4": dict(four="102/25")})
def test_a_step_in_every_dimension(evidence, four="4"):
    """With e for eta/n, G = J', errors r and labels y: G'θ = 2(r + y) is Euler's equation, of degree two.

    As r'G'Gr <= n λ |r|² and r'y >= -|r||y|, what is gained is at most -e |r| ((4 - eta λ)|r| - 4|y|), and on one
    sample just that where r and y are of opposite sign.
    """
    identity = Identity(
        (
            ("|θ|² after a step", "(w - e*G@r).T@(w - e*G@r)", "=", f"w.T@w - {four}*e*r.T@(r + y) + e**2*r.T@G.T@G@r"),
            ("with the two bounds", f"b*({four}*b - {four}*c - k*b)", "=", "b*((4 - k)*b - 4*c)"),
        ),
        "e b c k",
        {"w": ("p", "1"), "G": ("p", "n"), "r": ("n", "1"), "y": ("n", "1")},
        given=(("G.T@w", "2*(r + y)"),),
        remainder={"|θ|² after a step": "0 - 2*e*r.T@given1"},
    )
    evidence.proved("in every dimension", prove_identity(identity), identity.theorem)


@partial(jax.jit, static_argnames="steps")
@partial(jax.vmap, in_axes=(0, None, 0, None))
def descended(weights, matrices, eta, steps):
    """eta |f|, eta λ and |θ|² at each step of gradient descent on labels 0, and at its end."""

    def see(weights):
        rows = matrices @ weights
        kernel = rows @ rows.T / len(matrices)
        return eta * jnp.linalg.norm(rows @ weights) / 2, eta * jnp.linalg.eigvalsh(kernel)[-1], weights @ weights

    def loss(weights):
        return jnp.mean(quadratic_form(weights, matrices) ** 2) / 2

    def step(weights, _):
        seen = see(weights)
        return jnp.where(seen[0] > FAR, weights, weights - eta * jax.grad(loss)(weights)), seen

    last, path = jax.lax.scan(step, weights, length=steps)
    return tuple(jnp.append(values, end) for values, end in zip(path, see(last), strict=True))


def family(random, n, spread, size=8):
    """Symmetric matrices of either sign, the first with eigenvalues from 1 - spread to 1, the others the smaller."""
    axes = np.linalg.qr(random.normal(size=(n, size, size)))[0]
    values = random.uniform(1 - spread, 1, size=(n, 1, size)) * np.tile([1.0, -1.0], size // 2)
    return 0.3 ** np.arange(n)[:, None, None] * (axes * values) @ axes.transpose(0, 2, 1)


def largest(matrices):
    """m, of the statement."""
    return np.linalg.eigvalsh((matrices @ matrices).mean(0))[-1]


quadratic_models = Claim(
    "catapult/quadratic-models",
    source=Source("eosbench-statements", "Catapult, quadratic models"),
    printed=(
        r"Gradient descent on $\frac{1}{2n}\sum_a f_a^2$ with $f_a = \frac{1}{2}\theta^\top H_a \theta$, from every "
        r"start with $\eta m|\theta|^2 < 4$, where $m$ is the largest eigenvalue of $\frac{1}{n}\sum_a H_a^2$, tends "
        r"to $f = 0$, and $|\theta|$ falls in every step with $f \neq 0$; 4 is the largest such number. The largest "
        r"eigenvalue $\lambda$ of the neural tangent kernel $\frac{1}{n}\theta^\top H_a H_b \theta$ is at most "
        r"$m|\theta|^2$."
    ),
    expected="holds",
    uses=("catapult/weight-norm", "catapult/threshold"),
)


@quadratic_models.check(
    n=[1, 3],
    spread=[0.0, 0.2, 1.0],
    controls={"4.08 for 4": dict(n=1, spread=0.0, beyond=4.08), "4.5 for 4": dict(n=1, spread=0.2, beyond=4.5)},
)
def test_every_start_within_reach_converges(evidence, n, spread, beyond=3.92):
    """From 200 random directions; how far |θ|² can fall bounds the sum of |f|², whatever the number of steps."""
    random = np.random.default_rng(evidence.seed())
    matrices = family(random, n, spread)
    eta = np.full(200, beyond / largest(matrices))
    starts = random.normal(size=(200, 8))
    starts /= np.linalg.norm(starts, axis=1, keepdims=True)
    f, k, square = map(np.asarray, descended(starts, matrices, eta, 3000))
    evidence.at_most("what |θ|² gains in a step", np.diff(square, axis=1), 1e-12)  # of rounding
    evidence.at_most("η² times the sum of |f|²", (f**2).sum(1), n * eta / abs(4 - beyond))
    evidence.at_most("η|f| in the end", f[:, -1], 0.01)
    evidence.at_most("ηλ, less ηm|θ|²", k - eta[:, None] * largest(matrices) * square, 1e-12)


@quadratic_models.check(proves=True, controls={"4.08 for 4": dict(four="102/25")})
def test_the_norm_falls_until_the_output_is_zero(evidence, four="4"):
    """Of outputs f and G = J', with G'θ = 2f: |Gf|² <= |f|² sum of |H_aθ|² <= n m |θ|² |f|², by Cauchy and Schwarz.

    So |θ|² falls by at least eta/n (4 - eta m |θ|²) |f|² in a step, and that bracket never gets smaller: the sum of
    |f|² is finite. With one H of H² = 1, which is the linear network of two layers, f grows from almost every start
    beyond 4, where the bracket of the second equation is negative.
    """
    identity = Identity(
        (
            ("|θ|² after a step", "(w - e*G@f).T@(w - e*G@f)", "=", f"w.T@w - {four}*e*f.T@f + e**2*f.T@G.T@G@f"),
            ("|θ|² after a step, H² = 1", "U.T@U", "=", f"w.T@w - eta*F**2*({four} - eta*w.T@w)"),
            ("f after a step, H² = 1", "1/2*U.T@H@U", "=", "F*(1 - eta*w.T@w + eta**2*F**2)"),
        ),
        "e eta",
        {"w": ("p", "1"), "G": ("p", "n"), "f": ("n", "1"), "H": ("p", "p", "symmetric")},
        where={"F": "1/2*w.T@H@w", "U": "w - eta*F*H@w"},
        given=(("G.T@w", "2*f"), ("H@H@w", "w")),
        remainder={
            "|θ|² after a step": "0 - 2*e*f.T@given1",
            "|θ|² after a step, H² = 1": "eta**2*F**2*w.T@given2",
            "f after a step, H² = 1": "0 - eta*F*w.T@given2 + 1/2*eta**2*F**2*w.T@H@given2",
        },
    )
    evidence.proved("in every dimension", prove_identity(identity), identity.theorem)


rise_and_fall = Claim(
    "catapult/rise-and-fall",
    source=Source("eosbench-statements", "Catapult, rise and fall"),
    printed=(
        r"Where such a start is near $f = 0$ and $\eta\lambda > 2$ there, the loss at first grows, from almost every "
        r"one, tends to 0 in the end, and $\eta\lambda$ ends at 2 or below."
    ),
    expected="holds",
    uses=("catapult/quadratic-models",),
)


@rise_and_fall.check(
    n=[1, 2],
    times=[2.02, 2.4, 3.0],
    controls={"ηλ = 1.9": dict(n=1, times=1.9), "ηλ = 4.08, with H² = 1": dict(n=1, times=4.08, spread=0.0)},
)
def test_the_loss_rises_and_falls(evidence, n, times, spread=0.1):
    """From 100 points near a solution, found by Newton's method on f, where ηm|θ|² < 4."""
    random = np.random.default_rng(evidence.seed())
    matrices = family(random, n, spread)
    starts = random.normal(size=(100, 8))
    for _ in range(30):
        rows = np.einsum("aij,sj->sai", matrices, starts)
        f = np.einsum("sai,si->sa", rows, starts) / 2
        starts = starts - np.einsum("sia,sa->si", np.linalg.pinv(rows), f)
    starts = starts * (1 + 1e-4 * random.normal(size=starts.shape))
    _, top = map(np.asarray, outputs(quadratic_form, starts, matrices))
    eta = times / top
    reached = eta * largest(matrices) * (starts**2).sum(1) < 4
    evidence.at_least("starts within reach, of 100", int(reached.sum()), 50 if times < 4 else 0)
    kept = reached if times < 4 else slice(None)
    f, k, _ = map(np.asarray, descended(starts[kept], matrices, eta[kept], 3000))
    evidence.at_least("largest |f| over that of the start", f.max(1) / f[:, 0], 10.0)
    evidence.at_most("last |f| over that of the start", f[:, -1] / f[:, 0], 1e-3)
    evidence.at_most("ηλ in the end", k[:, -1], 2.0)
    axes = ("step", "η|f|")
    evidence.series(
        f"n = {n}, ηλ = {times:g} at the start", np.arange(80), f[0, :80] + 1e-17, axes=axes, scale="semilogy"
    )


kernel_at_the_start = Claim(
    "catapult/kernel-at-the-start",
    source=Source("eosbench-statements", "Catapult, kernel at the start"),
    printed=(
        r"With $\lambda$ at the start in place of $m|\theta|^2$ there is no such number: with $f = "
        r"\frac{1}{2}(a^2 + M c^2)$, $M > 0$, from $a^2 = M^2c^2$ gradient descent diverges if $M + 1 > "
        r"\frac{4}{\eta\lambda}(1 + \sqrt{8/(\eta\lambda)})$. Nor is there one beyond 2.1 near a solution: with "
        r"$f = \frac{1}{2}(a^2 - b^2 + 100c^2)$ it diverges from $f = 10^{-4}$, $b = 1$ and $c = 10^{-3}$ at "
        r"$\eta\lambda = 2.1$; with $c = 0$ it converges."
    ),
    expected="holds",
)


@kernel_at_the_start.check(controls={"3.92 for 4": dict(four="98/25"), "7.84 for 8": dict(eight="196/25")})
def test_the_stiff_weight_grows_in_every_step(evidence, four="4", eight="8"):
    """With x = eta M² c² and g = eta M a²/2 >= 0. Beyond 4, d = x - 4 grows by a growing factor, and so c diverges.

    At the start x = k/2 and g = M k/4, where k = eta λ; with k r² = 8 and M + 1 above 4/k (1 + r) by 4 s/k.
    """
    factor = "the factor of x"
    statements = (
        ("x after a step", "eta*M**2*(c - eta/2*(a**2 + M*c**2)*M*c)**2", "=", "x*(1 - x/2 - g)**2"),
        (factor, "(1 - (4 + d)/2 - G)**2", ">", "1"),
        ("x after the first step", "k/2*(1 - k/4 - M*k/4)**2", "=", f"{four} + k*r*s + k/2*s**2"),
    )
    identity = Identity(
        statements,
        "eta M a c d G k r s",
        where={"x": "eta*M**2*c**2", "g": "eta*M*a**2/2"},
        given=(("k*r**2", eight), ("k*(M + 1)", f"{four}*(1 + r + s)")),
        positive="d",
        nonnegative="G",
        remainder={"x after the first step": "1/2*given1 + k/2*(1/4*given2)*(1/4*k*(M + 1) - 1 + r + s)"},
        excess={factor: "d + 2*G + (d/2 + G)**2"},
    )
    evidence.proved("from every such start", prove_identity(identity), identity.theorem)


@kernel_at_the_start.check(
    times=[0.05, 0.5, 1.9, 3.9],
    controls={"M + 1 a fifth of that": dict(times=0.5, share=0.2), "M = 1": dict(times=1.9, stiffness=1.0)},
)
def test_far_from_a_solution(evidence, times, share=1.001, stiffness=None):
    stiffness = stiffness or share * 4 / times * (1 + np.sqrt(8 / times)) - 1
    start = np.array([[1.0, 1 / stiffness]])
    f, k, _ = map(np.asarray, descended(start, np.diag([1.0, stiffness])[None], np.array([times / 2]), 200))
    evidence.close("ηλ at the start", k[0, 0], times, 1e-12)
    evidence.at_least("η|f| in the end", f[0, -1], FAR)


@kernel_at_the_start.check(
    start=[2.1, 2.5, 3.5],
    controls={"without the stiff weight": dict(start=2.1, stiff=0.0), "below the edge": dict(start=1.9)},
)
def test_near_a_solution(evidence, start, stiff=1e-3):
    matrix = np.diag([1.0, -1.0, 100.0])
    weights = np.array([[np.sqrt(2e-4 + 1 - 100 * stiff**2), 1.0, stiff]])
    f, top = map(np.asarray, outputs(quadratic_form, weights, matrix[None]))
    evidence.close("f at the start", f[0, 0], 1e-4, 1e-12)
    f, _, _ = map(np.asarray, descended(weights, matrix[None], start / top, 2000))
    evidence.at_least("η|f| in the end", f[0, -1], FAR)
    last = int(np.argmax(f[0] > FAR)) or len(f[0]) - 1
    evidence.series(f"ηλ = {start:g}", np.arange(last + 1), f[0, : last + 1], axes=("step", "η|f|"), scale="semilogy")
