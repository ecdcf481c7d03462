"""Adam at its own edge: the distance to it over the second half of training, beside the sharpness over 2/eta.

    python benchmarks/edge_distance.py [STEPS]

Two networks on scikit-learn's digits, full batch, Adam at 1e-3: a tanh network and a transformer of one block. Then the
cost of `EdgeDistance` beside that of `Sharpness`: products and processor time for each step of the same run.
"""

import sys
import time
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from loop import per_step
from tabulate import tabulate

from eosbench import EdgeDistance, Sharpness, Track, train
from eosbench.problems import digits

ETA = 1e-3
IMAGES = digits(300, label_noise=0.2)
TOKENS, WIDTH = 13, 24  # 52 pixels as 13 tokens of 4


class Transformer(eqx.Module):
    """Attention over the pieces of an image, a residual network on each of them, and the mean over both."""

    embed: eqx.nn.Linear
    place: Float[Array, "tokens width"]
    attention: eqx.nn.MultiheadAttention
    mlp: eqx.nn.MLP
    norms: tuple[eqx.nn.LayerNorm, eqx.nn.LayerNorm]
    out: eqx.nn.Linear

    def __init__(self, key: Array) -> None:
        keys = jax.random.split(key, 5)
        self.embed = eqx.nn.Linear(4, WIDTH, key=keys[0])
        self.place = 0.1 * jax.random.normal(keys[1], (TOKENS, WIDTH))
        self.attention = eqx.nn.MultiheadAttention(4, WIDTH, key=keys[2])
        self.mlp = eqx.nn.MLP(WIDTH, WIDTH, 2 * WIDTH, 1, activation=jax.nn.gelu, key=keys[3])
        self.norms = (eqx.nn.LayerNorm(WIDTH), eqx.nn.LayerNorm(WIDTH))
        self.out = eqx.nn.Linear(WIDTH, 10, key=keys[4])

    def __call__(self, image: Float[Array, " pixels"]) -> Float[Array, " classes"]:
        tokens = jax.vmap(self.embed)(image.reshape(TOKENS, 4)) + self.place
        normed = jax.vmap(self.norms[0])(tokens)
        tokens = tokens + self.attention(normed, normed, normed)
        tokens = tokens + jax.vmap(self.mlp)(jax.vmap(self.norms[1])(tokens))
        return self.out(tokens.mean(axis=0))


def networks() -> dict[str, Any]:
    key = jax.random.key(0)
    return {
        "tanh network 52-32-32-10": eqx.nn.MLP(52, 10, 32, 2, activation=jnp.tanh, key=key),
        "transformer, 13 tokens of width 24": Transformer(key),
    }


def main(steps: int) -> None:
    x, y = map(jnp.asarray, IMAGES)
    optimizer = optax.adam(ETA)
    rows, costs = [], []
    for name, model in networks().items():
        params, rest = eqx.partition(model, eqx.is_inexact_array)

        def loss(params: Any, rest: Any = rest) -> Float[Array, ""]:
            outputs = jax.vmap(eqx.combine(params, rest))(x)
            return jnp.mean(jnp.sum((outputs - y) ** 2, axis=1)) / 2

        probes = {"edge": EdgeDistance(optimizer), "sharpness": Sharpness()}

        def run(steps: int, name: str, loss: Any = loss, params: Any = params, probes: Any = probes) -> Track:
            return train(loss, params, optimizer, steps, {name: probes[name]}).probes[name]

        tracks = {name: run(steps, name) for name in probes}
        seconds = {name: per_step(partial(run, name=name), 200, time.process_time) for name in probes}
        half = slice(steps // 2, None)
        edge, plain = (np.asarray(tracks[probe].values[half, 0]) for probe in probes)
        p = sum(leaf.size for leaf in jax.tree.leaves(params))
        rows.append([name, p, told(edge), told(plain * ETA / 2), told(plain * ETA / 38)])
        products = [products_of(tracks[probe]) for probe in probes]
        costs.append([name, *products, seconds["edge"] / seconds["sharpness"]])
    print(f"Adam at {ETA:g}, {steps} steps, over the second half (mean ± standard deviation):")
    print(tabulate(rows, ["network", "p", "EdgeDistance", "sharpness / (2/eta)", "sharpness / (38/eta)"], "github"))
    print("\nCost per step:")
    print(tabulate(costs, ["network", "products, edge", "products, sharpness", "time, edge/sharpness"], "github"))


def told(values: np.ndarray) -> str:
    return f"{values.mean():.4f} ± {values.std():.4f}"


def products_of(track: Track) -> str:
    return f"{np.mean(track.hvps):.2f} ({np.mean(track.converged):.1%} converged)"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4000)
