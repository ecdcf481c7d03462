"""The sharpness core on 1, 2 and 8 virtual devices: prints what differs from one device, and what is sent.

    python benchmarks/scale.py [agreement] [memory] [processes]

Each number of devices is a process of its own, for XLA is told of them before it starts. The devices are threads of one
machine, so that no time is told: it would be that of the machine.

Tanh MLP 16-64-48-4 (ragged: 16-64-51-4, with a layer that no mesh divides) with 64 samples, split over the devices;
gradient descent with eta = 0.8, in float32 and, for products that depend on no rounding, once more in float64.
Parameters are replicated, split over the devices of their samples (FSDP), or on a mesh of two axes with the hidden
layer split over the second (2-D). The oracle is an eigendecomposition in double precision.

For `processes`, two processes with four virtual devices each train without an end, and one of them is killed.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PLACES = ("replicated", "FSDP", "2-D")
KINDS = ("Auto", "Explicit")
DEVICES = (2, 8)
STEPS = 50
ETA = 0.8
RTOL = 1e-5
COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
WIDE = (1200, 27, 10)  # of the network whose memory is told: 53,097 parameters


def main(topics: list[str]) -> None:
    if "agreement" in topics:
        agreement()
    if "memory" in topics:
        memory()
    if "processes" in topics:
        processes()


def on(devices: int, topic: str, *case: Any) -> dict[str, Any]:
    """What a process that sees so many devices tells of a case."""
    command = [sys.executable, __file__, "told", topic, json.dumps(case)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment(devices))
    if done.returncode:
        raise SystemExit(done.returncode)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def environment(devices: int) -> dict[str, str]:
    """That of a process which sees so many devices."""
    # Each virtual device that waits for the others holds a thread of XLA, and of two sums over different axes some wait
    # in one and some in the other: with as many threads as devices, for ever. And a busy machine is slow.
    flags = {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices} "
        "--xla_cpu_collective_call_terminate_timeout_seconds=600",
        "NPROC": "64",
        "JAX_PLATFORMS": "cpu",
    }
    return os.environ | flags


def agreement() -> None:
    from tabulate import tabulate

    cases = [(ragged, double) for ragged in (False, True) for double in (False, True)]
    one = {case: on(1, "measured", "one", "Auto", *case) for case in cases}
    rows = []
    for devices in DEVICES:
        for place in PLACES:
            for kind in KINDS:
                for ragged in (False, True):
                    reference, found = one[ragged, False], on(devices, "measured", place, kind, ragged, False)
                    in_double = on(devices, "measured", place, kind, ragged, True)
                    norm = reference["norm"]
                    tracked = max(abs(a - b) for a, b in zip(found["tracked"], reference["tracked"], strict=True))
                    rows.append(
                        [
                            devices,
                            place,
                            kind.lower(),
                            found["p"],
                            abs(found["cold"] - reference["exact"]) / norm,
                            f"{found['cold_products']} ({reference['cold_products']})",
                            tracked / norm,
                            f"{found['products']} ({reference['products']})",
                            f"{in_double['products']} ({one[ragged, True]['products']})",
                            found["bytes"] * devices / found["whole"],
                            ", ".join(f"{n} {name}" for name, n in found["sent"].items()),
                            found["leaves"],
                        ]
                    )
                    print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
    headers = [
        "devices",
        "parameters",
        "axes",
        "p",
        "cold",
        "products",
        f"{STEPS} steps",
        "products",
        "in double",
        "state",
        "sent",
    ]
    print(tabulate(rows, headers=[*headers, "leaves"], tablefmt="github", floatfmt=".2g"))


def memory() -> None:
    from tabulate import tabulate

    rows = []
    for devices in (1, *DEVICES):
        for place in PLACES[:2]:
            if devices > 1 or place == PLACES[0]:
                told = on(devices, "compiled", "one" if devices == 1 else place, "Auto", False, WIDE)
                rows.append([devices, place, told["p"], told["temporary"] / 1e6, told["largest"]])
                print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
    headers = ["devices", "parameters", "p", "MB of a cold solve, each device", "floats in the largest message"]
    print(tabulate(rows, headers=headers, tablefmt="github", floatfmt=".3g"))


def processes() -> None:
    """What becomes of one of two processes when the other is killed: seconds, status and what it says."""
    for lost in (1, 0):
        with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
            free.close()
            running = []
            for number in range(2):
                command = [sys.executable, __file__, "told", "endless", json.dumps([port, number, folder])]
                pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
                running.append(subprocess.Popen(command, env=environment(4), **pipes))
            while not all((Path(folder) / f"kept{number}").exists() for number in range(2)):
                time.sleep(0.1)
            running[lost].send_signal(signal.SIGKILL)
            begun = time.monotonic()
            said = running[1 - lost].communicate()[1].strip()
            print(f"{lost} lost | {time.monotonic() - begun:.1f} s | status {running[1 - lost].returncode} | {said}")
            running[lost].communicate()


def told(topic: str, case: list) -> None:
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
    from jax.sharding import AxisType, NamedSharding, PartitionSpec, reshard

    import eosbench
    from eosbench.curvature import Layout, dense_hessian, linearize
    from eosbench.curvature._lanczos import lanczos

    def network(params: Any, x: Any, y: Any, whole: Any = lambda leaf: leaf, product: Any = jnp.matmul) -> Any:
        hidden = jnp.tanh(x @ whole(params["w1"]) + whole(params["b1"]))
        return jnp.mean((jnp.tanh(product(hidden, whole(params["w2"])) + params["b2"]) @ params["w3"] - y) ** 2)

    def problem(
        place: str, kind: str, ragged: bool, widths: tuple[int, ...] | None = None, dtype: Any = np.float32
    ) -> tuple:
        a, b, c = widths or (64, 51 if ragged else 48, 4)
        keys = jax.random.split(jax.random.key(0), 5)

        def normal(key: Any, *shape: int) -> np.ndarray:
            return np.asarray(jax.random.normal(key, shape, jnp.float32))

        x = normal(keys[0], 64, 16)
        params: Any = {
            "w1": normal(keys[1], 16, a) / 4,
            "b1": np.zeros(a, np.float32),
            "w2": normal(keys[2], a, b) / np.float32(a**0.5),
            "b2": np.zeros(b, np.float32),
            "w3": normal(keys[3], b, c) / np.float32(b**0.5),
        }
        data: Any = (x, np.sin(x[:, :c] if c <= 16 else x))
        params, data = jax.tree.map(lambda leaf: leaf.astype(dtype), (params, data))
        if place == "one":
            return network, jax.tree.map(jnp.asarray, params), jax.tree.map(jnp.asarray, data)
        n = jax.device_count()
        shape, names = ((n // 2, 2), ("data", "model")) if place == "2-D" else ((n,), ("data",))
        mesh = jax.make_mesh(shape, names, axis_types=(getattr(AxisType, kind),) * len(shape))
        specs: dict[str, tuple] = {
            "replicated": {},
            "FSDP": {"w1": ("data",), "b1": ("data",), "w2": ("data",)},
            "2-D": {"w1": (None, "model"), "b1": ("model",), "w2": ("model", None)},
        }[place]

        def placed(array: Any, *spec: Any) -> Any:
            return jax.device_put(array, NamedSharding(mesh, PartitionSpec(*spec)))

        params = {name: placed(leaf, *specs.get(name, ())) for name, leaf in params.items()}
        data = tuple(placed(array, "data") for array in data)
        if kind == "Auto":
            return network, params, data

        def to(*spec: Any) -> NamedSharding:
            return NamedSharding(mesh.abstract_mesh, PartitionSpec(*spec))

        # Types have to say what is gathered, and how a sum over split entries is split.
        def whole(leaf: Any) -> Any:
            return leaf if place == "2-D" else reshard(leaf, to())

        def product(left: Any, right: Any) -> Any:
            return jnp.matmul(left, right, out_sharding=to("data"))

        return lambda params, x, y: network(params, x, y, whole, product), params, data

    def collectives(text: str) -> list[tuple[str, bool, int]]:
        """Of each its name, whether it is in a loop or a branch, and the floats of its result."""
        found = []
        for computation in re.split(r"\n(?=%|ENTRY)", text):
            inside = not computation.startswith("ENTRY")
            for result, name in re.findall(rf"= (\([^)]*\)|\S+) ({'|'.join(COLLECTIVES)})(?:-start)?\(", computation):
                shapes = re.findall(r"f32\[([0-9,]*)\]", result)
                size = sum(int(np.prod([int(n) for n in shape.split(",") if n])) for shape in shapes)
                found.append((name, inside, size))
        return found

    def measured(place: str, kind: str, ragged: bool, double: bool) -> dict[str, Any]:
        jax.config.update("jax_enable_x64", double)
        loss, params, data = problem(place, kind, ragged, dtype=np.float64 if double else np.float32)
        cold = eosbench.sharpness(loss, params, args=data, rtol=RTOL)
        probes = {"sharpness": eosbench.Sharpness(rtol=RTOL)}
        run = eosbench.train(loss, params, optax.sgd(ETA), STEPS, probes, args=data)
        track, memory = run.probes["sharpness"], run.state.probes["sharpness"]
        rows = [memory.last.vectors, memory.before.vectors, memory.places, memory.motion]
        found = {
            "p": cold.layout.p,
            "leaves": len(params),
            "cold": float(cold.values[0]),
            "cold_products": int(cold.hvps),
            "tracked": track.values[:, 0].tolist(),
            "products": int(track.hvps.sum()),
            "bytes": sum(leaf.addressable_shards[0].data.nbytes for leaf in rows),
            "whole": sum(len(leaf) * cold.layout.p * leaf.dtype.itemsize for leaf in rows),
        }
        if place == "one":
            exact = np.linalg.eigvalsh(dense_hessian(lambda params: loss(params, *data), params))
            return found | {"exact": exact[-1], "norm": np.abs(exact).max()}
        sent: dict[str, int] = {}
        single_and_automatic = kind == "Auto" and not double
        for name, inside, _ in collectives(text_of_products(place, ragged)) if single_and_automatic else ():
            if inside:
                sent[name] = sent.get(name, 0) + 1
        return found | {"sent": sent}

    def text_of_products(place: str, ragged: bool) -> str:
        """The compiled program of a loop of products, for the axes that need no types."""
        loss, params, data = problem(place, "Auto", ragged)
        layout = Layout.of(params, data)

        def repeated(params: Any, data: Any, vector: Any) -> Any:
            product = linearize(lambda params: loss(params, *data), params, layout=layout).product
            return jax.lax.fori_loop(0, 3, lambda _, v: layout.constrain(product(v)), layout.constrain(vector))

        lowered = jax.jit(repeated).lower(params, data, jnp.zeros(layout.size, jnp.float32))
        text: str = lowered.compile().as_text()
        return text

    def compiled(place: str, kind: str, ragged: bool, widths: list[int]) -> dict[str, Any]:
        loss, params, data = problem(place, kind, ragged, tuple(widths))
        layout = Layout.of(params, data)

        def solve(params: Any, data: Any, key: Any) -> Any:
            point = linearize(lambda params: loss(params, *data), params, layout=layout)
            dtype, rtol = point.gradient.dtype, jnp.asarray(1e-3)
            found = lanczos(point.product, layout.p, 1, rtol, 1000, key, dtype, guess=point.gradient, layout=layout)
            return eqx.filter(found, eqx.is_array)

        program = jax.jit(solve).lower(params, data, jax.random.key(0)).compile()
        sizes = [size for *_, size in collectives(program.as_text())]
        memory = program.memory_analysis()
        return {"p": layout.p, "temporary": memory.temp_size_in_bytes, "largest": max(sizes, default=0)}

    def endless(port: int, number: int, folder: str) -> None:
        import eosbench.distributed

        checkpoint, address = Path(folder) / "run.npz", f"127.0.0.1:{port}"
        eosbench.distributed.initialize(checkpoint, coordinator_address=address, num_processes=2, process_id=number)
        loss, params, data = problem("FSDP", "Auto", False)

        def keep(part: Any) -> None:
            eosbench.save_state(checkpoint, part.state)
            (Path(folder) / f"kept{number}").touch()

        probes = {"sharpness": eosbench.Sharpness(rtol=RTOL)}
        eosbench.train(loss, params, optax.sgd(ETA), 10**9, probes, args=data, chunk=STEPS, on_chunk=keep)

    print(json.dumps({"measured": measured, "compiled": compiled, "endless": endless}[topic](*case)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["told"]:
        told(sys.argv[2], json.loads(sys.argv[3]))
    else:
        main(sys.argv[1:] or ["agreement", "memory", "processes"])
