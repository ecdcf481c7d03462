"""Networks and their training losses, as functions of a pytree of parameters."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from eosbench.curvature._batches import MicroBatched
from eosbench.problems._digits import Dataset


class TrainingLoss(eqx.Module):
    """The mean over a data set of a loss per sample, as a function of the network's parameters.

    A pytree: the data are arguments of whatever is compiled, so another data set of the same shape compiles nothing.
    """

    inputs: Float[Array, "n ..."]
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


class _ChunkLoss(eqx.Module):
    """A training loss whose data are an argument."""

    network: PyTree
    per_sample: Callable[[Array, Array], Array] = eqx.field(static=True)

    def __call__(self, params: PyTree[Array], chunk: tuple[Array, Array]) -> Float[Array, ""]:
        inputs, targets = chunk
        return TrainingLoss(inputs, targets, self.network, self.per_sample)(params)


def micro_batched(loss: TrainingLoss, size: int) -> MicroBatched:
    """The same loss over `size` samples at a time, where the intermediate values of all do not fit into memory."""
    return MicroBatched(_ChunkLoss(loss.network, loss.per_sample), (loss.inputs, loss.targets), size)


class FlatLoss(eqx.Module):
    """A loss as a function of one flat vector of parameters, as the step maps and flows take it."""

    loss: Callable[[PyTree[Array]], Float[Array, ""]]
    unravel: Callable[[Float[Array, "p"]], PyTree[Array]] = eqx.field(static=True)

    def __call__(self, x: Float[Array, "p"]) -> Float[Array, ""]:
        """The loss at the parameters that x lists."""
        return self.loss(self.unravel(x))


def flattened(
    loss: Callable[[PyTree[Array]], Float[Array, ""]], params: PyTree[Array], dtype: DTypeLike = jnp.float64
) -> tuple[FlatLoss, Float[Array, "p"]]:
    """A loss and its parameters as a function of a flat vector and that vector, data included, in `dtype`."""

    def cast(leaf: Any) -> Any:
        return leaf.astype(dtype) if eqx.is_inexact_array(leaf) else leaf

    x, unravel = ravel_pytree(jax.tree.map(cast, params))
    return FlatLoss(jax.tree.map(cast, loss), unravel), x


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
    model = eqx.tree_at(lambda m: m.layers, model, _drawn(model.layers, key, gain))
    return _training_loss(model, data, per_sample)


class ConvolutionalNetwork(eqx.Module):
    """Blocks of 3 x 3 convolutions, each block followed by averaging over 2 x 2 pixels, and a linear layer at the end.

    Averages stand where VGG takes maxima, so that the loss is as smooth as the activation.
    """

    blocks: tuple[tuple[eqx.nn.Conv2d, ...], ...]
    last: eqx.nn.Linear
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __call__(self, image: Float[Array, "channels side side"]) -> Float[Array, " outputs"]:
        """The outputs for one image."""
        for block in self.blocks:
            for convolution in block:
                image = self.activation(_convolved(convolution, image))
            channels, side, _ = image.shape
            image = image.reshape(channels, side // 2, 2, side // 2, 2).mean(axis=(2, 4))
        return self.last(image.ravel())


def _convolved(convolution: eqx.nn.Conv2d, image: Float[Array, "channels side side"]) -> Float[Array, "out side side"]:
    """A 3 x 3 convolution of an image padded with zeros; on a CPU as a product of matrices.

    XLA's own convolutions take ten times as long on a CPU inside a compiled loop, such as that of `train`, as outside.
    The patches take nine times the memory of the image.
    """
    if jax.default_backend() != "cpu":
        return convolution(image)
    channels, side, _ = image.shape
    padded = jnp.pad(image.transpose(1, 2, 0), ((1, 1), (1, 1), (0, 0)))
    patches = jnp.concatenate([padded[i : i + side, j : j + side] for i in range(3) for j in range(3)], axis=-1)
    weight = convolution.weight.transpose(2, 3, 1, 0).reshape(9 * channels, -1)
    assert convolution.bias is not None  # for the type checker: all of these have one
    return (patches @ weight).transpose(2, 0, 1) + convolution.bias


_VGG_BLOCKS = {11: (1, 1, 2, 2, 2), 16: (2, 2, 3, 3, 3)}
_VGG_WIDTHS = (1, 2, 4, 8, 8)


def cnn(
    data: Dataset,
    key: PRNGKeyArray,
    *,
    width: int = 8,
    activation: Callable[[Array], Array] = jnp.tanh,
    per_sample: Callable[[Array, Array], Array] = half_squared_error,
    gain: float = 1.0,
) -> tuple[TrainingLoss, PyTree[Array]]:
    """Two convolutions, of `width` and 2 `width` channels, and a linear layer, for images (colours, side, side).

    Weights are drawn from N(0, gain/fan_in) and biases are zero. The side must be a multiple of 4.
    """
    return _convolutional(data, key, (1, 1), (width, 2 * width), activation, per_sample, gain)


def vgg(
    data: Dataset,
    key: PRNGKeyArray,
    *,
    layers: int = 16,
    width: int = 64,
    activation: Callable[[Array], Array] = jax.nn.relu,
    per_sample: Callable[[Array, Array], Array] = half_squared_error,
    gain: float = 2.0,
) -> tuple[TrainingLoss, PyTree[Array]]:
    """VGG-11 or VGG-16 for images of side 32, without batch normalization, with one linear layer (Cohen et al. 2021).

    The channels of the five blocks are 1, 2, 4, 8 and 8 times `width`, 64 in the original. Weights are drawn from N(0,
    gain/fan_in) and biases are zero.

    Raises:
        ValueError: `layers` is neither 11 nor 16.
    """
    if layers not in _VGG_BLOCKS:
        raise ValueError(f"layers is {layers}: it must be 11 or 16.")
    channels = tuple(width * factor for factor in _VGG_WIDTHS)
    return _convolutional(data, key, _VGG_BLOCKS[layers], channels, activation, per_sample, gain)


def _convolutional(
    data: Dataset,
    key: PRNGKeyArray,
    depths: tuple[int, ...],
    channels: tuple[int, ...],
    activation: Callable[[Array], Array],
    per_sample: Callable[[Array, Array], Array],
    gain: float,
) -> tuple[TrainingLoss, PyTree[Array]]:
    into, side, _ = data.inputs.shape[1:]
    if side % 2 ** len(depths):
        raise ValueError(f"data has images of side {side}: it must be a multiple of {2 ** len(depths)}.")
    convolutions = []
    for depth, out in zip(depths, channels, strict=True):
        for _ in range(depth):
            convolutions.append(eqx.nn.Conv2d(into, out, 3, padding=1, key=key, dtype=jnp.float32))
            into = out
    last = eqx.nn.Linear(into * (side // 2 ** len(depths)) ** 2, data.targets.shape[1], key=key, dtype=jnp.float32)
    *convolutions, last = _drawn((*convolutions, last), key, gain)
    remaining = iter(convolutions)
    blocks = tuple(tuple(next(remaining) for _ in range(depth)) for depth in depths)
    return _training_loss(ConvolutionalNetwork(blocks, last, activation), data, per_sample)


def _drawn(layers: Sequence[Any], key: PRNGKeyArray, gain: float) -> tuple[Any, ...]:
    """The layers with weights from N(0, gain/fan_in) and biases of zero."""
    drawn = []
    for layer, draw in zip(layers, jax.random.split(key, len(layers)), strict=True):
        weight = jax.random.normal(draw, layer.weight.shape, jnp.float32)
        fan_in = math.prod(weight.shape[1:])
        scaled: Any = (weight * jnp.sqrt(gain / fan_in), jnp.zeros_like(layer.bias))
        drawn.append(eqx.tree_at(lambda layer: (layer.weight, layer.bias), layer, scaled))
    return tuple(drawn)


def _training_loss(
    model: PyTree, data: Dataset, per_sample: Callable[[Array, Array], Array]
) -> tuple[TrainingLoss, PyTree[Array]]:
    params, network = eqx.partition(model, eqx.is_inexact_array)
    return TrainingLoss(jnp.asarray(data.inputs), jnp.asarray(data.targets), network, per_sample), params
