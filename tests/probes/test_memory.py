"""Of the blocks of the last two measurements the nearer one is where the next begins."""

import jax.numpy as jnp
import numpy as np
import pytest

from eosbench.curvature import Layout
from eosbench.probes._memory import EXPLORE, STRAIGHTEN, Block, Memory

P = 12
LAYOUT = Layout.flat(P, float)
AXES = jnp.eye(P)


def block(vectors, values):
    b = len(vectors)
    return Block(
        vectors, jnp.asarray(values), jnp.arange(1.0, b + 1), jnp.arange(b) / 2, jnp.arange(b) / 4, jnp.ones(())
    )


def memory(wanted=AXES[0]):
    """The last block at 1 on the line, with this wanted vector, and the one before at 0."""
    last = block(jnp.stack([wanted, AXES[1], AXES[4]]), [5.0, 4.0, 1.0])
    before = block(AXES[:3], [7.0, 6.0, 2.0])
    places = jnp.stack([jnp.ones(P), jnp.zeros(P)])
    nothing = jnp.zeros((1, P)), jnp.zeros(1)
    return Memory(last, before, places, *nothing, jnp.asarray(9), jnp.asarray(True), jnp.asarray(0))


def start(memory, place):
    block, back = memory.nearest(jnp.full(P, place), LAYOUT)
    return block, bool(back)


@pytest.mark.parametrize(
    ("place", "back"), [(0.1, True), (0.24, True), (0.26, False), (0.9, False), (-0.3, True), (-0.6, False)]
)
def test_a_point_has_come_back_if_the_last_but_one_is_three_times_nearer(place, back):
    block, found = start(memory(), place)
    assert found == back
    assert block.values[0] == (7 if back else 5)


def test_what_was_never_measured_is_not_near():
    nowhere = memory()._replace(places=jnp.full((2, P), jnp.inf))
    assert start(nowhere, 0.0)[1] is False
    once = nowhere.followed_by(nowhere.last, jnp.zeros(P), LAYOUT)
    assert start(once, 0.0)[1] is False
    assert start(once.followed_by(once.last, jnp.ones(P), LAYOUT), 0.0)[1] is True
    random = nowhere._replace(begun=jnp.asarray(False)).followed_by(nowhere.last, jnp.zeros(P), LAYOUT)
    assert not jnp.isfinite(random.places).any()


def test_the_last_but_one_goes_on_with_the_last_explorer():
    block, _ = start(memory(), 0.0)
    np.testing.assert_allclose(np.abs(block.vectors), AXES[jnp.asarray([0, 1, 4])], atol=1e-15)
    np.testing.assert_array_equal(block.values, [7, 6, 1])
    np.testing.assert_array_equal(block.ages, [2, 3, 3])  # one more than they were, but for the explorer
    np.testing.assert_array_equal([block.reach, block.drift], [[0, 0.5, 1], [0, 0.25, 0.5]])


@pytest.mark.parametrize(("share", "news"), [(0.005, False), (0.02, True)])
def test_where_a_wanted_vector_has_left_the_last_but_one_what_is_outside_is_multiplied_there(share, news):
    wanted = jnp.sqrt(1 - share) * AXES[0] + jnp.sqrt(share) * AXES[7]
    block, _ = start(memory(wanted), 0.0)
    np.testing.assert_allclose(np.abs(block.vectors[-1]), AXES[7 if news else 4], atol=1e-15)
    assert (block.ages[-1] > EXPLORE) == news


def test_from_the_last_wanted_vectors_move_on_as_they_moved():
    """Turning by the same small angle at each measurement, they are foreseen up to its square."""
    angle, found = 0.01, memory()
    for t in range(4):
        turned = jnp.cos(angle * t) * AXES[0] + jnp.sin(angle * t) * AXES[7]
        found = found.followed_by(
            block(jnp.stack([turned, AXES[1], AXES[4]]), [5.0, 4.0, 1.0]), jnp.full(P, 2.0 + t), LAYOUT
        )
    np.testing.assert_allclose(found.factor, 1, atol=1e-3)
    foreseen = start(found, 6.0)[0].vectors[0]
    np.testing.assert_allclose(foreseen @ (jnp.cos(4 * angle) * AXES[0] + jnp.sin(4 * angle) * AXES[7]), 1, atol=1e-8)
    np.testing.assert_allclose(foreseen @ turned, np.cos(angle), atol=1e-6)


@pytest.mark.parametrize("place", [0.1, 0.9])
@pytest.mark.parametrize(("measured", "straight"), [(STRAIGHTEN, True), (STRAIGHTEN + 1, False)])
def test_now_and_then_the_rows_of_a_block_are_made_orthonormal_again(place, measured, straight):
    bent = AXES + 1e-3
    found = memory()
    last, before = found.last._replace(vectors=bent[3:6]), found.before._replace(vectors=bent[:3])
    rows = start(found._replace(last=last, before=before, measured=jnp.asarray(measured)), place)[0].vectors
    assert np.allclose(rows @ rows.T, np.eye(3), atol=1e-12) == straight
