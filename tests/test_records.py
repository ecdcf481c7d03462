"""The record of a run: it survives being written and read, it is documented, and older files are still read."""

import dataclasses
import inspect
import json
import math
import re
import typing
from pathlib import Path

import pytest

from eosbench.claim import Severity
from eosbench.documents import NotEncoded
from eosbench.evidence import Evidence
from eosbench.records import (
    KINDS,
    LINES,
    SEVERITIES,
    VERDICTS,
    CaseRecord,
    CertificateFile,
    Comparison,
    Curve,
    Outcome,
    Planned,
    RecordError,
    Requires,
    SourceRecord,
    dump_line,
    from_json,
    parse_line,
    to_json,
)
from eosbench.report import read

ROOT = Path(__file__).parents[1]
FILES = Path(__file__).parent / "report" / "files"

COMPARISON = Comparison("close", "error", 1.0, 2.0, 0.5, -0.5, 0.0, "violated", -1.0, {"worst of": 3})
DIVERGED = Comparison("at_most", "loss", math.inf, 2.0, 0.0, -math.inf, 0.0, "violated", -math.inf)
CURVE = Curve("GD", (0.0, 1.0), (1.0, math.inf), ("step", "loss"), spread=(0.5, 0.5))
OUTCOME = Outcome(
    nodeid="a",
    status="completed",
    reading="violated",
    records=(Requires("h", True), COMPARISON, DIVERGED),
    series=(CURVE,),
)


def columns(table):
    """The rows of the table of a page whose head starts so."""
    lines = (ROOT / "docs" / "evidence-file.md").read_text(encoding="utf-8").split(f"| {table} |")[1].splitlines()[2:]
    rows = [line.strip("| ").split(" | ") for line in lines[: [*lines, ""].index("")]]
    return {row[0].strip("`"): row[1:] for row in rows}


def names(cls):
    return [f.name for f in dataclasses.fields(cls)]


def test_a_line_is_what_it_was_after_writing_and_reading():
    text = dump_line(OUTCOME)
    assert json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no strict JSON"))
    assert parse_line(text) == OUTCOME


def test_numbers_that_are_not_finite_are_strings():
    found = to_json(DIVERGED)
    assert (found["measured"], found["margin"]) == ("inf", "-inf")
    assert math.isnan(from_json(Comparison, to_json(COMPARISON) | {"measured": "nan"}).measured)


def test_a_line_of_another_version_is_passed_over_and_a_key_of_one_too():
    assert parse_line('{"type": "weather", "wind": 3}') is None
    assert parse_line(json.dumps(to_json(OUTCOME) | {"mood": "good"})) == OUTCOME


@pytest.mark.parametrize("key", ["nodeid", "status", "records", "seconds", "reading"])
@pytest.mark.parametrize("value", [None, {}, "x" * 3, True])
def test_a_value_of_another_kind_is_refused_by_its_key(key, value):
    if (key, value) in [("nodeid", "xxx"), ("reading", None)]:
        return
    with pytest.raises(RecordError, match=f"'{key}' is missing or of another kind"):
        parse_line(json.dumps(to_json(OUTCOME) | {key: value}))


def test_a_case_is_its_plan_and_its_outcome():
    planned = Planned(nodeid="a", claim="toy/claim", check="test_it", case="n=1", role="control")
    case = CaseRecord.of(planned, OUTCOME)
    assert (case.claim, case.reading, case.records) == ("toy/claim", "violated", OUTCOME.records)
    assert case.fired
    assert case.comparisons == [COMPARISON, DIVERGED]
    assert case.hypotheses == [Requires("h", True)]


def test_every_line_and_all_it_holds_is_documented():
    documented = {type: re.findall(r"`(\w+)`", row[0]) for type, row in columns("type").items()}
    assert documented == {type: names(cls) for type, cls in LINES.items()}
    held = {
        "source": SourceRecord,
        "statement": NotEncoded,
        "hypothesis": Requires,
        "comparison": Comparison,
        "curve": Curve,
        "certificate": CertificateFile,
    }
    documented = {name: re.findall(r"`(\w+)`", row[0]) for name, row in columns("object").items()}
    assert documented == {name: names(cls) for name, cls in held.items()}


def test_every_kind_of_comparison_is_a_method_of_evidence_that_says_what_it_compares():
    assert [name for name in KINDS if not inspect.getdoc(getattr(Evidence, name))] == []


def told(method):
    """The call of a method without its types, and the first sentence of its docstring."""
    _, *parameters = inspect.signature(getattr(Evidence, method)).parameters.values()
    call = inspect.Signature([parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters])
    sentence = re.match(r".*?[.](?=\s|$)", inspect.getdoc(getattr(Evidence, method)), re.DOTALL)
    return f"{method}{call}", " ".join(sentence[0].split())


def test_the_tutorial_has_the_methods_of_evidence_with_their_arguments():
    page = (ROOT / "docs" / "write-your-own-claim.md").read_text(encoding="utf-8")
    table = page.partition("| method of `evidence` | what it records |\n|---|---|\n")[2].partition("\n\n")[0]
    rows = dict(re.fullmatch(r"\| `(.+)` \| (.+) \|", row.replace(r"\|", "¦")).groups() for row in table.splitlines())
    methods = {name for name in vars(Evidence) if not name.startswith("_") and callable(getattr(Evidence, name))}
    there = dict(map(told, methods))
    assert {call: there.get(call) for call in rows} == {call: says.replace("¦", "|") for call, says in rows.items()}
    # A kind of comparison that is new may be missing: the site has it by itself.
    assert methods - {call.partition("(")[0] for call in rows} <= set(KINDS)


def test_what_the_page_on_verdicts_says_of_each_is_what_the_report_says():
    page = (ROOT / "docs" / "verdicts.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z ]+)` \| ", page, re.MULTILINE)) >= set(VERDICTS)


def test_the_page_on_verdicts_has_every_severity_in_the_words_of_the_report():
    page = (ROOT / "docs" / "verdicts.md").read_text(encoding="utf-8")
    assert all(f"| `{severity}` | {meaning} |" in page for severity, meaning in SEVERITIES.items())
    assert set(SEVERITIES) == set(typing.get_args(Severity))


@pytest.mark.parametrize(
    ("name", "outcome", "verdicts"),
    [
        (
            "0.1.0",
            "finished",
            {
                "edge/every-step-size": "refuted",
                "orbit/existence-1d": "holds",
                "summary/beats-state-of-the-art": "out of scope",
            },
        ),
        # A control of the first breaks a hypothesis that was not recorded then.
        ("before-0.1.0", "finished", {"balancing/scalar": "inconclusive", "orbit/composition": "corrected"}),
        ("0.1.0-killed", "killed", {"matrix/balanced-orbit": "broken"}),
    ],
)
def test_files_of_older_versions_are_read(name, outcome, verdicts):
    results = read(FILES / f"{name}.jsonl")
    assert results.outcome == outcome
    assert {claim.id: claim.verdict for claim in results.claims} == verdicts
