"""What is to be looked at on one GPU, in some twenty minutes: prints a line for each check, and whether it is right.

    tox -e gpu                                       # or: python benchmarks/gpu.py
    python benchmarks/gpu.py --device cpu --tiny     # the same checks at a size for a CPU, to try them

The status is 0 where all is as it must be, 1 where something is not, and 2 where there is no GPU. What it costs is
told, and judged by nobody: products and wall time of the network of docs/performance.md, and VGG-16 on images of the
shape of CIFAR's, with the memory that it took.
"""

import argparse
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial
from loop import begun, compiled, per_step

from eosbench import Sharpness, train
from eosbench.curvature import linearize
from eosbench.problems import digits, mlp, photographs, vgg

ETA = 0.15
PROBES = {"sharpness": Sharpness()}
ROUNDING = 1e-5  # of a product in float32, relative; with TF32, of ten bits, it is about 1e-3
SOLVERS = re.compile(r"cusolver|lapack|syev|geqrf", re.IGNORECASE)
TO_THE_HOST = re.compile(r"callback|\binfeed\(|\boutfeed\(|\bsend\(|\brecv\(", re.IGNORECASE)


@dataclass(frozen=True)
class Size:
    """How large the problems are."""

    samples: int
    hidden: int
    steps: int
    images: int
    image_steps: int
    layers: int
    width: int


FULL = Size(samples=500, hidden=200, steps=100, images=5000, image_steps=5, layers=16, width=64)
TINY = Size(samples=40, hidden=12, steps=50, images=6, image_steps=4, layers=11, width=2)


@dataclass(frozen=True)
class Told:
    """A check, what it found, and whether that is as it must be; None where nothing must be."""

    check: str
    found: str
    right: bool | None = None


def rounding(size: Size, product: Callable | None = None) -> Told:
    """A product with the Hessian against the same in double precision on the CPU: TF32 shows.

    `product` takes a loss, its parameters and a vector; by default it is that of the core.
    """
    loss, params = _network(size)
    vector = np.random.default_rng(0).standard_normal(ravel_pytree(params)[0].size).astype(np.float32)
    found = np.asarray((product or _product)(loss, params, jnp.asarray(vector)))
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        arrays, rest = eqx.partition((loss, params), eqx.is_array)
        doubled = eqx.combine(jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, float)), arrays), rest)
        flat, unravel = ravel_pytree(doubled[1])
        gradient = jax.grad(lambda x: doubled[0](unravel(x)))
        exact = np.asarray(jax.jvp(gradient, (flat,), (jnp.asarray(vector, jnp.float64),))[1])
    error = np.linalg.norm(found - exact) / np.linalg.norm(exact)
    return Told("rounding of a product, TF32 off", f"{error:.1e}, at most {ROUNDING:.0e}", bool(error <= ROUNDING))


def small_problems(text: str) -> Told:
    """How many calls of a solver's library the compiled loop has: on a GPU each is a launch for a matrix of size 8."""
    targets = re.findall(r'custom_call_target="([^"]+)"', text)
    solvers = [target for target in targets if SOLVERS.search(target)]
    named = ", ".join(sorted(set(solvers))) or "none"
    return Told(
        "calls of solvers in the loop",
        f"{len(solvers)} of {len(targets)} custom calls: {named}",
        not any("cusolver" in target for target in solvers),
    )


def to_the_host(text: str) -> Told:
    """Whether the compiled loop sends anything to the host between steps."""
    found = sorted({match.lower() for match in TO_THE_HOST.findall(text)})
    return Told("to the host per step", ", ".join(found) or "nothing", not found)


def guarded(size: Size) -> Told:
    """Whether the compiled loop runs where transfers are forbidden."""
    loss, params = _network(size)
    step, state = begun(loss, params, ETA, PROBES)
    program = compiled(step, state, size.steps)
    try:
        with jax.transfer_guard("disallow"):
            jax.block_until_ready(program(step, state, size.steps, False).loss)
    except Exception as error:
        return Told("runs with transfers forbidden", str(error).splitlines()[0], False)
    return Told("runs with transfers forbidden", "yes", True)


def cost(size: Size) -> Told:
    """Products, and wall time over that of the same loop without the probe."""
    loss, params = _network(size)
    return Told(f"tanh network, steps {size.steps} to {3 * size.steps}", _cost(loss, params, size.steps))


def images(size: Size) -> Told:
    """The same of a VGG net on images of CIFAR's shape, with the memory that the device had in use at most."""
    loss, params = vgg(photographs(size.images), jax.random.key(0), layers=size.layers, width=size.width)
    told = _cost(loss, params, size.image_steps)
    p = ravel_pytree(params)[0].size
    statistics = jax.devices()[0].memory_stats()
    peak = f"{statistics['peak_bytes_in_use'] / 4 / p:.0f} vectors at most" if statistics else "memory is not told"
    return Told(f"VGG-{size.layers}, {size.images} images, p = {p:,}", f"{told}, {peak}")


def checklist(size: Size) -> list[Told]:
    """All checks, each printed as it is done."""
    text = compiled(*begun(*_network(size), ETA, PROBES), size.steps).compiled.as_text()
    checks: list[Callable[[], Told]] = [
        lambda: rounding(size),
        lambda: small_problems(text),
        lambda: to_the_host(text),
        lambda: guarded(size),
        lambda: cost(size),
        lambda: images(size),
    ]
    found = []
    for check in checks:
        told = check()
        word = {True: "right", False: "WRONG", None: ""}[told.right]
        print(f"{told.check:40} {word:6} {told.found}", flush=True)
        found.append(told)
    return found


def _network(size: Size) -> tuple[Callable, Any]:
    return mlp(digits(size.samples), jax.random.key(0), width=size.hidden)


def _product(loss: Callable, params: Any, vector: Any) -> Any:
    return eqx.filter_jit(lambda loss, params, vector: linearize(loss, params).product(vector))(loss, params, vector)


def _cost(loss: Callable, params: Any, steps: int) -> str:
    def run(steps: int, probes: Any) -> Any:
        return train(loss, params, Partial(optax.sgd, ETA), steps, probes)

    track = run(3 * steps, PROBES).probes["sharpness"]
    ratio = per_step(lambda n: run(n, PROBES).loss, steps) / per_step(lambda n: run(n, {}).loss, steps)
    hvps = track.hvps[steps:].mean()  # of the steps that are timed
    converged = f"{int(track.converged.sum())} of {len(track.converged)} converged"
    return f"{hvps:.2f} products a step, {converged}, wall time {ratio:.1f} of that without"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["gpu", "cpu"], default="gpu", help="what has to be there")
    parser.add_argument("--tiny", action="store_true", help="sizes for a CPU")
    chosen = parser.parse_args()
    device = jax.devices()[0]
    if chosen.device == "gpu" and device.platform != "gpu":
        print(
            f"benchmarks/gpu.py: JAX finds no GPU here, its devices are of the kind {device.device_kind}: install "
            "eosbench[cuda] on a machine that has one, or try the checks by --device cpu --tiny.",
            file=sys.stderr,
        )
        return 2
    print(f"{device.device_kind}, JAX {jax.__version__}", flush=True)
    jax.config.update("jax_default_matmul_precision", "highest")
    found = checklist(TINY if chosen.tiny else FULL)
    return int(any(told.right is False for told in found))


if __name__ == "__main__":
    sys.exit(main())
