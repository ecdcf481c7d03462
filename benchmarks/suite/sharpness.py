"""What sharpness costs, over versions.

Counts are exact and gate (`eosbench bench`): products and traces at a fixed accuracy, with the true relative error
beside them, since fewer products with a larger error are no gain. Times are CPU seconds of a warm call, of the first
call seconds by the clock, and only inform. JAX is imported where it is needed: asv reads this file on commits and
machines that may lack it, and a benchmark whose names a commit does not have is skipped there.
"""

import functools
import time

STEPS = 60


def problem(spectrum, dtype, size):
    """A quadratic with a known largest eigenvalue of 1, and where to stand: `degenerate` has four within 0.5 %."""
    import jax
    import jax.numpy as jnp
    from jax.tree_util import Partial

    jax.config.update("jax_enable_x64", True)
    top = {"separated": [1.0, 0.8, 0.6, 0.4], "degenerate": [1.0, 0.999, 0.997, 0.995]}[spectrum]
    bulk = jnp.linspace(-0.1, 0.3, size - 4)
    eigenvalues = jnp.concatenate([jnp.array(top), bulk]).astype(dtype)
    return Partial(diagonal, eigenvalues), jnp.ones(size, dtype)


def diagonal(eigenvalues, x):
    return (eigenvalues * x**2).sum() / 2


def network():
    """Loss and parameters of the tanh network on digits, and a recipe of an optimizer at the edge of stability."""
    import jax
    import optax
    from jax.tree_util import Partial

    from eosbench.problems import digits, mlp

    loss, params = mlp(digits(300), jax.random.key(0), width=32)
    return loss, params, Partial(optax.sgd, 0.4)


def api():
    """The public names measured here; asv skips a commit that does not have them."""
    try:
        from eosbench import Sharpness, sharpness, train
    except ImportError:
        raise NotImplementedError from None
    return Sharpness, sharpness, train


class Warm:
    """How asv takes times here: of warm calls, in CPU seconds."""

    number = 1
    repeat = (3, 10, 5.0)
    rounds = 1
    warmup_time = 0.0
    timer = time.process_time


class Cold(Warm):
    """A cold solve to 1e-3 from a random start: spectrum, precision and size of a quadratic."""

    params = ("separated float32 4096", "degenerate float64 4096", "separated float32 262144")
    param_names = ("problem",)
    timeout = 120

    def setup(self, name):
        _, sharpness, _ = api()
        spectrum, dtype, size = name.split()
        loss, point = problem(spectrum, dtype, int(size))
        self.solve = lambda: sharpness(loss, point, rtol=1e-3)
        self.spectrum = self.solve()

    def track_hvps(self, name):
        return int(self.spectrum.hvps)

    def track_error(self, name):
        return abs(float(self.spectrum.values[0]) - 1)

    track_error.unit = "relative"

    def time_solve(self, name):
        self.solve().values.block_until_ready()


class Tracked(Warm):
    """Training of a network with its sharpness at every step, to 1e-3, through the crossing of 2/eta."""

    timeout = 300
    repeat = (3, 5, 10.0)

    def setup(self):
        self.Sharpness, self.sharpness, self.train = api()
        self.loss, self.start, self.optimizer = network()
        self.probes = {"sharpness": self.Sharpness(rtol=1e-3)}
        self.run = self.train(self.loss, self.start, self.optimizer, 4 * STEPS, self.probes)
        self.train(self.loss, self.start, self.optimizer, 4 * STEPS)  # compiles

    def track_hvps(self):
        return int(self.run.probes["sharpness"].hvps.sum())

    def track_error(self):
        """The largest relative error at four steps, against cold solves to 1e-6."""
        worst = 0.0
        for steps in range(STEPS, 4 * STEPS, STEPS):
            here = self.train(self.loss, self.start, self.optimizer, steps).params
            exact = float(self.sharpness(self.loss, here, rtol=1e-6, throw=False).values[0])
            worst = max(worst, abs(float(self.run.probes["sharpness"].values[steps][0]) / exact - 1))
        return worst

    track_error.unit = "relative"

    def track_recompilations(self):
        """How many programs another start of the same shapes makes JAX compile."""
        import jax

        compiled = []
        jax.monitoring.register_event_duration_secs_listener(
            lambda event, *_, **__: compiled.append(event) if event.endswith("jaxpr_to_mlir_module_duration") else None
        )
        start = jax.tree.map(lambda x: 1.01 * x, self.start)
        self.train(self.loss, self.start, self.optimizer, STEPS, self.probes)
        first = len(compiled)
        self.train(self.loss, start, self.optimizer, STEPS, self.probes)
        return len(compiled) - first

    def time_train_with_sharpness(self):
        self.train(self.loss, self.start, self.optimizer, 4 * STEPS, self.probes).loss.block_until_ready()

    def time_train_without(self):
        self.train(self.loss, self.start, self.optimizer, 4 * STEPS).loss.block_until_ready()


