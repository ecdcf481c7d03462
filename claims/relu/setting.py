"""The neuron to be learned, starts, and what is observed of the paths from them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np


def teacher(d, norm, seed):
    direction = np.random.default_rng(seed).standard_normal(d)
    return norm * direction / np.linalg.norm(direction)


def starts(d, norm, low, high, n, seed):
    """v and |w| between `low` and `high`, in units of √‖w̃‖, and w in a random direction."""
    random = np.random.default_rng(seed)
    w = random.standard_normal((n, d))
    w *= (random.uniform(low, high, n) / np.linalg.norm(w, axis=1))[:, None]
    return np.sqrt(norm) * np.concatenate([random.uniform(low, high, (n, 1)), w], axis=1)


@eqx.filter_jit
def observed(step, theta, steps, loss):
    """v and |w⊥| along the paths, each of shape (steps + 1, starts)."""

    def see(theta):
        return theta[:, 0], jnp.linalg.norm(loss.across(theta), axis=-1)

    def advance(theta, _):
        return step(theta), see(theta)

    last, seen = jax.lax.scan(advance, theta, length=int(steps))
    return [jnp.concatenate([head, tail[None]]) for head, tail in zip(seen, see(last), strict=True)]
