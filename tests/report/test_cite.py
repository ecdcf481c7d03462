"""A verdict as others cite it, from the words of a results file alone."""

import pytest

from eosbench.report.cite import braced, citation
from eosbench.report.results import read


def of(path, id):
    results = read(path)
    return citation(next(claim for claim in results.claims if claim.id == id), results)


def test_a_line_has_the_run_the_claim_its_verdict_and_where_it_is_stated(whole):
    assert of(whole, "phase-two/loss-sqrt").line == (
        "eosbench 0.1.0, commit 4be1c07, 2026-11-22: phase-two/loss-sqrt is corrected (wrong constant), measured. "
        "Stated in S. Arora, Z. Li and A. Panigrahi, “Understanding Gradient Descent on Edge of Stability in Deep "
        "Learning (talk)”, 2022, of July 2022, Theorem 4.8 (2), Phase II, item 2. "
        r"Why it fails as printed: On $\frac12\lambda x^2$ the sum is $\frac12\eta\lambda$."
    )


def test_the_entry_says_the_same(whole):
    assert of(whole, "orbit/existence-1d").bibtex == (
        "@misc{orbit/existence-1d,\n"
        "  title = {{Verdict on orbit/existence-1d: holds, proved}},\n"
        "  year = {2026},\n"
        "  date = {2026-11-22},\n"
        "  howpublished = {eosbench 0.1.0, commit 4be1c07},\n"
        "  note = {Stated in “Beyond the Edge of Stability via Two-step Gradient Updates (poster)”, II, Theorem 1},\n"
        "}\n"
    )


def test_uncommitted_changes_are_told(troubled):
    assert "commit 4be1c07 with uncommitted changes, 2026-11-22:" in of(troubled, "orbit/quartic").line


@pytest.mark.parametrize("id", ["relu/alignment", "quadratic/aligns-to-v1", "summary/beats-state-of-the-art"])
def test_what_came_to_no_verdict_cannot_be_cited(troubled, id):
    assert of(troubled, id) is None


def test_a_run_of_which_nothing_is_known_is_cited_by_what_there_is(recorder, tmp_path):
    recorder.lines[0]["environment"] = {}
    recorder.simple("toy/claim")
    recorder.end()
    found = of(recorder.write(tmp_path / "e.jsonl"), "toy/claim")
    assert found.line.startswith("eosbench: toy/claim holds, measured. Stated in “Beyond")
    assert "year" not in found.bibtex
    assert "howpublished = {eosbench}," in found.bibtex


def test_braces_match_whatever_the_text(recorder, tmp_path):
    hostile = "a } b { c \\ d ~ e % f"
    recorder.simple("toy/claim", place=hostile)
    next(line for line in recorder.lines if line["type"] == "claim")["source"]["title"] = hostile
    recorder.lines[0]["environment"]["commit"] = hostile
    recorder.end()
    bibtex = of(recorder.write(tmp_path / "e.jsonl"), "toy/claim").bibtex
    assert bibtex.count("{") == bibtex.count("}")
    assert braced(hostile) == r"a  b  c  d  e \% f"