@functools.cache
def calls():
    """What `Product` times, compiled: asv sets a benchmark up again for each of its samples."""
    try:
        import jax
        from jax.flatten_util import ravel_pytree

        from eosbench.curvature import MicroBatched, directional_derivatives
    except ImportError:
        raise NotImplementedError from None
    loss, start, _ = network()
    x, unravel = ravel_pytree(start)

    def mean(x, chunk):
        return type(loss)(*chunk, loss.network, loss.per_sample)(unravel(x))

    def flat(x):
        return loss(unravel(x))

    def product(loss, v):
        return jax.jvp(jax.grad(loss), (x,), (v,))[1]

    def repeated(step):
        return jax.jit(lambda v: jax.lax.fori_loop(0, 200, lambda _, v: step(v), v))

    chunks = MicroBatched(mean, (loss.inputs, loss.targets), size=64)
    compiled = {
        "gradients": repeated(lambda x: x - 1e-6 * jax.grad(flat)(x)),
        "products": repeated(lambda v: product(flat, v) / 10),
        "micro-batched": jax.jit(lambda v: product(chunks, v)),
        "derivatives": lambda v: directional_derivatives(loss, start, v, order=4),
    }
    for function in compiled.values():
        function(x).block_until_ready()
    return {name: lambda function=function: function(x).block_until_ready() for name, function in compiled.items()}


class Product(Warm):
    """One Hessian-vector product of the tanh network, and what is built on it."""

    timeout = 120
    number = 20

    def setup(self):
        self.calls = calls()

    def track_product_in_gradients(self):
        """The fastest of twenty compiled loops of products over the fastest of gradients, by the clock."""
        fastest = []
        for loop in (self.calls["products"], self.calls["gradients"]):
            seconds = []
            for _ in range(20):
                begun = time.perf_counter()
                loop()
                seconds.append(time.perf_counter() - begun)
            fastest.append(min(seconds))
        return fastest[0] / fastest[1]

    track_product_in_gradients.unit = "gradients"

    def time_micro_batched_product(self):
        self.calls["micro-batched"]()

    def time_higher_derivatives(self):
        self.calls["derivatives"]()


class Memory:
    """Peak memory of one cold solve at a size where JAX itself no longer decides it."""

    timeout = 300

    def setup(self):
        api()

    def peakmem_cold(self):
        import jax.numpy as jnp

        _, sharpness, _ = api()
        sharpness(
            lambda x: (jnp.linspace(0, 1, 2_000_000) * x**2).sum() / 2, jnp.ones(2_000_000), rtol=1e-2, throw=False
        )


def timeraw_first_call():
    """A fresh process: import, trace, compile and solve."""
    return """
    import jax.numpy as jnp
    from eosbench import sharpness
    sharpness(lambda x: ((x**2 - 1) ** 2).sum() / 4, jnp.full(300, 1.5))
    """


timeraw_first_call.number = 1
timeraw_first_call.repeat = 3


def track_jax_version():
    """The JAX that was really imported, 0.10.2 as 1002: pins have been seen to be overridden silently."""
    import jax

    major, minor, patch = (int(part) for part in jax.__version__.split(".")[:3])
    return 10_000 * major + 100 * minor + patch
