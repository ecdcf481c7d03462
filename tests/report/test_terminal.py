import re
from dataclasses import replace
from pathlib import Path

import pytest

from eosbench.report import read, summary


def test_the_table_shows_every_claim_with_symbol_and_word(troubled):
    text = summary(read(troubled))
    for line in (
        r"balancing/scalar +✔  holds +exact +yes +40/40 .* 1/1 fired",
        r"orbit/quartic +✔\* corrected +measured +yes +4/4 +0\.13 +2/2 fired",
        r"edge/every-step-size +✘  refuted .* 0/2 ",
        r"descent/inequality +\?  inconclusive +– +DRIFT",
        r"descent/quadratic-regimes +∅  vacuous",
        r"edge/hovers +!  broken",
        r"quadratic/aligns-to-v1 +◐  partial",
        r"⊘  out of scope",
        r"1/4 in the limiting flow +0\.25 +\[0\.24971, 0\.25034\]",
    ):
        assert re.search(line, text), line


def test_a_part_of_the_claims_is_shown_without_the_others(recorder, tmp_path):
    recorder.lines[0]["selection"] = {"args": ["claims", "-k", "a"], "subset": True}
    recorder.simple("toy/a")
    for name in "bc":
        recorder.case(recorder.claim(f"toy/{name}"), f"n={name}", selected=False)
    recorder.end()
    text = summary(read(recorder.write(tmp_path / "e.jsonl")))
    assert "toy/a" in text
    assert "toy/b" not in text
    assert "Not listed: 2 claims of which nothing ran." in text


def test_below_the_table_stands_what_needs_attention(troubled):
    text = summary(read(troubled))
    assert "DRIFT  edge/hovers is broken, expected holds: test_it[seed=1]: crashed" in text
    assert "claims/a/test_b.py: claim 'a/b': it has no control; add one" in text
    assert " ".join(text.split()).endswith(
        "As printed, 3 do not hold: 1 is false, 1 has a wrong constant and 1 lacks a hypothesis."
    )
    report = Path("claims-report") / "report.html"
    assert summary(replace(read(troubled), report=report)).endswith(f"Report: {report}")


@pytest.mark.parametrize("width", [60, 80, 90, 100])
def test_no_line_is_too_long(troubled, width):
    assert max(map(len, summary(read(troubled), width).splitlines())) <= width


def test_columns_that_others_can_do_without_go_where_the_terminal_is_narrow(troubled, monkeypatch):
    heads = {}
    for width in (60, 80, 100, 200):
        monkeypatch.setenv("COLUMNS", str(width))
        heads[width] = summary(read(troubled)).splitlines()[0].split()
    assert heads[60] == ["Claim", "Verdict", "Expected", "Cases"]
    assert heads[80] == ["Claim", "Verdict", "Expected", "Cases", "Controls"]
    assert heads[100] == heads[200] == ["Claim", "Verdict", "Grade", "Expected", "Cases", "Slack", "Controls"]


def test_long_ids_and_names_are_wrapped(recorder, tmp_path):
    claim = recorder.claim(f"{'long-' * 20}topic/{'name-' * 20}end")
    recorder.case(claim, "n=1", lambda e: e.constant("a constant " * 20, 1.0, 1.0, 0.1))
    recorder.case(claim, "n=2" * 200, lambda e: e.at_most("error" * 50, 1.0, 0.0))
    assert max(map(len, summary(read(recorder.write(tmp_path / "e.jsonl"))).splitlines())) <= 100


def test_no_control_character_reaches_the_terminal(recorder, tmp_path):
    claim = recorder.claim("toy/claim")
    recorder.case(claim, "n=1", status="error", message="\x1b]0;owned\x07 \x1b[2J\u202e reversed")
    text = summary(read(recorder.write(tmp_path / "e.jsonl")))
    assert "reversed" in text
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)


def test_a_run_without_claims_says_so(recorder, tmp_path):
    recorder.end()
    assert summary(read(recorder.write(tmp_path / "e.jsonl"))) == "No claim was collected."
