import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from eosbench.report import ResultsError, read, write

KEYS = ["schema", "complete", "outcome", "selection", "environment", "coverage", "claims", "cases", "crashes"]
CLAIM_KEYS = {
    "id", "topic", "source", "printed", "corrected", "verdict", "expected", "grade", "counts", "worst", "controls",
    "constants", "seconds",
}  # fmt: skip


def statuses(path):
    return {case["case"]: case["status"] for case in read(path).cases}


def test_a_whole_run_is_complete_and_as_expected(whole):
    results = read(whole)
    assert results.complete
    assert not results.subset
    assert not results.drifted
    assert results.notices == []
    assert results.headline == "Of 8 claims, 7 came out as expected and 1 was out of scope."


def test_every_verdict_occurs_in_the_troubled_run(troubled):
    results = read(troubled)
    assert {claim.id: claim.verdict for claim in results.claims} == {
        "balancing/scalar": "holds",
        "descent/inequality": "inconclusive",
        "descent/quadratic-regimes": "vacuous",
        "edge/every-step-size": "refuted",
        "edge/hovers": "broken",
        "edge/progressive-sharpening": "holds",
        "limiting-flow/ngd": "holds",
        "orbit/existence-1d": "holds",
        "orbit/quartic": "corrected",
        "phase-two/loss-sqrt": "corrected",
        "quadratic/aligns-to-v1": "partial",
        "relu/alignment": "not run",
        "summary/beats-state-of-the-art": "out of scope",
    }
    assert [claim.id for claim in results.drifted] == [
        "descent/inequality", "descent/quadratic-regimes", "edge/hovers",
    ]  # fmt: skip
    assert [notice.kind for notice in results.notices] == [
        "drift", "collect error", "crash", "lost", "partial", "dirty",
    ]  # fmt: skip


@pytest.mark.parametrize(("scale", "told"), [("small", 0), ("paper", 1)])
def test_a_run_at_the_papers_size_says_so(whole, tmp_path, scale, told):
    text = whole.read_text(encoding="utf-8").replace('"environment": {', f'"environment": {{"scale": "{scale}", ', 1)
    (tmp_path / "evidence.jsonl").write_text(text, encoding="utf-8")
    notices = [notice.sentence for notice in read(tmp_path / "evidence.jsonl").notices]
    assert notices == ["Experiments that have two sizes ran at that of the paper."] * told


@pytest.mark.parametrize("outcome", ["interrupted", None])
def test_what_had_started_when_the_run_died_crashed_and_the_rest_is_lost(recorder, tmp_path, outcome):
    claim = recorder.claim("toy/claim")
    recorder.case(claim, "n=1", lambda e: e.at_most("error", 0.0, 1.0))
    recorder.case(claim, "n=2", reported=False)
    recorder.case(claim, "n=3", started=False)
    recorder.case(claim, "n=4", selected=False)
    if outcome:
        recorder.end(outcome)
    path = recorder.write(tmp_path / "evidence.jsonl")
    assert statuses(path) == {"n=1": "completed", "n=2": "crashed", "n=3": "lost", "n=4": "deselected"}
    results = read(path)
    assert results.outcome == (outcome or "killed")
    assert results.claims[0].verdict == "broken"
    assert [crash["case"] for crash in results.to_json()["crashes"]] == ["n=2"]


@pytest.mark.parametrize(("outcome", "status"), [("finished", "lost"), ("stopped early", "deselected")])
def test_a_case_that_vanished_from_a_run_with_an_end_is_lost_unless_it_was_to_stop(recorder, tmp_path, outcome, status):
    claim = recorder.claim("toy/claim")
    recorder.case(claim, "n=2", reported=False)
    recorder.end(outcome)
    assert statuses(recorder.write(tmp_path / "evidence.jsonl")) == {"n=2": status}


def test_a_line_cut_short_at_the_end_counts_as_not_written(recorder, tmp_path):
    recorder.simple()
    path = recorder.write(tmp_path / "evidence.jsonl")
    text = path.read_text()
    for cut in range(2, 400, 7):
        path.write_text(text[:-cut])
        results = read(path)
        assert results.outcome == "killed"
        assert results.claims[0].verdict != "holds"


def test_a_damaged_line_within_the_file_is_refused(recorder, tmp_path):
    recorder.simple()
    path = recorder.write(tmp_path / "evidence.jsonl")
    lines = path.read_text().splitlines()
    lines[2] = lines[2][:20]
    path.write_text("\n".join(lines))
    with pytest.raises(ResultsError, match="line 3, is damaged"):
        read(path)


@pytest.mark.parametrize(
    ("type", "change", "named"),
    [
        ("claim", {"source": {"title": "T", "place": "p"}}, "document"),
        ("claim", {"printed": None}, "printed"),
        ("planned", {"claim": 3}, "claim"),
        ("case", {"status": None}, "status"),
        ("case", {"records": [None]}, "name"),
        ("case", {"records": [{"kind": "requires", "name": "a"}]}, "met"),
        ("case", {"records": [{"kind": "close", "name": "a", "reading": "satisfied"}]}, "measured"),
        ("end", {"outcome": None}, "outcome"),
        ("run", {"environment": []}, "environment"),
    ],
)
def test_a_line_that_lacks_something_is_refused_by_its_number(recorder, tmp_path, type, change, named):
    recorder.simple()
    recorder.end()
    i = next(i for i, line in enumerate(recorder.lines) if line["type"] == type)
    recorder.lines[i] |= change
    told = f"line {i + 1}, is damaged: {named!r} is missing or of another kind"
    with pytest.raises(ResultsError, match=told):
        read(recorder.write(tmp_path / "evidence.jsonl"))


