"""The page of contested questions: what it says was found here is in a claim that exists."""

import re
from pathlib import Path

from eosbench.catalogue import claim_files, read_claims

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "contested.md").read_text(encoding="utf-8")
QUESTIONS = re.split(r"^## ", PAGE, flags=re.M)[1:]
CLAIM = re.compile(r"`([a-z][a-z-]*/[a-z0-9-]+)`")


def test_every_claim_on_the_page_exists():
    ids = {claim.id for file in claim_files([ROOT / "claims"]) for claim in read_claims(file)}
    assert set(CLAIM.findall(PAGE)) <= ids


def test_every_question_has_two_sides_and_a_claim_that_was_decided():
    assert [question.partition(".")[0] for question in QUESTIONS] == [str(n + 1) for n in range(len(QUESTIONS))]
    for question in QUESTIONS:
        labels = re.findall(r"^\* \*\*(.+?)\.\*\*", question, flags=re.M)
        assert labels in (["One side", "The other", "Found here"], ["One side", "The other", "Found here", "Open"])
        found = question.partition("**Found here.**")[2].partition("* **Open.**")[0]
        assert CLAIM.search(found), question.partition("\n")[0]
        assert re.search(r"\d", found), question.partition("\n")[0]
