"""What a reader sees of what was measured: numbers with their errors, not shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import eosbench
from eosbench.curvature._shown import with_errors

H = jnp.asarray([1.0, 2.0, 3.0])


def loss(x):
    return jnp.sum(H * x**2) / 2


@pytest.mark.parametrize(
    ("values", "errors", "shown"),
    [
        ([10.999953, 10.97712], [2.1e-5, 4e-5], "10.99995 ± 2e-05, 10.97712 ± 4e-05"),
        ([1234.5], [30.0], "1.23e+03 ± 3e+01"),
        ([0.0], [1e-9], "0 ± 1e-09"),
        ([-3.0], [0.0], "-3 ± 0"),
        ([np.nan], [np.inf], "nan ± inf"),
        (range(8), [1] * 8, "0 ± 1, 1 ± 1, 2 ± 1, 3 ± 1, 4 ± 1, 5 ± 1, and 2 more"),
    ],
)
def test_a_value_has_as_many_digits_as_its_error_leaves_it(values, errors, shown):
    assert with_errors(values, errors) == shown


def test_a_spectrum_shows_its_numbers():
    spectrum = eosbench.sharpness(loss, jnp.ones(3), k=2)
    assert str(spectrum) == repr(spectrum) == f"Spectrum({with_errors([3, 2], spectrum.errors)}; 3 products, converged)"
    assert spectrum._repr_html_() == f"<pre>{spectrum}</pre>"


def test_a_track_shows_its_last_measurement():
    run = eosbench.train(loss, jnp.ones(3), optax.sgd(0.1), 5, {"s": eosbench.Sharpness()})
    track = run.probes["s"]
    assert repr(track).startswith("Track(5 measurements, the last 3")
    assert repr(track).endswith("; 3 products each, 100% converged)")
    assert repr(jax.tree.map(lambda leaf: leaf[0], track)).endswith("; 3 products, converged)")
    assert repr(jax.tree.map(lambda leaf: leaf[:0], track)) == "Track(no measurement)"
    assert repr(run).startswith(f"Run(5 steps, loss 3 to {float(run.loss[-1]):.4g}, s: Track(5 measurements")
    assert run._repr_html_() == f"<pre>{run}</pre>"
    assert track._repr_html_().startswith("<pre>Track(5")


def test_a_run_that_diverged_says_where():
    run = eosbench.train(loss, jnp.ones(3), optax.sgd(1e200), 5, {"x": lambda x: x})
    assert repr(run) == "Run(5 steps, loss 3 to nan, diverged at step 1)"


def test_what_has_no_numbers_shows_its_shapes():
    shapes = jax.eval_shape(lambda x: eosbench.sharpness(loss, x), jnp.ones(3))
    assert "shape=(1,)" in repr(shapes)
    assert "values=f64[2,1]" in repr(jax.vmap(lambda x: eosbench.sharpness(loss, x))(jnp.ones((2, 3))))
