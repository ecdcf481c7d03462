"""Parameters and data on several devices, virtual ones here: right, or refused in one sentence."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import jax, jax.numpy as jnp, numpy as np, optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
import eosbench
kind = AxisType.{kind}
mesh = jax.make_mesh((2,), ("d",), axis_types=(kind,))
p = {p}
h = jnp.linspace(1.0, 2.0, p)
loss = lambda params, x: jnp.mean(jnp.sum(h * x * params["w"] ** 2, axis=-1)) / 2
place = lambda x, *spec: jax.device_put(x, NamedSharding(mesh, P(*spec)))
params = {{"w": place(jnp.ones(p, jnp.float32), *{params})}}
x = place(jnp.ones((4, p), jnp.float32), *{data})
try:
    print(eosbench.sharpness(loss, params, args=(x,)).values)
    probes = {{"s": eosbench.Sharpness()}}
    fixed = jax.tree_util.Partial(lambda x, params: loss(params, x), x)
    print(eosbench.train(fixed, params, optax.sgd(0.1), 2, probes).probes["s"].values[-1])
except TypeError as problem:
    print("TypeError:", problem)
"""


def run(kind, p, params, data):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(kind=kind, p=p, params=params, data=data)],
        capture_output=True,
        text=True,
        env=os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("p", [20, 300])
def test_parameters_split_over_an_explicit_mesh_are_refused(p):
    told = run("Explicit", p, ("d",), ())
    assert told.startswith("TypeError: params['w'] is split over a mesh of explicit axes")
    assert "replicate it" in told


@pytest.mark.parametrize("params", [(), ("d",)], ids=["replicated", "split"])
@pytest.mark.parametrize("p", [20, 300])
def test_what_is_split_over_an_automatic_mesh_is_measured_right(params, p):
    first, second = run("Auto", p, params, ("d",)).split()
    assert float(first.strip("[]")) == pytest.approx(2.0, rel=1e-3)
    assert float(second.strip("[]")) == pytest.approx(2.0, rel=1e-3)
