"""The cold solver against spectra that are known in closed form, and its refusals."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import Partial

from eosbench.curvature import NotConvergedError, dense_hessian, sharpness
from eosbench.dynamics import train


def quadratic(eigenvalues, x):
    """Half the sum of eigenvalue times squared entry: the Hessian is the diagonal matrix."""
    return 0.5 * jnp.sum(eigenvalues * x * x)


SPECTRA = {
    "well separated": np.r_[np.linspace(-1, 1, 996), 20.0, 30.0, 45.0, 60.0],
    "double top": np.r_[np.linspace(-1, 1, 997), 2.0, 3.0, 3.0],
    "quadruple top": np.r_[np.linspace(-1, 1, 996), 3.0, 3.0, 3.0, 3.0],
    "negative end larger": np.r_[np.linspace(-1, 1, 994), -30.0, -29.0, 10.0, 15.0, 20.0, 25.0],
    "rank one": np.r_[np.zeros(999), 5.0],
    "zero": np.zeros(1000),
    "negative definite": np.r_[np.linspace(-30, -20, 996), -4.0, -3.0, -2.0, -1.0],
}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("name", SPECTRA)
def test_values_of_a_known_spectrum(name, k, dtype):
    eigenvalues = np.sort(SPECTRA[name])[::-1]
    spectrum = sharpness(Partial(quadratic, jnp.asarray(eigenvalues, dtype)), jnp.zeros(1000, dtype), k=k)
    rounding = 20 * jnp.finfo(dtype).eps * np.abs(eigenvalues).max()
    assert spectrum.values.dtype == dtype
    np.testing.assert_allclose(spectrum.values, eigenvalues[:k], rtol=1e-3, atol=rounding)
    assert (np.asarray(spectrum.values) <= eigenvalues[:k] + rounding).all()
    assert np.asarray(spectrum.upper) >= eigenvalues[0] - rounding
    gram = spectrum.vectors @ spectrum.vectors.T
    np.testing.assert_allclose(gram, np.eye(k), atol=100 * jnp.finfo(dtype).eps)


@pytest.mark.parametrize("p", [1, 2, 3, 40])
def test_tiny_problems_are_solved_densely(p):
    eigenvalues = np.arange(p, 0, -1.0)
    spectrum = sharpness(Partial(quadratic, jnp.asarray(eigenvalues)), jnp.ones(p), k=p)
    np.testing.assert_allclose(spectrum.values, eigenvalues, rtol=1e-14)


def test_a_starved_solve_is_flagged_and_raises_by_default():
    loss, x = Partial(quadratic, jnp.linspace(0.0, 1.0, 1000)), jnp.zeros(1000)  # compiled above already
    spectrum = sharpness(loss, x, max_hvps=3, throw=False)
    assert not spectrum.converged
    assert "max_hvps" in spectrum.message
    assert spectrum.hvps <= 3
    with pytest.raises(NotConvergedError, match="max_hvps"):
        sharpness(loss, x, max_hvps=3)


def test_a_loss_over_a_pytree_agrees_with_the_whole_matrix():
    def loss(params):
        return jnp.sum(jnp.tanh(params["w"] @ params["w"].T)) + jnp.sum(params["b"] ** 4)

    params = {"w": jax.random.normal(jax.random.key(0), (30, 12)), "b": jnp.linspace(-1.0, 1.0, 9)}
    exact = np.linalg.eigvalsh(dense_hessian(loss, params))[::-1]
    np.testing.assert_allclose(sharpness(loss, params, k=3, rtol=1e-6).values, exact[:3], rtol=1e-6)


def vector_valued(x):
    return x


@pytest.mark.parametrize(
    ("loss", "params", "options", "message"),
    [
        (vector_valued, jnp.ones(3), {}, "loss must return a real scalar"),
        (jnp.sum, jnp.arange(3), {}, "params has dtype int"),
        (jnp.sum, {}, {}, "params has no entries"),
        (jnp.sum, {"f": jnp.tanh}, {}, "not an array"),
        (jnp.sum, jnp.ones(3), {"k": 4}, "k is 4"),
        (jnp.sum, jnp.ones(3), {"k": 0}, "k is 0"),
        (jnp.sum, jnp.ones(3), {"k": 2.0}, "k is 2.0, a float: it must be an integer"),
        (jnp.sum, jnp.ones(3), {"rtol": 0.0}, "rtol is 0"),
        (jnp.sum, jnp.ones(3), {"rtol": np.float32(-1)}, "rtol is -1.0"),
        (jnp.sum, jnp.ones(3), {"rtol": np.inf}, "rtol is inf: it must be a number between 0 and 1"),
        (jnp.sum, jnp.ones(3), {"rtol": jnp.nan}, "rtol is nan"),
        (jnp.sum, jnp.ones(3), {"rtol": "1e-3"}, "rtol is 1e-3: it must be a number"),
        (jnp.sum, jnp.ones(3), {"max_hvps": 0}, "max_hvps is 0"),
        (jnp.sum, jnp.ones(3), {"max_hvps": 2.5}, "max_hvps is 2.5, a float"),
        (3.0, jnp.ones(3), {}, "loss is a float"),
        (jnp.ones(3), jnp.ones(3), {}, "loss is an array: it must be a function"),
        (np.ones(3), jnp.ones(3), {}, "loss is an array: it must be a function"),
        (dict, jnp.ones(3), {}, "loss is the class dict"),
        (np, jnp.ones(3), {}, "loss is a module"),
        (lambda x: (jnp.sum(x), x), jnp.ones(3), {}, r"returned a tuple of 2: .* loss\(params\)\[0\]"),
        (lambda x: jnp.sum(x)[None], jnp.ones(3), {}, r"returned shape \(1,\), .* its mean or its sum"),
        (lambda x: jnp.sum(x).astype(complex), jnp.ones(3), {}, "dtype complex.*: take its real part"),
        (lambda x: 3.0, jnp.ones(3), {}, "a float that does not depend on params"),
        (lambda x: None, jnp.ones(3), {}, "returned None: return the loss"),
        (jnp.sum, np.ones(3, ">f4"), {}, "params has dtype >f4, the bytes of another machine.*newbyteorder"),
        (jnp.sum, np.ones(3, np.longdouble), {}, "too long for JAX.*float64"),
        (jnp.sum, np.ones(3, complex), {}, "params must be real floating point"),
        (jnp.sum, np.asarray(["a"]), {}, "params must be real floating point"),
        (jnp.sum, [1.0, 2.0], {}, r"params\[0\] is a float, not an array: write jnp.asarray\(1.0\)"),
        (jnp.sum, jax.random.key(0), {}, "params must be real floating point"),
    ],
)
def test_a_bad_argument_is_named(loss, params, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        sharpness(loss, params, **options)


def test_an_integer_of_any_type_is_one():
    loss, x = Partial(quadratic, jnp.arange(5.0)), jnp.ones(5)
    expected = sharpness(loss, x, k=2)
    for two in (np.int64(2), np.uint8(2), jnp.asarray(2)):
        np.testing.assert_array_equal(sharpness(loss, x, k=two, max_hvps=10 * two).values, expected.values)


def test_tolerance_and_budget_may_be_traced():
    loss, x = Partial(quadratic, jnp.arange(300.0)), jnp.ones(300)
    solve = jax.jit(lambda rtol, max_hvps: sharpness(loss, x, rtol=rtol, max_hvps=max_hvps))
    assert solve(1e-3, 20).hvps <= 20 < solve(1e-3, 2000).hvps < solve(1e-6, 2000).hvps


def test_other_values_do_not_compile_again(compilations):
    arguments = [(Partial(quadratic, scale * jnp.linspace(0.0, 1.0, 50)), jnp.full(50, scale)) for scale in (1.0, 2.0)]
    sharpness(*arguments[0], rtol=1e-3)
    assert compilations() > 0
    sharpness(*arguments[1], rtol=2e-3)
    assert compilations() == 0


def test_data_go_in_args():
    def loss(params, x, y):
        return jnp.sum((x @ params - y) ** 2) / 2

    x, y = jnp.asarray(np.diag([1.0, 2.0, 3.0])), jnp.ones(3)
    assert sharpness(loss, jnp.ones(3), args=(x, y)).values == pytest.approx([9.0])
    assert sharpness(loss, jnp.ones(3), args=(2 * x, y), k=2).values == pytest.approx([36.0, 16.0])
    with pytest.raises(TypeError, match=r"data as args=\(x, y\)"):
        sharpness(loss, jnp.ones(3), x, y)
    with pytest.raises(TypeError, match=r"args is a .*: it must be a tuple"):
        sharpness(loss, jnp.ones(3), args=x)


def test_a_derivative_with_respect_to_data_is_that_of_the_value():
    def loss(params, scale):
        return scale * jnp.sum(jnp.asarray([1.0, 2.0, 3.0]) * params**2) / 2

    gradient = jax.grad(lambda scale: sharpness(loss, jnp.ones(3), args=(scale,)).values[0])(2.0)
    assert gradient == pytest.approx(3.0)


FORMULAS = [jnp.log, jnp.sqrt, lambda x: jnp.abs(x) ** 1.5, lambda x: x, lambda x: x * jnp.log(x)]


def formula(which, x):
    """The sum of one of them over the entries; compiled once for all."""
    return jax.lax.switch(which, [lambda x, f=f: jnp.sum(f(x)) for f in FORMULAS], x)


@pytest.mark.parametrize("p", [3, 300])
@pytest.mark.parametrize(
    ("which", "at", "message"),
    [
        (0, -1.0, "the loss is nan or infinite"),
        (1, 0.0, "the gradient is nan or infinite at params, where the loss is finite"),
        (2, 0.0, "the Hessian is nan or infinite at params, where the gradient is"),
        (3, np.nan, "the loss is nan or infinite"),
        (4, -1.0, "the loss is nan or infinite"),  # its second derivative is finite
    ],
    ids=["log", "sqrt", "power", "nan", "entropy"],
)
def test_what_is_not_finite_is_named_with_a_remedy_that_helps(which, at, message, p):
    with pytest.raises(NotConvergedError, match=message) as caught:
        sharpness(Partial(formula, jnp.asarray(which)), jnp.full(p, at))
    assert "max_hvps" not in str(caught.value)
    assert "or take other params" in str(caught.value)
    assert not caught.value.spectrum.finite


def test_an_array_that_was_donated_is_named():
    gone = jnp.ones(3)
    gone.delete()
    with pytest.raises(TypeError, match=r"params\['w'\] is an array that was deleted"):
        sharpness(lambda params: jnp.sum(params["w"] ** 2), {"w": gone})


@pytest.mark.parametrize("collection", ["batch_stats", "cache", "sow"])
def test_state_beside_the_parameters_is_warned_of(collection):
    def loss(variables):
        return jnp.sum(variables["params"] ** 2 * (1 + variables[collection]))

    variables = {"params": jnp.ones(3), collection: jnp.ones(3)}
    with pytest.warns(UserWarning, match=rf"params holds '{collection}' beside 'params'.*variables\['params'\]"):
        wrong = sharpness(loss, variables).values
    right = sharpness(lambda params: loss(variables | {"params": params}), variables["params"]).values
    measures = (sharpness, dense_hessian, lambda loss, params: train(loss, params, optax.sgd(0.1), 1))
    for measure in measures:  # once in each call, and at the line that made it
        with pytest.warns(UserWarning, match="beside 'params'") as told:
            measure(loss, variables)
        assert [Path(warning.filename) for warning in told] == [Path(__file__)]
    assert right == pytest.approx([4.0])
    assert wrong == pytest.approx([2 + np.sqrt(8)])  # of [[4, 2], [2, 0]]