def test_a_newer_schema_a_foreign_file_and_no_file_are_refused_in_one_sentence(recorder, tmp_path):
    path = tmp_path / "evidence.jsonl"
    with pytest.raises(ResultsError, match="cannot be read"):
        read(path)
    path.write_text("")
    with pytest.raises(ResultsError, match="no run line"):
        read(path)
    path.write_text("[1]\n{}\n")
    with pytest.raises(ResultsError, match="line 1"):
        read(path)
    recorder.lines[0]["schema"] = "eosbench-evidence/2"
    with pytest.raises(ResultsError, match="eosbench-evidence/2"):
        read(recorder.write(path))


def test_claims_json_is_strict_and_has_its_keys(troubled):
    def refuse(constant):
        raise AssertionError(constant)

    document = json.loads(json.dumps(read(troubled).to_json(), allow_nan=False), parse_constant=refuse)
    assert document["schema"] == "eosbench-claims/1"
    assert list(document) == KEYS
    for claim in document["claims"]:
        assert claim.keys() >= CLAIM_KEYS
    by_id = {claim["id"]: claim for claim in document["claims"]}
    assert by_id["edge/every-step-size"]["worst"]["margin"] == "-inf"
    assert by_id["limiting-flow/ngd"]["constants"][0].keys() == {"name", "claimed", "low", "high"}
    assert all(control.keys() == {"name", "fired"} for claim in document["claims"] for control in claim["controls"])
    assert not document["complete"]
    assert document["coverage"]["cases"]["lost"] == 1


def test_products_are_counted_for_each_claim_and_altogether(whole):
    document = read(whole).to_json()
    assert {claim["id"]: claim["products"] for claim in document["claims"] if claim["products"]} == {
        "edge/progressive-sharpening": 3600
    }
    assert document["coverage"]["products"] == 3600


def test_claims_name_what_they_rest_on(whole):
    uses = {claim["id"]: claim["uses"] for claim in read(whole).to_json()["claims"]}
    assert uses["balancing/scalar"] == ["orbit/quartic", "orbit/existence-1d"]
    assert uses["edge/every-step-size"] == []


def test_older_files_lack_uses_products_and_what_is_known_of_a_document(whole):
    lines = [json.loads(line) for line in whole.read_text().splitlines()]
    for line in lines:
        line.pop("uses", None)
        line.pop("products", None)
        for key in ("authors", "year", "url", "version"):
            line.get("source", {}).pop(key, None)
        line.get("environment", {}).pop("backend", None)
    whole.write_text("".join(json.dumps(line) + "\n" for line in lines))
    write(whole, whole.parent / "out")
    document = json.loads((whole.parent / "out" / "claims.json").read_text())
    assert document["coverage"]["products"] == 0
    assert all(claim["uses"] == [] for claim in document["claims"])


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, {"precision": "float64", "device": "cpu", "backend": "cpu"}),
        ({"x64": False, "device": "NVIDIA A100", "backend": "gpu"}, {
            "precision": "float32", "device": "NVIDIA A100", "backend": "gpu",
        }),
        ({"x64": None, "device": None, "backend": None}, {}),
    ],
)  # fmt: skip
def test_precision_and_device_are_in_plain_words(recorder, tmp_path, environment, expected):
    recorder.lines[0]["environment"] |= environment
    assert read(recorder.write(tmp_path / "evidence.jsonl")).machine == expected


def test_the_admissible_interval_is_the_intersection_over_the_cases(whole):
    (constant,) = next(claim for claim in read(whole).claims if claim.id == "limiting-flow/ngd").judgement.constants
    assert math.isclose(constant.low, 0.25 + 1.1e-4 - 4e-4)
    assert math.isclose(constant.high, 0.25 - 0.6e-4 + 4e-4)


def test_the_order_in_which_claims_were_collected_does_not_matter(whole):
    reference = read(whole).to_json()
    lines = whole.read_text().splitlines()
    claims = [line for line in lines if '"type": "claim"' in line]
    others = [line for line in lines[1:] if '"type": "claim"' not in line]
    whole.write_text("\n".join([lines[0], *reversed(claims), *others]) + "\n")
    assert read(whole).to_json() == reference


def test_hypotheses_are_counted_over_cases_and_counterexamples(whole):
    quartic = next(claim for claim in read(whole).claims if claim.id == "orbit/quartic")
    assert quartic.hypotheses() == [
        ("1 < eta < 1.121", 4, 4),
        ("no start is a preimage of 1", 4, 4),
        ("0 < x0 < 1", 1, 1),
    ]


def test_lone_surrogates_are_replaced(recorder, tmp_path):
    recorder.simple(printed="a \ud800 b")
    text = json.dumps(read(recorder.write(tmp_path / "evidence.jsonl")).to_json(), ensure_ascii=False)
    assert "a ? b" in text
    text.encode("utf-8")


def test_reading_and_the_table_need_neither_jax_nor_matplotlib():
    code = (
        "import sys, eosbench.report, eosbench.report.results, eosbench.report.terminal;"
        "print(*{'jax', 'matplotlib', 'jinja2'} & set(sys.modules))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert out.stdout.strip() == ""
