"""A loop of flax.nnx: how far is Adam from its edge? `python nnx_loop.py STATE STEPS`"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from eosbench import EdgeDistance, TrainState, linearize, load_state, save_state
from eosbench.problems import digits

path, steps = Path(sys.argv[1]), int(sys.argv[2])
x, y = digits(200)
optimizer = optax.adam(3e-2)
probe = EdgeDistance(optimizer)
rngs = nnx.Rngs(0)
model = nnx.Sequential(nnx.Linear(x.shape[1], 16, rngs=rngs), nnx.tanh, nnx.Linear(16, 10, rngs=rngs))
graph, params, rest = nnx.split(model, nnx.Param, ...)


def loss(params):
    return jnp.mean((nnx.merge(graph, params, rest)(x) - y) ** 2)


@jax.jit
def begin(params):
    point = linearize(loss, params, optimizer=optimizer.init(params))
    return TrainState(params, point.optimizer, {"edge": probe.init(point)}, point.step)


@jax.jit
def step(state):
    point = linearize(loss, state.params, optimizer=state.optimizer, step=state.step)
    track, memory = probe.measure(point, state.probes["edge"])
    updates, adam = optimizer.update(jax.grad(loss)(state.params), state.optimizer, state.params)
    params = optax.apply_updates(state.params, updates)
    return TrainState(params, adam, {"edge": memory}, state.step + 1), track.values[0]


state = load_state(path, loss, params, optimizer, {"edge": probe}) if path.exists() else begin(params)
while state.step < steps:
    state, edge = step(state)
    if state.step % 10 == 0:
        save_state(path, state)
        print(f"step {int(state.step)}: {float(edge):.4f} of the edge", flush=True)
