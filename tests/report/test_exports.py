from xml.etree import ElementTree

import pytest

from eosbench import Document
from eosbench.report import keep, read, write
from eosbench.report.exports import FORMATS, badge, bibtex, junit

NAMESPACE = "{http://www.w3.org/2000/svg}"
HOSTILE = "<b>&\x1b[2J\u202e {}% \\"


def title(path):
    return ElementTree.fromstring(badge(read(path))).findtext(f"{NAMESPACE}title")


def test_the_badge_counts_every_verdict(whole):
    assert title(whole) == "claims: 4 hold · 2 corrected · 1 refuted · 1 out of scope"
    assert "#2a6b3f" in badge(read(whole))


def test_the_badge_of_a_run_that_drifted_or_was_not_whole_says_so_and_is_not_green(troubled):
    assert title(troubled).endswith("3 drifted · run not whole")
    assert "#2a6b3f" not in badge(read(troubled))


def test_junit_fails_what_drifted_and_skips_what_has_no_verdict(troubled):
    tree = ElementTree.fromstring(junit(read(troubled)).encode())
    failed = {case.get("name") for case in tree.iter("testcase") if case.find("failure") is not None}
    skipped = {case.get("name") for case in tree.iter("testcase") if case.find("skipped") is not None}
    assert failed == {"descent/inequality", "descent/quadratic-regimes", "edge/hovers"}
    assert skipped == {"quadratic/aligns-to-v1", "relu/alignment", "summary/beats-state-of-the-art"}
    assert len(tree.findall(".//testcase")) == 13 + 1
    for suite in tree.iter("testsuite"):
        assert int(suite.get("tests")) == len(suite.findall("testcase"))
        assert int(suite.get("failures")) == len(suite.findall("testcase/failure"))
        assert int(suite.get("skipped")) == len(suite.findall("testcase/skipped"))


def test_bibtex_has_an_entry_for_each_document(whole):
    text = bibtex(read(whole))
    assert text.count("@misc{") == 4
    assert "@misc{chen-bruna-poster,\n  title = {{Beyond the Edge of Stability" in text
    assert "orbit/quartic" in text
    assert "author = {S. Arora, Z. Li and A. Panigrahi}" in text
    assert "year = {2022}" in text
    assert r"url = {https://example.org/talk_1%20a}" in text
    assert "version = {of July 2022}" in text
    assert text.count("author =") == text.count("year =") == text.count("url =") == text.count("version =") == 1


def test_bibtex_of_a_part_has_the_documents_of_what_ran_and_counts_the_others(recorder, tmp_path):
    recorder.simple("toy/ran")
    recorder.claim("toy/beside")
    recorder.claim("toy/other", document=Document("review", title="A review"))
    recorder.end()
    text = bibtex(read(recorder.write(tmp_path / "e.jsonl")))
    assert text.startswith("% Left out: 1 document, of whose claims none ran.\n\n@misc{chen-bruna-poster,\n")
    assert text.count("@misc{") == 1
    assert "note = {Claims checked: toy/ran},\n" in text


def test_hostile_text_leaves_the_files_well_formed(recorder, tmp_path):
    claim = recorder.claim("toy/claim")
    recorder.lines[-1]["source"] |= dict.fromkeys(("title", "document", "authors", "url", "version"), HOSTILE)
    recorder.case(claim, "n=1", status="error", message=HOSTILE)
    recorder.lines.append({"type": "collect error", "file": HOSTILE, "message": HOSTILE})
    results = read(recorder.write(tmp_path / "e.jsonl"))
    ElementTree.fromstring(junit(results).encode())
    ElementTree.fromstring(badge(results))
    assert bibtex(results).count("{") == bibtex(results).count("}")


def test_a_format_is_a_row_and_its_markdown_pages_are_kept(whole, tmp_path, monkeypatch):
    monkeypatch.setitem(FORMATS, "ids.txt", lambda results: " ".join(claim.id for claim in results.claims))
    monkeypatch.setitem(FORMATS, "ids.md", lambda results: f"{len(results.claims)} claims")
    results = write(whole, tmp_path / "out")
    keep(results, tmp_path / "kept")
    assert "orbit/quartic" in (tmp_path / "out" / "ids.txt").read_text(encoding="utf-8").split()
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"CLAIMS.md", "constants.md", "errata.md", "ids.md"}


def test_a_format_that_fails_leaves_the_report_before_as_it_was(whole, troubled, tmp_path, monkeypatch):
    write(troubled, tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in FORMATS}
    monkeypatch.setitem(FORMATS, "ids.txt", lambda results: results.nothing)
    with pytest.raises(AttributeError):
        write(whole, tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
