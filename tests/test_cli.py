"""The command line answers, refuses in one sentence, and says in its exit status which it did."""

import json

import pytest
from typer.testing import CliRunner

from eosbench.cli import app

FILE = """
from eosbench import Claim, Document, Source
talk = Document("talk", title="A talk")
one = Claim("toy/one", source=Source(talk, "slide 1"), printed="$x > 0$", expected="holds")
two = Claim("toy/two", source=Source(talk, "slide 2"), printed="p", expected="out of scope", out_of_scope="needs a GPU")

@one.check(x=[1.0], controls={"sign": dict(x=-1.0)})
def test_one(evidence, x):
    evidence.at_least("x", x, 0.5)
"""


@pytest.fixture
def claims(tmp_path, monkeypatch):
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "test_toy.py").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def call(*arguments):
    return CliRunner().invoke(app, arguments)


def test_list(claims):
    done = call("list")
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.stdout.splitlines()[2:]] == ["toy/one", "toy/two"]
    assert "toy/one" not in call("list", "--verdict", "out of scope").stdout
    assert "toy/two" in call("list", "--topic", "toy", "--document", "talk").stdout


def test_show(claims):
    done = call("show", "toy/two")
    assert "needs a GPU" in done.stdout
    assert "A talk (talk)" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("show", "toy/onee"), "there is no claim 'toy/onee'; did you mean toy/one?"),
        (("show", "xyz"), "there is no claim 'xyz'; see `eosbench list"),
        (("run", "toy/onee"), "did you mean toy/one?"),
        (("list", "--claims", "nowhere"), "there is no nowhere; name the directory"),
        (("list", "--claims", "."), ""),
        (("list", "--topic", "orbit"), "no claim in claims matches"),
        (("report", "nowhere.jsonl"), "nowhere.jsonl"),
    ],
)
def test_slips_are_answered_with_one_sentence(claims, arguments, sentence):
    done = call(*arguments)
    if not sentence:
        assert done.exit_code == 0
        return
    assert done.exit_code == 2
    assert done.stderr.startswith("eosbench: ")
    assert done.stderr.count("\n") == 1
    assert sentence in done.stderr


def test_an_empty_directory_states_no_claims(claims):
    (claims / "empty").mkdir()
    assert "states no claims" in call("list", "--claims", "empty").stderr


def test_run_prints_its_pytest_command_and_passes_on_its_status(claims, capfd):
    done = call("run", "toy/one", "--report", "elsewhere")
    printed = capfd.readouterr().out + done.stdout
    assert "$ pytest claims --claims-report elsewhere -k toy/one" in printed
    assert done.exit_code == 0
    found = json.loads((claims / "elsewhere" / "claims.json").read_text())
    assert {entry["id"]: entry["verdict"] for entry in found["claims"]} == {
        "toy/one": "holds",
        "toy/two": "out of scope",
    }


def test_report_writes_again_and_says_drift_in_its_status(claims):
    assert call("run").exit_code == 0
    again = call("report", "claims-report/evidence.jsonl", "-o", "again")
    assert again.exit_code == 0
    assert "toy/one" in again.stdout
    for name in ("claims.json", "CLAIMS.md"):
        assert (claims / "again" / name).read_text() == (claims / "claims-report" / name).read_text()

    evidence = claims / "claims-report" / "evidence.jsonl"
    evidence.write_text(evidence.read_text().replace('"expected": "holds"', '"expected": "refuted"'))
    assert call("report", str(evidence)).exit_code == 1


def test_every_command_has_help_with_an_example(claims):
    for command in ("list", "show", "run", "report"):
        assert f"Example: eosbench {command}" in call(command, "--help").stdout
