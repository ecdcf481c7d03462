"""A network's training loss, against the same arithmetic in NumPy and scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss

from eosbench.problems import Dataset, cnn, cross_entropy, digits, flattened, mlp, photographs, vgg
from eosbench.problems._networks import micro_batched

DATA = digits(40, seed=2)


def by_hand(params, inputs, activation):
    *hidden, last = [(np.asarray(layer.weight, float), np.asarray(layer.bias, float)) for layer in params.layers]
    for weight, bias in hidden:
        inputs = activation(inputs @ weight.T + bias)
    return inputs @ last[0].T + last[1]


@pytest.mark.parametrize(("activation", "same"), [(jnp.tanh, np.tanh), (jax.nn.relu, lambda x: np.maximum(x, 0))])
def test_loss_and_accuracy(activation, same):
    loss, params = mlp(DATA, jax.random.key(0), width=16, activation=activation)
    outputs = by_hand(params, DATA.inputs, same)
    np.testing.assert_allclose(loss.outputs(params), outputs, rtol=1e-4, atol=1e-5)
    assert float(loss(params)) == pytest.approx(0.5 * np.sum((outputs - DATA.targets) ** 2) / 40, rel=1e-5)
    assert float(loss.accuracy(params)) == pytest.approx(accuracy_score(DATA.targets.argmax(1), outputs.argmax(1)))


def test_cross_entropy():
    loss, params = mlp(DATA, jax.random.key(1), width=16, per_sample=cross_entropy)
    outputs = by_hand(params, DATA.inputs, np.tanh)
    chances = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    assert float(loss(params)) == pytest.approx(log_loss(DATA.targets.argmax(1), chances, labels=range(10)), rel=1e-5)


def test_initialization_has_the_stated_variance_and_precision():
    _, params = mlp(DATA, jax.random.key(3), width=200, gain=0.65)
    for layer, fan_in in zip(params.layers, (52, 200, 200), strict=True):
        assert layer.weight.dtype == layer.bias.dtype == jnp.float32
        assert float(jnp.var(layer.weight)) == pytest.approx(0.65 / fan_in, rel=0.1)
        assert not layer.bias.any()
    _, linear = mlp(DATA, jax.random.key(3), depth=0)
    assert [layer.weight.shape for layer in linear.layers] == [(10, 52)]


def test_other_data_and_other_parameters_compile_nothing():
    import equinox as eqx

    traces = []

    @eqx.filter_jit
    def value(loss, params):
        traces.append(1)
        return loss(params)

    for seed in range(3):
        value(*mlp(digits(40, seed=seed), jax.random.key(seed), width=16))
    assert len(traces) == 1


def test_a_convolutional_network_against_scipy():
    from scipy.signal import correlate

    data = photographs(4, seed=0)
    loss, params = cnn(data, jax.random.key(0), width=2)
    maps = data.inputs.astype(float)
    for block in params.blocks:
        weight, bias = (np.asarray(array, float) for array in (block[0].weight, block[0].bias))
        padded = np.pad(maps, ((0, 0), (0, 0), (1, 1), (1, 1)))
        maps = np.stack(
            [
                [np.tanh(correlate(image, w, "valid")[0] + b[0, 0]) for w, b in zip(weight, bias, strict=True)]
                for image in padded
            ]
        )
        maps = (maps[..., ::2, ::2] + maps[..., 1::2, ::2] + maps[..., ::2, 1::2] + maps[..., 1::2, 1::2]) / 4
    outputs = maps.reshape(4, -1) @ np.asarray(params.last.weight, float).T
    np.testing.assert_allclose(loss.outputs(params), outputs, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="side 6: it must be a multiple of 4"):
        cnn(Dataset(data.inputs[:, :, :6, :6], data.targets), jax.random.key(0))


@pytest.mark.parametrize(("layers", "blocks"), [(11, (1, 1, 2, 2, 2)), (16, (2, 2, 3, 3, 3))])
def test_the_shapes_of_vgg(layers, blocks):
    data = photographs(6, seed=0)

    def build(key):
        loss, params = vgg(data, key, layers=layers, width=2)
        return params, loss.outputs(params)

    params, outputs = jax.eval_shape(build, jax.random.key(0))
    assert tuple(map(len, params.blocks)) == blocks
    assert [block[-1].weight.shape[0] for block in params.blocks] == [2, 4, 8, 16, 16]
    assert sum(blocks) + 1 == layers - 2  # the original ends in three linear layers
    assert outputs.shape == (6, 6)
    with pytest.raises(ValueError, match="layers is 13: it must be 11 or 16"):
        vgg(data, jax.random.key(0), layers=13)


def test_on_a_cpu_a_convolution_is_a_product_of_matrices(monkeypatch):
    loss, params = vgg(photographs(4, seed=0), jax.random.key(0), width=2)
    products = loss.outputs(params)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    np.testing.assert_allclose(products, loss.outputs(params), rtol=1e-4, atol=1e-6)


def test_a_micro_batched_loss_is_the_loss():
    loss, params = mlp(DATA, jax.random.key(0), width=16)
    for size in (7, 40, 100):
        parts = micro_batched(loss, size)
        assert float(parts(params)) == pytest.approx(float(loss(params)), rel=1e-5)
        whole, summed = (jax.flatten_util.ravel_pytree(jax.grad(f)(params))[0] for f in (loss, parts))
        np.testing.assert_allclose(summed, whole, rtol=1e-4, atol=1e-6)


def test_a_flat_loss_is_the_loss_in_double_precision():
    loss, params = mlp(DATA, jax.random.key(0), width=16)
    flat, x = flattened(loss, params)
    assert x.dtype == jnp.float64
    assert x.shape == (sum(leaf.size for leaf in jax.tree.leaves(params)),)
    assert float(flat(x)) == pytest.approx(float(loss(params)), rel=1e-5)
    assert flat(x).dtype == jnp.float64
    again, _ = flattened(*mlp(digits(40, seed=5), jax.random.key(1), width=16))
    assert jax.tree.structure(again) == jax.tree.structure(flat)  # another data set compiles nothing
