import bz2
import gzip
import json
import lzma
import math
import subprocess
import sys
from pathlib import Path

import pytest

from eosbench.report import ResultsError, read, write
from eosbench.report.claims_json import claims_json
from eosbench.report.notices import headline, notices

KEYS = [
    "schema", "complete", "outcome", "selection", "environment", "coverage", "documents", "claims", "cases", "crashes",
]  # fmt: skip
CLAIM_KEYS = {
    "id", "topic", "source", "printed", "corrected", "verdict", "expected", "grade", "grades", "counts", "worst",
    "controls", "constants", "seconds",
}  # fmt: skip


def statuses(path):
    return {case.case: case.status for case in read(path).cases}


def test_a_whole_run_is_complete_and_as_expected(whole):
    results = read(whole)
    assert results.complete
    assert not results.subset
    assert not results.drifted
    assert notices(results) == []
    assert (
        headline(results)
        == "Of 8 claims, 7 came out as expected and 1 was out of scope. As printed, 3 do not hold: 1 is false, "
        "1 has a wrong constant and 1 lacks a hypothesis."
    )


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
    assert [notice.kind for notice in notices(results)] == [
        "drift", "collect error", "crash", "lost", "partial", "dirty",
    ]  # fmt: skip


@pytest.mark.parametrize(("scale", "told"), [("small", 0), ("paper", 1)])
def test_a_run_at_the_papers_size_says_so(whole, tmp_path, scale, told):
    text = whole.read_text(encoding="utf-8").replace('"environment": {', f'"environment": {{"scale": "{scale}", ', 1)
    (tmp_path / "evidence.jsonl").write_text(text, encoding="utf-8")
    told_of = [notice.sentence for notice in notices(read(tmp_path / "evidence.jsonl"))]
    assert told_of == ["Experiments that have two sizes ran at that of the paper."] * told


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
    assert [crash["case"] for crash in claims_json(results)["crashes"]] == ["n=2"]


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
        ("case", {"records": [{"kind": "close"}]}, "name"),
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


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_a_file_that_an_editor_wrote_again_is_read_as_it_was(whole, encoding, ending):
    reference = claims_json(read(whole))
    text = whole.read_text(encoding="utf-8").replace("\n", ending)
    whole.write_bytes(text.encode(encoding))
    assert claims_json(read(whole)) == reference


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"])
def test_a_compressed_file_is_named_so(whole, pack):
    whole.write_bytes(pack(whole.read_bytes()))
    with pytest.raises(ResultsError, match="is compressed; unpack it"):
        read(whole)


@pytest.mark.parametrize("raw", [b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\x80\x81\x82\x83", bytes(64)])
def test_what_is_no_text_is_refused_in_one_sentence(tmp_path, raw):
    (tmp_path / "evidence.jsonl").write_bytes(raw)
    with pytest.raises(ResultsError, match="no results file of eosbench"):
        read(tmp_path / "evidence.jsonl")


def attempts(recorder, *lines):
    """A claim of one case, with these lines in place of the one that tells how it ended."""
    claim = recorder.claim("toy/claim")
    nodeid = recorder.case(claim, "n=1", lambda e: e.at_most("error", 0.0, 1.0), products=7, seconds=3.0)
    good = recorder.lines.pop()
    started = {"type": "started", "nodeid": nodeid}
    bad = good | {"status": "error", "reading": None, "message": "OSError: gone", "records": [], "products": 100}
    known = {"good": good, "bad": bad, "started": started}
    recorder.lines += [known[name] for name in lines]


@pytest.mark.parametrize(
    ("lines", "status", "n"),
    [
        (["good"], "completed", 1),
        (["bad"], "error", 1),
        (["bad", "good"], "completed", 1),  # a second line of the same attempt
        (["good", "bad"], "error", 1),
        (["bad", "started", "good"], "completed", 2),
        (["good", "started", "bad"], "error", 2),
        (["bad", "started", "bad", "started", "good"], "completed", 3),
        (["started", "good"], "completed", 2),
        (["good", "started"], "lost", 2),
    ],
)
def test_of_several_lines_of_a_case_the_last_counts(recorder, tmp_path, lines, status, n):
    attempts(recorder, *lines)
    recorder.end()
    results = read(recorder.write(tmp_path / "evidence.jsonl"))
    (case,) = results.cases
    assert (case.status, case.attempts) == (status, n)
    counted = {"completed": (7, 1, "satisfied"), "error": (100, 0, None), "lost": (0, 0, None)}
    assert (case.products, len(case.records), case.reading) == counted[status]
    assert [notice.details for notice in notices(results) if notice.kind == "run again"] == (
        [(f"{case.nodeid}: attempt {n}",)] if n > 1 else []
    )


@pytest.mark.parametrize("outcome", ["interrupted", None])
def test_a_run_that_died_in_a_later_attempt_died_in_that_case(recorder, tmp_path, outcome):
    attempts(recorder, "good", "started")
    if outcome:
        recorder.end(outcome)
    path = recorder.write(tmp_path / "evidence.jsonl")
    assert statuses(path) == {"n=1": "crashed"}
    assert read(path).claims[0].verdict == "broken"


def test_a_partial_run_tells_of_the_claims_that_were_not_asked_for(recorder, tmp_path):
    recorder.simple()
    recorder.claim("toy/other")
    recorder.claim("toy/never", expected="out of scope", out_of_scope="needs a GPU")
    recorder.lines[0]["selection"] = {"args": ["claims/test_a.py"], "subset": True}
    recorder.end()
    (notice,) = notices(read(recorder.write(tmp_path / "evidence.jsonl")))
    assert notice.sentence.endswith(
        "selected, and 1 claim of other files there not asked for (pytest claims/test_a.py)."
    )


def test_claims_json_is_strict_and_has_its_keys(troubled):
    def refuse(constant):
        raise AssertionError(constant)

    document = json.loads(json.dumps(claims_json(read(troubled)), allow_nan=False), parse_constant=refuse)
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
    document = claims_json(read(whole))
    assert {claim["id"]: claim["products"] for claim in document["claims"] if claim["products"]} == {
        "edge/progressive-sharpening": 3600
    }
    assert document["coverage"]["products"] == 3600


def test_claims_name_what_they_rest_on(whole):
    uses = {claim["id"]: claim["uses"] for claim in claims_json(read(whole))["claims"]}
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
    reference = claims_json(read(whole))
    lines = whole.read_text().splitlines()
    claims = [line for line in lines if '"type": "claim"' in line]
    others = [line for line in lines[1:] if '"type": "claim"' not in line]
    whole.write_text("\n".join([lines[0], *reversed(claims), *others]) + "\n")
    assert claims_json(read(whole)) == reference


def test_hypotheses_are_counted_over_cases_and_counterexamples(whole):
    quartic = next(claim for claim in read(whole).claims if claim.id == "orbit/quartic")
    assert quartic.hypotheses() == [
        ("1 < eta < 1.121", 4, 4),
        ("no start is a preimage of 1", 4, 4),
        ("0 < x0 < 1", 1, 1),
    ]


def test_lone_surrogates_are_replaced(recorder, tmp_path):
    recorder.simple(printed="a \ud800 b")
    text = json.dumps(claims_json(read(recorder.write(tmp_path / "evidence.jsonl"))), ensure_ascii=False)
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
