"""What the README says runs."""

import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

from eosbench import catalogue

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
OWN = "eosbench-statements"
PYTHON = [text for language, text in BLOCKS if language == "python"]
SHELL = [text.strip() for language, text in BLOCKS if language == "bash"]


def test_the_claim_reaches_its_verdict(pytester):
    (text,) = [block for block in PYTHON if "Claim(" in block]
    pytester.makepyfile(test_mine=text)
    done = pytester.runpytest("-p", "no:cacheprovider")
    assert done.ret == 0
    done.stdout.fnmatch_lines(["*quadratic/threshold*holds*3/3*1/1 fired*"])


def test_the_library_example_prints():
    (text,) = [block for block in PYTHON if "eosbench.train" in block]
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 2


def test_ci_runs_the_commands_of_the_readme():
    script = (ROOT / ".ci" / "run").read_text()
    for command in SHELL:
        *_, install, run = command.split(" && ")
        assert install.removeprefix(".venv/bin/").replace("pip install", "pip install --quiet") in script.replace(
            '"$environment"/bin/', ""
        )
        assert run.removeprefix(".venv/bin/") in script


def test_the_tutorial_gives_its_report_in_another_project(pytester):
    text = (ROOT / "docs" / "write-your-own-claim.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    (pytester.path / "my_claims").mkdir()
    (pytester.path / "my_claims" / "test_momentum.py").write_text(code)
    done = pytester.runpytest("my_claims", "-p", "no:cacheprovider")
    assert done.ret == 0
    done.stdout.fnmatch_lines(["*momentum/threshold*holds*3/3*1/1 fired*"])
    assert (pytester.path / "claims-report" / "report.html").exists()


def found(kept):
    """What CLAIMS.md says in numbers, as the second sentence of the README has it."""
    rows = re.findall(
        r"^\| `.+?` \| \S+ ([a-z ]+)(?:, [a-z ]+)? \| (\w+|–)[^|]*\|.*?\| (?:(\d+)/(\d+) fired|–)", kept, re.M
    )
    verdicts = Counter(verdict for verdict, *_ in rows)
    fired, planned = (sum(int(row[i] or 0) for row in rows) for i in (2, 3))
    assert fired == planned
    proved = sum(grade == "proved" for _, grade, *_ in rows)
    return (
        f"Of {len(rows)} statements {verdicts['holds']} hold as printed, {verdicts['corrected']} hold once they are "
        f"corrected, {verdicts['refuted']} are refuted and {verdicts['out of scope']} are out of scope; all {fired} "
        f"controls fired, and {proved} verdicts rest on a proof."
    )


def test_the_second_sentence_says_what_was_found():
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert (
        found((ROOT / "docs" / "results" / "CLAIMS.md").read_text(encoding="utf-8")) in text.partition("Papers on")[0]
    )


def line(entry):
    """A document of claims/documents.toml as the README lists it."""
    title = f"[{entry['title']}]({entry['url']})" if "url" in entry else entry["title"]
    first, *others = entry.get("authors", "").split(" and ")
    names = [name.split()[-1] for name in (first, *others) if name]
    by = f"{names[0]} and others" if len(names) > 2 else " and ".join(names)
    return f"* {title} ({', '.join(str(part) for part in (by, entry.get('year')) if part)})"


def test_every_document_is_listed():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    documents = tomllib.loads((ROOT / "claims" / "documents.toml").read_text(encoding="utf-8"))
    missing = [line(entry) for key, entry in documents.items() if key != OWN and entry["title"] not in text]
    assert missing == [], 'these lines belong into the README, under "What is checked"'


def test_the_pages_and_figures_it_links_exist():
    links = re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert [link for link in links if not link.startswith("https://") and not (ROOT / link).exists()] == []


def test_the_results_kept_in_the_docs_are_those_of_the_claims():
    kept = (ROOT / "docs" / "results" / "CLAIMS.md").read_text()
    rows = re.findall(r"^\| `(.+?)` \| \S+ ([a-z ]+)(?:, [a-z ]+)? \|", kept, re.M)
    files = catalogue.claim_files([ROOT / "claims"])
    assert dict(rows) == {claim.id: claim.expected for file in files for claim in catalogue.read_claims(file)}
