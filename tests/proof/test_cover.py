"""Boxes of step sizes that cover a range, whatever was proved on them."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest

from eosbench.proof._cover import Box, CoverCertificate, bisect

F = Fraction


def narrow(low, high):
    """Proved where a box is not wider than a quarter."""
    return Box((low, high), ((low, high),)) if high - low <= F(1, 4) else None


@pytest.fixture(scope="module")
def certificate():
    boxes, failed = bisect(narrow, F(0), F(1), 14)
    return CoverCertificate("planted", (F(0), F(1)), boxes, failed, 0.0)


def test_the_boxes_are_halved_until_they_are_proved(certificate):
    assert [box.eta for box in certificate.boxes] == list(pairwise(F(k, 4) for k in range(5)))
    assert certificate.verified
    shown = certificate.describe()
    assert (shown["boxes"], shown["cells"], shown["unproved"]) == (4, 4, 0)
    assert shown["eta from"] < 0
    assert shown["eta to"] > 1


def test_it_gives_up_at_the_first_box_that_is_not_proved():
    boxes, failed = bisect(lambda a, b: None if b > F(1, 3) else narrow(a, b), F(0), F(1), 5)
    assert boxes[-1].eta[1] == failed[0][0] == F(10, 32)  # the next box of full depth, 1/32 wide, holds 1/3
    assert failed == ((F(10, 32), F(1)),)
    partly = CoverCertificate("planted", (F(0), F(1)), boxes, failed, 0.0)
    assert not partly.verified
    assert partly.describe()["unproved"] == 22 / 32


@pytest.mark.parametrize("at", [0, 1, 3])
def test_a_missing_box_is_seen(certificate, at):
    assert not replace(certificate, boxes=certificate.boxes[:at] + certificate.boxes[at + 1 :]).verified


@pytest.mark.parametrize(
    "boxes",
    [
        pytest.param(lambda boxes: (*boxes[:2], boxes[1], *boxes[2:]), id="one twice"),
        pytest.param(lambda boxes: boxes[::-1], id="the other way round"),
        pytest.param(lambda boxes: (), id="none"),
    ],
)
def test_boxes_that_do_not_follow_one_another_are_seen(certificate, boxes):
    assert not replace(certificate, boxes=boxes(certificate.boxes)).verified


def test_a_wider_range_is_not_covered(certificate):
    assert not replace(certificate, eta=(F(-1, 100), F(1))).verified
    assert not replace(certificate, eta=(F(0), F(101, 100))).verified


def test_what_failed_counts_even_where_boxes_cover(certificate):
    assert not replace(certificate, failed=((F(1), F(1)),)).verified
