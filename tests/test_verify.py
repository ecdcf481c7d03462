"""Certificates as files of a report, and `eosbench verify`: what was proved is checked again, and damage is told."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest

CLAIM = """
import os, signal
from eosbench import Claim, Document, Source
from eosbench.proof import Identity, prove_identity

talk = Document("talk", "A talk")

square = Claim("toy/square", source=Source(talk, "slide 1"), printed="$x$", expected="holds")

@square.check(proves=True, n=[2, 3], controls={"1 % off": dict(middle="101/50")})
def test_square(evidence, n=2, middle="2"):
    identity = Identity((("square", "(x + n)**2", "=", f"x**2 + {middle}*n*x + n**2"),), "x n")
    evidence.proved("for all x", prove_identity(identity), identity.theorem)

@square.check(controls={"off": dict(x=2.0)})
def test_beside(evidence, x=1.0):
    if os.environ.get("DIE"):
        os.kill(os.getpid(), signal.SIGKILL)
    evidence.close("x", x, 1.0, 0.1)
"""


def run(folder, *arguments, **environment):
    (folder / "claims").mkdir(exist_ok=True)
    (folder / "claims" / "test_toy.py").write_text(CLAIM)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "claims", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, env=os.environ | environment, capture_output=True, text=True)


def verify(folder, directory="claims-report"):
    command = [sys.executable, "-m", "eosbench", "verify", directory]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module", params=[(), ("-n", "2")], ids=["serial", "n2"])
def report(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    done = run(folder, *request.param)
    assert done.returncode == 0, done.stdout
    return folder


def test_a_report_has_a_file_for_each_certificate_that_was_accepted(report):
    files = sorted((report / "claims-report" / "certificates" / "toy" / "square").iterdir())
    assert [file.name.rpartition("-")[0] for file in files] == ["n=2-for-all-x", "n=3-for-all-x"]
    content = (report / "claims-report" / "evidence.jsonl").read_text()
    assert '"content": "' not in content
    assert content.count('"sha256"') == 2


def test_the_grade_is_that_of_the_check_that_proves_and_each_has_its_own(report):
    (claim,) = json.loads((report / "claims-report" / "claims.json").read_text())["claims"]
    assert (claim["verdict"], claim["grade"]) == ("holds", "proved")
    assert claim["grades"] == {"test_beside": "measured", "test_square": "proved"}
    page = (report / "claims-report" / "report.html").read_text()
    told = [
        (grade, re.sub("<.*?>", "", name)) for grade, name in re.findall("(measured|proved): <code>(.*?)</code>", page)
    ]
    assert sorted(told) == [("measured", "test_beside"), ("proved", "test_square")]


def test_all_are_checked_again(report):
    done = verify(report)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == [
        "toy/square  test_square[n=2]  'for all x'  identity  accepted (statements 1, steps 1)",
        "toy/square  test_square[n=3]  'for all x'  identity  accepted (statements 1, steps 1)",
        "2 certificates of 1 claim: all accepted.",
    ]


@pytest.fixture
def copied(tmp_path):
    assert run(tmp_path).returncode == 0
    file = next((tmp_path / "claims-report" / "certificates").rglob("n=2*.json"))
    return tmp_path, file


def test_a_file_that_was_changed_is_refused(copied):
    folder, file = copied
    file.write_text(file.read_text().replace("2*n*x", "2*n*x + 0*n"))
    done = verify(folder)
    assert done.returncode == 1
    assert "REFUSED: certificates/toy/square/" in done.stdout
    assert "its SHA-256 is another" in done.stdout
    assert done.stdout.splitlines()[-1] == "2 certificates of 1 claim: 1 refused."


def test_a_file_that_is_gone_is_refused(copied):
    folder, file = copied
    file.unlink()
    done = verify(folder)
    assert done.returncode == 1
    assert "cannot be read (No such file or directory)" in done.stdout


def test_a_theorem_that_was_changed_with_its_digest_is_refused(copied):
    """Whoever changes file and digest has changed neither what the case has asked for, nor what is true."""
    import hashlib

    folder, file = copied
    evidence = folder / "claims-report" / "evidence.jsonl"
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    file.write_text(file.read_text().replace("2*n*x", "51/25*n*x"))
    text = evidence.read_text().replace(before, hashlib.sha256(file.read_bytes()).hexdigest())
    evidence.write_text(text)
    assert "REFUSED: the certificate states another theorem" in verify(folder).stdout
    evidence.write_text(text.replace("2*n*x", "51/25*n*x"))
    assert "REFUSED: the two sides of 'square' differ by -1/25*n*x" in verify(folder).stdout


def test_a_file_outside_of_the_report_is_not_read(copied):
    folder, file = copied
    evidence = folder / "claims-report" / "evidence.jsonl"
    name = file.relative_to(folder / "claims-report").as_posix()
    evidence.write_text(evidence.read_text().replace(name, "../claims/test_toy.py"))
    assert "cannot be read (it lies outside of the report)" in verify(folder).stdout


@pytest.mark.parametrize("arguments", [(), ("-n", "2")], ids=["serial", "n2"])
def test_what_was_proved_before_a_crash_can_be_verified(tmp_path, arguments):
    done = run(tmp_path, *arguments, DIE="1")
    assert done.returncode == (1 if arguments else -signal.SIGKILL)
    found = verify(tmp_path)
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.splitlines()[-1] == "2 certificates of 1 claim: all accepted."


def test_a_report_from_before_there_were_certificates_has_none_to_accept(tmp_path):
    assert run(tmp_path).returncode == 0
    evidence = tmp_path / "claims-report" / "evidence.jsonl"
    lines = [json.loads(line) for line in evidence.read_text().splitlines()]
    for line in lines:
        for record in line.get("records", []):
            record.pop("certificate", None)
    evidence.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = verify(tmp_path)
    assert found.returncode == 1
    assert found.stdout.count("REFUSED: the report keeps no certificate of it") == 2


def test_a_second_run_leaves_no_certificates_of_the_first(copied):
    folder, file = copied
    (file.parent / "old.json").write_text("{}")
    assert run(folder).returncode == 0
    assert not (file.parent / "old.json").exists()


def test_what_is_no_report_is_told_in_a_sentence(tmp_path):
    done = verify(tmp_path, "nothing")
    assert done.returncode == 2
    assert "nothing" in done.stderr
