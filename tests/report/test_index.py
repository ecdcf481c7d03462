"""The claims in the order of each document, and what no claim checks."""

import json
from dataclasses import replace

import pytest

from eosbench.claim import Document
from eosbench.documents import NotEncoded
from eosbench.records import from_json
from eosbench.report import read
from eosbench.report.claims_json import DocumentSummary, claims_json
from eosbench.report.index import documents

PAPER = Document(
    "paper",
    title="A paper",
    contents=("Section 10", "Section 2", "Section 2, last lines", "Section 3"),
    not_encoded=(
        NotEncoded("Section 2, remark 10", "It is fast.", "No number is given."),
        NotEncoded("Section 2, remark 9", "It is new.", "A matter of literature."),
    ),
)


def index(recorder, tmp_path, document, places):
    """(section, (place, ids or statements)...) of the document, whose claims c0, c1, ... are at these places."""
    for i, place in enumerate(places):
        recorder.simple(f"toy/c{i}", document=document, place=place)
    (found,) = documents(read(recorder.write(tmp_path / "evidence.jsonl")))
    return [
        (
            section.name,
            *(
                (place.name, *(c.id[4:] for c in place.claims), *(e.statement for e in place.not_encoded))
                for place in section.places
            ),
        )
        for section in found.sections
    ]


def test_sections_are_in_the_order_of_the_contents_and_places_within_in_that_of_their_numbers(recorder, tmp_path):
    places = ["Section 2, remark 9", "Section 2, last lines", "Section 10: Theorem 2", "Section 2", "Section 2"]
    assert index(recorder, tmp_path, PAPER, places) == [
        ("Section 10", ("Theorem 2", "c2")),
        ("Section 2", ("", "c3", "c4"), ("remark 9", "c0", "It is new."), ("remark 10", "It is fast.")),
        ("Section 2, last lines", ("", "c1")),
        ("Section 3",),
    ]


def test_a_place_in_no_section_comes_last_and_is_not_lost(recorder, tmp_path):
    found = index(recorder, tmp_path, PAPER, ["Section 20", "Appendix", "Section 2.1", "Section 3"])
    assert [name for name, *_ in found[4:]] == ["Appendix", "Section 2.1", "Section 20"]
    assert found[3:5] == [("Section 3", ("", "c3")), ("Appendix", ("", "c1"))]


def test_without_contents_every_place_is_a_section(recorder, tmp_path):
    document = replace(PAPER, contents=())
    found = index(recorder, tmp_path, document, ["Theorem 10", "Theorem 9", "Section 2, remark 9", "Theorem 10"])
    assert found == [
        ("Section 2, remark 9", ("", "c2", "It is new.")),
        ("Section 2, remark 10", ("", "It is fast.")),
        ("Theorem 9", ("", "c1")),
        ("Theorem 10", ("", "c0", "c3")),
    ]


def test_a_file_without_contents_has_the_same_claims_in_its_index(whole, tmp_path):
    lines = whole.read_text(encoding="utf-8").splitlines(keepends=True)
    old = tmp_path / "old.jsonl"
    old.write_text("".join(line for line in lines if '"type": "document"' not in line), encoding="utf-8")
    before, now = documents(read(old)), documents(read(whole))
    assert [(d.number, d.key, {c.id for c in d.claims}) for d in before] == [
        (d.number, d.key, {c.id for c in d.claims}) for d in now
    ]
    assert sum(len(d.claims) for d in now) == 8
    assert [len(d.not_encoded) for d in before] == [0, 0, 0, 0]
    assert [len(d.not_encoded) for d in now] == [0, 2, 0, 0]


def test_claims_json_has_the_documents_with_their_sections(whole):
    told = json.loads(json.dumps(claims_json(read(whole))))["documents"]
    found = [from_json(DocumentSummary, entry) for entry in told]
    assert [document.key for document in found] == sorted(document.key for document in found)
    talk, poster = found[:2]
    assert (talk.authors, talk.year, talk.version) == ("S. Arora, Z. Li and A. Panigrahi", 2022, "of July 2022")
    assert [(section.name, *section.claims) for section in poster.sections] == [
        ("I, Introduction",),
        ("II, Theorem 1", "orbit/existence-1d"),
        ("II, Convergence", "balancing/scalar", "orbit/quartic"),
        ("III",),
        ("IV",),
    ]
    assert poster.sections[2].not_encoded == (
        NotEncoded("II, Convergence: higher dimensions", "It converges there too.", "No rate is given."),
    )


@pytest.mark.parametrize("key", ["contents", "not_encoded"])
def test_a_damaged_line_of_a_document_is_refused_by_its_key(recorder, tmp_path, key):
    from eosbench.report import ResultsError

    recorder.simple()
    recorder.lines[1][key] = [3]
    with pytest.raises(ResultsError, match="line 2, is damaged"):
        read(recorder.write(tmp_path / "evidence.jsonl"))
