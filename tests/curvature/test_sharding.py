"""Parameters and data on several devices, virtual ones here."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import jax, jax.numpy as jnp, optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
import eosbench

def measure(kind, p, split_params, split_data):
    mesh = jax.make_mesh((2,), ("d",), axis_types=(kind,))
    place = lambda x, *spec: jax.device_put(x, NamedSharding(mesh, P(*spec)))
    h = jnp.linspace(1.0, 2.0, p, dtype=jnp.float32)
    loss = lambda params, x: jnp.mean(jnp.sum((h * params["w"] ** 2)[None] * x, axis=-1)) / 2
    params = {{"w": jnp.ones(p, jnp.float32)}}
    if split_params is not None:
        params = jax.tree.map(lambda leaf: place(leaf, *split_params), params)
    x = place(jnp.ones((4, p), jnp.float32), *split_data)
    fixed = lambda params: loss(params, x)
    yield eosbench.sharpness(loss, params, args=(x,)).values
    yield eosbench.sharpness(fixed, params).values
    probes = {{"s": eosbench.Sharpness()}}
    start = eosbench.train(loss, params, optax.sgd(0.1), 2, probes, args=(x,)).state
    yield eosbench.train(fixed, start, optax.sgd(0.1), 2, probes).probes["s"].values[-1]
    yield jnp.asarray(eosbench.dense_hessian(fixed, params).max())[None]

for case in {cases}:
    print(*(told[0] for told in measure({kind}, *case)))
"""


def run(kind, cases):
    """What is told of each case: the number of parameters, and how they and the data are split."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(kind=f"AxisType.{kind}", cases=cases)],
        capture_output=True,
        text=True,
        env=os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("kind", ["Auto", "Explicit"])
def test_data_that_are_split_are_measured_right(kind):
    cases = [(20, (), ("d",)), (300, None, ("d",)), (20, ("d",), ()), (300, ("d",), (None, "d"))]
    cases += [(300, ("d",), ("d",))] if kind == "Auto" else []  # where types would have to say what is gathered
    lines = run(kind, cases)
    assert len(lines) == len(cases)
    for told in lines:
        assert [float(value) for value in told.split()] == pytest.approx(4 * [2.0], rel=1e-3)
