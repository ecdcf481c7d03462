"""A tenth of the planted errors, another one each day; `tox -e sabotage` plants them all."""

import datetime
from pathlib import Path

import pytest

from .plants import Plant, is_noticed, planted, plants, run

SHARE = 10
TODAYS = plants()[datetime.date.today().toordinal() % SHARE :: SHARE]


@pytest.mark.parametrize("plant", TODAYS, ids=lambda plant: plant.error)
def test_a_planted_error_is_noticed(plant, tmp_path):
    status, output = run(plant, tmp_path)
    assert is_noticed(status), f"pytest {plant.noticed_by} ended with status {status}:\n{output}"


def test_every_error_can_be_planted_and_has_a_description_of_its_own():
    found = plants()
    assert len({plant.error for plant in found}) == len(found)
    for plant in found:
        text = (Path(__file__).parents[2] / plant.file).read_text(encoding="utf-8")
        assert text.count(plant.right) == 1, plant
        assert plant.wrong != plant.right


def test_without_an_error_the_run_passes(tmp_path):
    nothing = Plant("nothing", "README.md", "# eosbench", "# eosbench", "tests/curvature/test_shown.py")
    status, output = run(nothing, tmp_path)
    assert status == 0, output
    assert not is_noticed(status)


def test_a_text_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"stands 0 times in README\.md"):
        planted(Plant("nothing", "README.md", "no such text", "", "tests"), tmp_path)
