"""Networks and their training losses, as functions of a pytree of parameters."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from eosbench.problems.digits import Dataset


class TrainingLoss(eqx.Module):
    """The mean over a data set of a loss per sample, as a function of the network's parameters.

    A pytree: the data are arguments of whatever is compiled, so another data set of the same shape compiles nothing.
    """

    inputs: Float[Array, "n d"]
    targets: Float[Array, "n outputs"]
    network: PyTree
    per_sample: Callable[[Float[Array, " outputs"], Float[Array, " outputs"]], Float[Array, ""]] = eqx.field(
        static=True
    )

    def __call__(self, params: PyTree[Array]) -> Float[Array, ""]:
        """The loss at the parameters."""
        outputs = self.outputs(params)
        return jnp.mean(jax.vmap(self.per_sample)(outputs, self.targets))

    def outputs(self, params: PyTree[Array]) -> Float[Array, "n outputs"]:
        """What the network answers to every input."""
        return jax.vmap(eqx.combine(params, self.network))(self.inputs)

    def accuracy(self, params: PyTree[Array]) -> Float[Array, ""]:
        """The fraction of inputs whose largest output is the target's."""
        return jnp.mean(jnp.argmax(self.outputs(params), axis=1) == jnp.argmax(self.targets, axis=1))


def half_squared_error(output: Float[Array, " c"], target: Float[Array, " c"]) -> Float[Array, ""]:
    """½‖output − target‖², of which Cohen et al. take the mean over the samples."""
    return 0.5 * jnp.sum((output - target) ** 2)


def cross_entropy(output: Float[Array, " c"], target: Float[Array, " c"]) -> Float[Array, ""]:
    """Cross-entropy of softmax(output) against a one-hot target."""
    return optax.losses.softmax_cross_entropy(output, target)


def mlp(
    data: Dataset,
    key: PRNGKeyArray,
    *,
    width: int = 64,
    depth: int = 2,
    activation: Callable[[Array], Array] = jnp.tanh,
    per_sample: Callable[[Array, Array], Array] = half_squared_error,
    gain: float = 1 / 3,
) -> tuple[TrainingLoss, PyTree[Array]]:
    """A multilayer perceptron on a data set: its training loss, and initial parameters.

    Weights are drawn from N(0, gain/fan_in) and biases are zero. With gain 1/3 the sharpness starts small and rises;
    with gain 1 it starts so high on these data that nothing is left to sharpen. `depth` counts the hidden layers;
    depth 0 is a linear model.
    """
    model = eqx.nn.MLP(
        data.inputs.shape[1], data.targets.shape[1], width, depth, activation, key=key, dtype=jnp.float32
    )
    layers = list(model.layers)
    for i, draw in enumerate(jax.random.split(key, len(layers))):
        weight = jax.random.normal(draw, layers[i].weight.shape, jnp.float32)
        scaled: Any = (weight * jnp.sqrt(gain / weight.shape[1]), jnp.zeros_like(layers[i].bias))
        layers[i] = eqx.tree_at(lambda layer: (layer.weight, layer.bias), layers[i], scaled)
    model = eqx.tree_at(lambda m: m.layers, model, tuple(layers))
    params, network = eqx.partition(model, eqx.is_inexact_array)
    return TrainingLoss(jnp.asarray(data.inputs), jnp.asarray(data.targets), network, per_sample), params
