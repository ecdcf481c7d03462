"""The sharpness core beside its peers, at the edge of stability: prints tables of products, errors and time.

    taskset -c 0 python benchmarks/peers.py [windows] [peers] [cold] [scaling] [memory] [torch]

The last one needs the extra `peers`. The column A/A of `windows` is the same measurement taken twice: the run's noise.

Tanh MLP 64-200-200-10 with 500 standardized digits, half squared error, full-batch gradient descent with eta = 0.15,
float32. JAX's lobpcg multiplies its tolerance by ten times the dimension, so it is divided by that first. Times are
ratios within one process: medians of interleaved repetitions. One core, so that threads do not contend.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.sparse.linalg
from jax.experimental.sparse.linalg import lobpcg_standard
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial
from loop import begun, compiled
from matfree import decomp, eig
from sklearn.datasets import load_digits
from tabulate import tabulate

from eosbench import Sharpness, sharpness, train
from eosbench.curvature import linearize

ETA = 0.15
RTOL = 1e-3
WINDOWS = (1300, 0, 250)
STEPS = 100


def half_squared_error(inputs: Any, targets: Any, params: Any) -> Any:
    hidden = inputs
    for weight, bias in params[:-1]:
        hidden = jnp.tanh(hidden @ weight + bias)
    weight, bias = params[-1]
    return 0.5 * jnp.mean(jnp.sum((hidden @ weight + bias - targets) ** 2, axis=1))


def problem(n: int = 500, widths: tuple[int, ...] = (64, 200, 200, 10)) -> tuple[Partial, list]:
    """The loss and its initial parameters; more than 1,797 samples repeat the digits with noise."""
    images, labels = load_digits(return_X_y=True)
    rows = np.arange(n) % len(images)
    kept = images[: min(n, len(images))]
    inputs = ((images - kept.mean(0)) / (kept.std(0) + 1e-8))[rows]
    inputs = inputs + (0.1 * np.random.default_rng(0).standard_normal(inputs.shape) if n > len(images) else 0)
    loss = Partial(half_squared_error, jnp.asarray(inputs, jnp.float32), jax.nn.one_hot(labels[rows], 10))
    keys = jax.random.split(jax.random.key(0), len(widths) - 1)
    params = [
        (jax.random.normal(key, (a, b), jnp.float32) / np.float32(np.sqrt(a)), jnp.zeros(b, jnp.float32))
        for key, a, b in zip(keys, widths[:-1], widths[1:], strict=True)
    ]
    return loss, params


def seconds(functions: dict[str, Callable[[], Any]], repetitions: int = 5) -> dict[str, float]:
    """Medians of interleaved repetitions, after one call of each that compiles."""
    for function in functions.values():
        jax.block_until_ready(function())
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repetitions):
        for name, function in functions.items():
            start = time.perf_counter()
            jax.block_until_ready(function())
            times[name].append(time.perf_counter() - start)
    return {name: float(np.median(values)) for name, values in times.items()}


def starts() -> dict[int, Any]:
    loss, params = problem()
    found, step = {}, 0
    for window in sorted({*WINDOWS, 300}):
        if window > step:
            params = train(loss, params, Partial(optax.sgd, ETA), window - step).params
        found[window], step = params, window
    return found


def trajectory(params: Any, steps: int) -> np.ndarray:
    """Parameters before each step, flat, shape (steps, p)."""
    loss, _ = problem()
    probes = {"x": lambda params: ravel_pytree(params)[0]}
    return np.asarray(train(loss, params, Partial(optax.sgd, ETA), steps, probes).probes["x"])


def references(points: np.ndarray, unravel: Callable) -> np.ndarray:
    """Largest eigenvalues to 1e-5, from a block of three, cold."""
    loss, _ = problem()
    return np.asarray(
        [float(sharpness(loss, unravel(x), k=3, rtol=1e-5, max_hvps=5000, throw=False).values[0]) for x in points]
    )


def windows() -> None:
    """Sharpness at every step, tracked."""
    loss, params = problem()
    unravel = ravel_pytree(params)[1]
    sgd = Partial(optax.sgd, ETA)
    rows = []
    for window in WINDOWS:
        start = starts()[window]
        sampled = np.arange(0, STEPS, 2)
        reference = references(trajectory(start, STEPS)[sampled], unravel)
        # A state at the window's first step, so that the cold solve there is not counted as tracking.
        first = train(loss, start, sgd, 1, {"s": Sharpness()}).state
        plain = train(loss, start, sgd, 1).state
        with_probe = lambda first=first: train(loss, first, sgd, STEPS, {"s": Sharpness()})  # noqa: E731
        without = lambda plain=plain: train(loss, plain, sgd, STEPS)  # noqa: E731
        cold = lambda start=start: train(loss, start, sgd, STEPS, {"s": Sharpness()})  # noqa: E731
        times = seconds({"plain": without, "tracked": with_probe, "again": with_probe, "with cold start": cold})
        track = cold().probes["s"]
        values, hvps = np.asarray(track.values)[:, 0], np.asarray(track.hvps)
        error = (reference - values[sampled]) / reference
        rows.append(
            [
                f"{window}-{window + STEPS}",
                hvps.mean(),
                hvps.max(),
                error.max(),
                int(track.converged.sum()),
                times["plain"] / STEPS * 1e3,
                times["tracked"] / times["plain"],
                times["again"] / times["tracked"],
                times["with cold start"] / times["plain"],
            ]
        )
    headers = [
        "steps",
        "products",
        "most",
        "largest error",
        "converged",
        "plain ms/step",
        "wall ratio",
        "A/A",
        "with cold start",
    ]
    print(tabulate(rows, headers, floatfmt=(".0f", ".2f", ".0f", ".1e", ".0f", ".2f", ".1f", ".2f", ".1f")), flush=True)


def peers(window: int = 1300, steps: int = 20) -> None:
    """What others need at the same points, warm from the step before."""
    loss, params = problem()
    unravel = ravel_pytree(params)[1]
    start = starts()[window]
    points = trajectory(start, steps)
    reference = references(points, unravel)
    sgd = Partial(optax.sgd, ETA)
    plain = seconds({"plain": lambda: train(loss, start, sgd, STEPS)})["plain"] / STEPS
    product = jax.jit(lambda loss, x, v: linearize(loss, unravel(x)).product(v))
    rows = []

    def row(name: str, solve: Callable[[np.ndarray, Any], tuple[float, int, Any]]) -> None:
        carried = None
        _, _, carried = solve(points[0], carried)
        solve(points[1], carried)
        begin, values, products = time.perf_counter(), [], []
        for x in points:
            value, count, carried = solve(x, carried)
            values.append(value)
            products.append(count)
        spent = (time.perf_counter() - begin) / steps
        error = np.abs(reference - values) / reference
        rows.append([name, np.mean(products), error.max(), spent / plain])

    def scipy_eigsh(x: np.ndarray, carried: Any) -> tuple[float, int, Any]:
        x, count = jnp.asarray(x), [0]

        def matvec(v: np.ndarray) -> np.ndarray:
            count[0] += 1
            return np.asarray(product(loss, x, jnp.asarray(v.ravel(), jnp.float32)))

        operator = scipy.sparse.linalg.LinearOperator((x.size, x.size), matvec=matvec, dtype=np.float32)
        values, vectors = scipy.sparse.linalg.eigsh(operator, 1, which="LA", tol=RTOL, v0=carried)
        return float(values[-1]), count[0], vectors[:, -1]

    @jax.jit
    def lobpcg_k4(loss: Any, x: Any, block: Any) -> Any:
        point = linearize(loss, unravel(x))
        return lobpcg_standard(lambda columns: point.products(columns.T).T, block, m=100, tol=RTOL / (10 * x.size))

    @jax.jit
    def matfree_10(loss: Any, x: Any, vector: Any) -> Any:
        point = linearize(loss, unravel(x))
        values, vectors = eig.eigh_partial(decomp.tridiag_sym(10))(point.product, vector)
        return values[-1], vectors[-1] / jnp.linalg.norm(vectors[-1])

    def jax_lobpcg(x: np.ndarray, carried: Any) -> tuple[float, int, Any]:
        block = jax.random.normal(jax.random.key(0), (x.size, 4), jnp.float32) if carried is None else carried
        values, vectors, iterations = lobpcg_k4(loss, jnp.asarray(x), block)
        return float(values[0]), 4 * (4 * int(iterations) + 1), vectors

    def matfree_lanczos(x: np.ndarray, carried: Any) -> tuple[float, int, Any]:
        vector = jax.random.normal(jax.random.key(0), (x.size,), jnp.float32) if carried is None else carried
        value, vector = matfree_10(loss, jnp.asarray(x), vector)
        return float(value), 10, vector

    row("SciPy eigsh, tol 1e-3, warm", scipy_eigsh)
    row("JAX lobpcg_standard, k = 4, warm", jax_lobpcg)
    row("matfree, 10 Lanczos steps, warm (no bound)", matfree_lanczos)
    first = train(loss, start, sgd, 1, {"s": Sharpness()}).state
    spent = seconds({"ours": lambda: train(loss, first, sgd, STEPS, {"s": Sharpness()})})["ours"] / STEPS
    track = train(loss, start, sgd, steps, {"s": Sharpness()}).probes["s"]
    error = np.abs(reference - np.asarray(track.values)[:, 0]) / reference
    rows.append(["eosbench.Sharpness, block 4", float(track.hvps.mean()), error.max(), spent / plain])
    print(
        tabulate(rows, ["peer", "products", "largest error", "wall / plain step"], floatfmt=("", ".1f", ".1e", ".1f"))
    )
    print("(the time of a peer is its solve alone; that of eosbench is training with it)", flush=True)


def depth(loss: Any, params: Any, reference: float, seed: int) -> int:
    """The smallest depth at which Lanczos from this random start is within RTOL of the reference."""
    steps = 60
    x, unravel = ravel_pytree(params)

    @jax.jit
    def tridiagonal(loss: Any, x: Any, start: Any) -> Any:
        point = linearize(loss, unravel(x))
        return decomp.tridiag_sym(steps, reortho="full")(point.product, start / jnp.linalg.norm(start))[1]

    matrix = np.asarray(tridiagonal(loss, x, jax.random.normal(jax.random.key(seed), x.shape)), float)
    for d in range(1, steps):
        if np.linalg.eigvalsh(matrix[:d, :d])[-1] >= reference * (1 - RTOL):
            return d
    return steps


def cold() -> None:
    """From no knowledge but the point."""
    rows = []
    loss, params = problem()
    unravel = ravel_pytree(params)[1]
    for step in (0, 300, 1300):
        at = starts()[step]
        x = ravel_pytree(at)[0]
        reference = references(np.asarray(x)[None], unravel)[0]
        depths = [depth(loss, at, reference, seed) for seed in range(9)]
        ours = [sharpness(loss, at, key=jax.random.key(seed), throw=False) for seed in range(9)]
        product = jax.jit(lambda loss, x, v: linearize(loss, unravel(x)).product(v))
        count = [0]

        def eigsh(tol: float, x: Any = x, product: Any = product, count: Any = count) -> float:
            def matvec(v: np.ndarray) -> np.ndarray:
                count[0] += 1
                return np.asarray(product(loss, x, jnp.asarray(v.ravel(), jnp.float32)))

            operator = scipy.sparse.linalg.LinearOperator((x.size, x.size), matvec=matvec, dtype=np.float32)
            start = np.random.default_rng(0).standard_normal(x.size).astype(np.float32)
            return float(scipy.sparse.linalg.eigsh(operator, 1, which="LA", tol=tol, v0=start)[0][-1])

        @jax.jit
        def lobpcg(loss: Any, x: Any) -> Any:
            point = linearize(loss, unravel(x))
            block = jax.random.normal(jax.random.key(0), (x.size, 4), jnp.float32)
            return lobpcg_standard(lambda c: point.products(c.T).T, block, m=100, tol=RTOL / (10 * x.size))

        count[0] = 0
        value = eigsh(RTOL)
        scipy_products = count[0]
        values, _, iterations = lobpcg(loss, x)
        times = seconds(
            {
                "ours": lambda at=at: sharpness(loss, at, throw=False).values,
                "eigsh": lambda: eigsh(RTOL),
                "lobpcg": lambda x=x, lobpcg=lobpcg: lobpcg(loss, x)[0],
            }
        )
        errors = [(reference - float(s.values[0])) / reference for s in ours]
        products = [int(s.hvps) for s in ours]
        d = float(np.median(depths))
        rows += [
            [
                step,
                "Lanczos depth d",
                f"{d:.0f} ({min(depths)}-{max(depths)})",
                RTOL,
                None,
                f"bar {max(1.3 * d, d + 6):.1f}",
            ],
            [
                step,
                "eosbench",
                f"{np.median(products):.0f} ({min(products)}-{max(products)})",
                max(errors),
                times["ours"],
                "",
            ],
            [step, "SciPy eigsh tol 1e-3", scipy_products, (reference - value) / reference, times["eigsh"], ""],
            [
                step,
                "JAX lobpcg k = 4",
                4 * (4 * int(iterations) + 1),
                (reference - float(values[0])) / reference,
                times["lobpcg"],
                "",
            ],
        ]
    print(
        tabulate(rows, ["step", "solver", "products", "error", "seconds", ""], floatfmt=("", "", "", ".1e", ".3f")),
        flush=True,
    )


def scaling() -> None:
    """Time of a product in units of a gradient."""
    rows = []
    for n, width in ((500, 200), (2000, 200), (8000, 200), (500, 680), (500, 2200)):
        loss, params = problem(n, (64, width, width, 10))
        x, unravel = ravel_pytree(params)
        count = 8 if x.size < 1e6 else 3
        scan = lambda body, start, count=count: jax.lax.scan(lambda c, _: (body(c), None), start, None, length=count)[0]  # noqa: E731

        @jax.jit
        def gradients(loss: Any, x: Any, scan: Any = scan, unravel: Any = unravel) -> Any:
            return scan(lambda x: x - 1e-6 * jax.grad(lambda x: loss(unravel(x)))(x), x)

        @jax.jit
        def products(loss: Any, x: Any, scan: Any = scan, unravel: Any = unravel) -> Any:
            point = linearize(loss, unravel(x))
            return scan(lambda v: point.product(v) / 10, x)

        times = seconds(
            {
                "gradient": lambda loss=loss, x=x, f=gradients: f(loss, x),
                "product": lambda loss=loss, x=x, f=products: f(loss, x),
            }
        )
        gradient, product = times["gradient"] / count, times["product"] / count
        rows.append([x.size, n, gradient * 1e3, product * 1e3, product / gradient, product / x.size / n * 1e12])
    headers = ["p", "n", "gradient ms", "product ms", "ratio", "product ps per p n"]
    print(tabulate(rows, headers, floatfmt=("", "", ".2f", ".2f", ".2f", ".1f")), flush=True)


def memory() -> None:
    """Memory of the compiled loop with the sharpness probe beyond that without, in vectors of length p."""
    rows = []
    for n, width in ((500, 200), (50, 2200)):
        loss, params = problem(n, (64, width, width, 10))
        p = ravel_pytree(params)[0].size
        sizes = {}
        for name, probes in (("plain", {}), ("tracked", {"s": Sharpness()})):
            analysis = compiled(*begun(loss, params, ETA, probes), 10).compiled.memory_analysis()
            results = analysis.output_size_in_bytes - analysis.alias_size_in_bytes  # the rest takes a state's place
            sizes[name] = analysis.temp_size_in_bytes + analysis.argument_size_in_bytes + results
        rows.append(
            [p, n, sizes["plain"] / 4 / p, sizes["tracked"] / 4 / p, (sizes["tracked"] - sizes["plain"]) / 4 / p]
        )
    print(tabulate(rows, ["p", "n", "plain", "tracked", "difference"], floatfmt=".1f"), flush=True)


def torch() -> None:
    """The packages for PyTorch, cold, in units of a gradient of the own framework, and what each said of its answer."""
    import torch_peers

    torch_peers.torch.set_num_threads(1)
    loss, params = problem()
    unravel = ravel_pytree(params)[1]
    gradient = jax.jit(lambda loss, params: jax.grad(loss)(params))
    rows = []
    for step in (0, 300, 1300):
        at = starts()[step]
        reference = references(np.asarray(ravel_pytree(at)[0])[None], unravel)[0]
        theirs = torch_peers.problem(*loss.args, at)
        unit = torch_peers.gradient_seconds(theirs)
        for name, solve in torch_peers.PEERS.items():
            solve(theirs)
            begun = time.perf_counter()
            value, products, converged = solve(theirs)
            spent = time.perf_counter() - begun
            said = {True: "converged", False: "not converged", None: "nothing"}[converged]
            rows.append([step, name, products, (reference - value) / reference, spent / unit, said])
        times = seconds(
            {
                "gradient": lambda at=at: gradient(loss, at),
                "ours": lambda at=at: sharpness(loss, at, throw=False).values,
            }
        )
        ours = sharpness(loss, at, throw=False)
        error = (reference - float(ours.values[0])) / reference
        said = "converged" if ours.converged else "not converged"
        rows.append([step, "eosbench", int(ours.hvps), error, times["ours"] / times["gradient"], said])
    headers = ["step", "solver", "products", "relative error", "gradients of its own", "it said"]
    print(tabulate(rows, headers, floatfmt=("", "", "", ".1e", ".0f", "")), flush=True)


if __name__ == "__main__":
    jax.config.update("jax_default_matmul_precision", "highest")
    tables = {f.__name__: f for f in (windows, peers, cold, scaling, memory, torch)}
    for chosen in sys.argv[1:] or [name for name in tables if name != "torch"]:
        print(f"\n{chosen}: {tables[chosen].__doc__}", flush=True)
        tables[chosen]()
