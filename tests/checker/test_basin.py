"""Certificates of basins: what is left out of the argument, or damaged by hand, is refused with the reason."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from eosbench.proof._planar import prove_basin

from .planted import asked, changed

F = Fraction


def delta(eta):
    """delta_1 of the orbit."""
    return float(np.sqrt(((1 + eta) - np.sqrt((eta - 1) * (eta + 3))) / (2 * eta)))


@pytest.fixture(scope="module")
def basin():
    return prove_basin((F("1.1"), F("1.1")), delta(1.1), levels=1, share=F(1, 2))


@pytest.fixture(scope="module")
def data(basin):
    return basin.data()


def test_the_certificate_of_a_basin_is_accepted(basin, data):
    found = asked(data)
    assert found.accepted, found.reason
    assert found.counts["boxes"] == len(basin.boxes)


def test_the_boxes_are_those_of_the_prover(basin, data):
    """Told by level, row and place they are the same up to rounding."""
    first, last, least, most = basin.domain
    told = []
    for level, row, start, end in data["proof"]["boxes"]:
        s, d = (last - first) / (64 << level), (most - least) / (32 << level)
        told += [(first + s * row, first + s * (row + 1), d * at, d * (at + 1)) for at in range(start, end)]
    np.testing.assert_allclose(sorted(told), sorted(map(tuple, basin.boxes)), atol=1e-12)


@pytest.mark.parametrize(
    ("eta", "reason"),
    [
        ("1.25", "two steps need not map the target into itself"),
        ("0.98", "two steps need not map the target into itself"),
    ],
)
def test_a_target_that_attracts_nothing(data, eta, reason):
    """Beyond sqrt(5)-1 the orbit repels, and below the edge there is none: with the target as it is for 1.1."""
    moved = changed(changed(data, ["theorem", "eta"], [eta, eta]), ["proof", "eta"], [eta, eta])
    assert asked(moved).reason == reason


def test_a_range_of_step_sizes_is_not_that_of_one(data):
    damaged = changed(data, ["theorem", "eta"], ["1.09", "1.11"])
    assert asked(damaged).reason == "the parts of the step sizes do not cover [1.09, 1.11]"
    assert not asked(changed(damaged, ["proof", "eta"], ["1.09", "1.1", "1.11"])).accepted


def test_an_interval_of_step_sizes_is_checked_in_parts():
    basin = prove_basin((F("1.1"), F("1.104")), delta(1.102), levels=1, share=F(1, 3))
    assert basin.verified
    data = basin.data()
    assert len(data["proof"]["eta"]) == 5
    assert asked(data).accepted
    assert "do not cover" in asked(changed(data, ["proof", "eta", -1], None)).reason


def test_boxes_from_which_paths_do_not_arrive(basin):
    """A prover that takes all boxes: those next to the minimizers stay there."""
    width, height = (2.6 - 0.05) / 64, 1 / 32
    low = 0.05 + width * np.arange(64)
    boxes = np.array([[s, s + width, height * j, height * (j + 1)] for s in low for j in range(32)])
    found = asked(replace(basin, boxes=boxes).data())
    assert found.reason.startswith("from s in [")
    assert found.reason.endswith("it need not arrive")


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (["theorem", "loss"], "1/2*(x*y - 51/50)**2", "the loss is not 1/2*(x*y - 1)**2"),
        (["theorem", "share"], "0.99", "of the domain, not 0.99"),
        (["theorem", "s"], ["0.05", "2.7"], ""),
        (["theorem", "D"], ["0", "1.1"], ""),
        (["theorem", "s"], ["-0.1", "2.6"], "the domain does not lie in s > 0"),
        (["theorem", "eta"], ["1.1", "3"], "the step sizes do not lie in (0, 2]"),
        (["proof", "target_D"], "2", "two steps need not map the target into itself"),
        (["proof", "target_s"], ["1.3", "2.3"], "two steps need not map the target into itself"),
        (["proof", "target_s"], ["-1.7", "-1.6"], "the target does not lie in s > 0"),
        (["proof", "grid"], ["64", 32], "the grid is no pair"),
        (["proof", "note"], "x", "which nothing reads"),
    ],
)
def test_a_damaged_certificate_is_refused(data, path, value, reason):
    found = asked(changed(data, path, value))
    assert not found.accepted
    assert reason in found.reason


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        ([0, 48, 0, 1], "it need not arrive"),  # at the minimizer with x = y = 1
        ([0, 64, 0, 1], "lie outside the domain"),
        ([0, 30, 31, 33], "lie outside the domain"),
        ([9, 0, 0, 1], "is no run of boxes"),
        ([0, 0, 1, 1], "is no run of boxes"),
        ([0, 0, 0, "1"], "is no run of boxes"),
    ],
)
def test_a_box_that_is_none_is_refused(data, run, reason):
    damaged = changed(changed(data, ["proof", "boxes"], [run]), ["theorem", "share"], "0")
    assert reason in asked(damaged).reason


def test_a_box_that_counts_twice_is_refused(data):
    damaged = changed(data, ["proof", "boxes"], [*data["proof"]["boxes"], data["proof"]["boxes"][5]])
    assert asked(damaged).reason.endswith("count twice")


def test_with_boxes_removed_the_share_is_not_reached(data):
    damaged = changed(data, ["theorem", "share"], str(F(1, 1)))
    assert "of the domain, not 1" in asked(damaged).reason
    damaged = changed(data, ["proof", "boxes"], data["proof"]["boxes"][::8])
    assert "of the domain, not 0.5" in asked(damaged).reason
