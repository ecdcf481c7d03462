"""The first measurement of the sharpness probe, from random vectors, beside whole spectra where it could go wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from eosbench.curvature import Layout, Point
from eosbench.probes import Sharpness

P, SEEDS, RTOL = 600, 60, 1e-3
BULK = np.linspace(-0.3, 0.6, P)
SPECTRA = {
    "a close pair": np.r_[1, 0.998, BULK[2:]],
    "a closer pair": np.r_[1, 0.9995, BULK[2:]],
    "six together": np.r_[1 - 0.003 * np.arange(6), BULK[6:]],
    "spaced by a third of a percent": np.r_[np.linspace(1 / 300, 1, 300), np.zeros(P - 300)],
    "falling slowly": 1 / np.sqrt(np.arange(1, P + 1)),
}


def point(diagonal, gradient):
    product = Partial(jnp.multiply, diagonal)
    return Point(
        gradient,
        jnp.zeros(()),
        gradient,
        product,
        None,
        jnp.asarray(0),
        jax.random.key(0),
        Partial(jnp.sum),
        layout=Layout.flat(P, float),
    )


@jax.jit
def started(diagonal, gradient):
    def one(seed):
        probe, at = Sharpness(rtol=RTOL, seed=seed), point(diagonal, gradient)
        track, memory = probe.measure(at, probe.init(at))
        return track, memory.last.values

    return jax.lax.map(one, jnp.arange(SEEDS))


@pytest.mark.parametrize("name", SPECTRA)
def test_no_start_settles_on_a_wrong_value(name):
    spectrum = np.sort(SPECTRA[name])[::-1]
    track, block = jax.tree.map(np.asarray, started(jnp.asarray(spectrum), jnp.zeros(P)))
    assert track.converged.all()
    off = np.abs(track.values[:, 0] - spectrum[0])
    assert (off <= 0.02 * RTOL).all()
    assert (off <= track.errors[:, 0] + 1e-12).all()
    assert (track.hvps <= 200).all()
    # Those beside it are right to the tolerance, or the products were spent before.
    others = np.abs(block[:, 1:4] / spectrum[1:4] - 1)
    assert (others[track.hvps < 200] <= 5 * RTOL).all()


def test_a_gradient_without_the_top_eigenvector_does_no_harm():
    spectrum = np.sort(SPECTRA["a close pair"])[::-1]
    gradient = jnp.zeros(P).at[1].set(1e30)
    track, _ = started(jnp.asarray(spectrum), gradient)
    np.testing.assert_allclose(track.values[:, 0], 1, rtol=RTOL)


def test_a_start_without_numbers_is_a_start_again():
    diagonal = jnp.asarray(SPECTRA["falling slowly"])
    probe, at = Sharpness(), point(diagonal, jnp.zeros(P))
    nowhere = point(diagonal * jnp.nan, jnp.zeros(P))
    track, memory = probe.measure(nowhere, probe.init(at))
    assert not track.converged
    track, _ = probe.measure(at, memory)
    np.testing.assert_allclose(track.values, 1, rtol=RTOL)
    assert track.converged
    assert track.hvps > 10
