"""A network's training loss, against the same arithmetic in NumPy and scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss

from eosbench.problems import cross_entropy, digits, mlp

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
