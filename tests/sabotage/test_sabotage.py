"""A tenth of the planted errors, another one each day; `tox -e sabotage` plants them all."""

import datetime
from pathlib import Path

import pytest

from eosbench.catalogue import claim_files, read_claims

from .plants import ROOT, Plant, is_noticed, planted, plants, run

SHARE = 10
TODAYS = plants()[datetime.date.today().toordinal() % SHARE :: SHARE]


@pytest.mark.parametrize("plant", TODAYS, ids=lambda plant: plant.error)
def test_a_planted_error_is_noticed(plant, tmp_path, tmp_path_factory):
    compiled = tmp_path_factory.getbasetemp().parent / "compiled"  # one for all workers
    status, output = run(plant, tmp_path, compiled)
    assert is_noticed(status), f"pytest {plant.noticed_by} ended with status {status}:\n{output}"


def test_every_error_can_be_planted_and_has_a_description_of_its_own():
    found = plants()
    assert len({plant.error for plant in found}) == len(found)
    for plant in found:
        text = (Path(__file__).parents[2] / plant.file).read_text(encoding="utf-8")
        assert text.count(plant.right) == 1, plant
        assert plant.wrong != plant.right


def test_each_claim_notices_two_errors_and_one_of_two_percent_or_says_why_not():
    """A claim none of whose errors has a size states no number."""
    claims = [claim for file in claim_files([ROOT / "claims"]) for claim in read_claims(file)]
    checked = {claim.id: claim for claim in claims if not claim.out_of_scope}
    sizes = {id: [plant.size for plant in plants() if plant.claim == id] for id in checked}
    assert {plant.claim for plant in plants() if plant.claim} == set(checked)
    assert not [id for id, found in sizes.items() if len(found) < 2]
    smallest = {id: min(size for size in found if size) for id, found in sizes.items() if any(found)}
    assert not [id for id, size in smallest.items() if size > 0.02 and not checked[id].coarse]


def test_without_an_error_the_run_passes(tmp_path):
    nothing = Plant("nothing", "README.md", "# eosbench", "# eosbench", "tests/curvature/test_shown.py")
    status, output = run(nothing, tmp_path, tmp_path / "compiled")
    assert status == 0, output
    assert not is_noticed(status)


def test_a_text_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"stands 0 times in README\.md"):
        planted(Plant("nothing", "README.md", "no such text", "", "tests"), tmp_path)
