"""A loop of flax.linen: how far is Adam from its edge? `python linen_loop.py STATE STEPS`"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from eosbench import EdgeDistance, TrainState, linearize, load_state, save_state
from eosbench.problems import digits

path, steps = Path(sys.argv[1]), int(sys.argv[2])
x, y = digits(200)
optimizer = optax.adam(3e-2)
probe = EdgeDistance(optimizer)
model = nn.Sequential([nn.Dense(16), nn.tanh, nn.Dense(10)])
params = model.init(jax.random.key(0), x)["params"]


def loss(params):
    return jnp.mean((model.apply({"params": params}, x) - y) ** 2)


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
