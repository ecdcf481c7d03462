"""A release says of itself what is so: its version everywhere the same, and every verdict that is another one now."""

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import eosbench

ROOT = Path(__file__).parents[1]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
BEFORE = json.loads((ROOT / "tests" / "files" / "verdicts-0.1.0.json").read_text())
ROW = r"^\| `([a-z0-9/-]+)` \| \S+ ([a-z ]+?)(?:, [a-z ]+)? \|"


def kept():
    """The verdicts of the results that are kept with the code."""
    text = (ROOT / "docs" / "results" / "CLAIMS.md").read_text(encoding="utf-8")
    return dict(re.findall(ROW, text.partition("## In the order")[0], re.M))


def test_every_verdict_that_changed_since_0_1_0_is_told_with_the_reason():
    now = kept()
    changed = {claim: (was, now[claim]) for claim, was in BEFORE.items() if now[claim] != was}
    section = CHANGELOG.partition("### Verdicts that changed")[2].partition("\n### ")[0]
    told = re.findall(r"^\| `([^`]+)` \| ([a-z ]+) \| ([a-z ]+) \| (.{40,}) \|$", section, re.M)
    assert {claim: (was, is_now) for claim, was, is_now, _ in told} == changed
    assert len(told) == len(changed) == section.count("\n| `")


def test_the_new_claims_that_do_not_hold_as_printed_are_told():
    now = kept()
    new = {claim for claim, verdict in now.items() if claim not in BEFORE and verdict in ("corrected", "refuted")}
    (sentence,) = re.findall(r"^Of the (\d+) new claims two need a correction: (.*)$", CHANGELOG, re.M)
    assert int(sentence[0]) == len(now.keys() - BEFORE.keys())
    assert set(re.findall(r"`([^`]+)`", sentence[1])) == new


def test_the_version_is_that_of_the_changelog_and_of_the_citation():
    sections = re.findall(r"^## (\d+\.\d+\.\d+) - \d{4}-\d\d-\d\d$", CHANGELOG, re.M)
    assert sections[0] == eosbench.__version__
    assert f"\nversion: {eosbench.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_forge_calls_what_every_machine_runs():
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert re.findall(r"^ *- run: (.*)$", workflow, re.M) == [".ci/run"]


def test_the_issue_forms_ask_for_what_a_report_shows():
    """The citation line as the form shows it is one that the report writes."""
    form = (ROOT / ".github" / "ISSUE_TEMPLATE" / "claim-looks-wrong.yml").read_text()
    assert "Cite this verdict" in form
    assert "Cite this verdict" in (ROOT / "eosbench" / "report" / "templates" / "claim.html.j2").read_text()
    line = r"eosbench \d\S+, commit \w{12}, \d{4}-\d\d-\d\d: [a-z/-]+ is corrected \([a-z ]+\), proved\."
    assert re.search(line, form)


@pytest.mark.skipif(
    find_spec("build") is None or find_spec("hatchling") is None, reason="build and hatchling: install the extra dev."
)
def test_what_is_built_has_all_that_the_tests_need(tmp_path):
    """The wheel is made from the sdist, so that what a distributor builds is what is tested."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (sdist,), (wheel,) = tmp_path.glob("*.tar.gz"), tmp_path.glob("*.whl")
    contents = subprocess.run(["tar", "tzf", sdist], capture_output=True, text=True, check=True).stdout
    for name in (".ci/run", "CONTRIBUTING.md", "claims/documents.toml", "tests/conftest.py", "mkdocs.yml", "tox.ini"):
        assert f"{sdist.name.removesuffix('.tar.gz')}/{name}\n" in contents
    listed = subprocess.run([sys.executable, "-m", "zipfile", "-l", wheel], capture_output=True, text=True, check=True)
    for name in ("eosbench/py.typed", "eosbench/report/templates/report.js", "eosbench/report/templates/report.css"):
        assert name in listed.stdout
    assert "tests/" not in listed.stdout
