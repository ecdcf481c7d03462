"""The command line answers, refuses in one sentence, and says in its exit status which it did."""

import functools
import json
import os
import subprocess
import sys
import tomllib

import pytest
from typer.testing import CliRunner

import eosbench.curvature
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


DESCRIBED = """# Mine.
[talk]
title = "A talk"

[[talk.not_encoded]]
place = "slide 3"
statement = "It is so."
why = "It is not said when."
"""


@pytest.fixture
def claims(tmp_path, monkeypatch):
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "test_toy.py").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(os, "execv", beside)
    return tmp_path


def beside(program, arguments):
    """What `run` does in place of its process, done beside that of the tests."""
    raise SystemExit(subprocess.run(arguments).returncode)


def call(*arguments):
    return CliRunner().invoke(app, arguments)


def test_list(claims):
    done = call("list")
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.stdout.splitlines()[2:]] == ["toy/one", "toy/two"]
    assert "toy/one" not in call("list", "--verdict", "out of scope").stdout
    assert "toy/two" in call("list", "--topic", "toy", "--document", "talk").stdout


def test_a_document_is_found_by_an_author_or_by_words_of_its_title(claims):
    text = FILE.replace('title="A talk"', 'title="A talk on the edge", authors="J. Cohen and Z. Müller"')
    (claims / "claims" / "test_toy.py").write_text(text, encoding="utf-8")
    other = FILE.replace("toy/", "other/").replace(
        'Document("talk", title="A talk")', 'Document("note", title="talk talk")'
    )
    (claims / "claims" / "test_other.py").write_text(other)

    def listed(words):
        return {line.split("/")[0] for line in call("list", "--document", words).stdout.splitlines()[2:]}

    assert listed("cohen") == listed("Müller edge") == {"toy"}
    assert listed("TALK on") == {"toy"}
    assert listed("Talk") == {"toy", "other"}
    assert listed("talk") == {"toy"}  # which is a key
    done = call("list", "--document", "Choen")
    assert done.exit_code == 2
    assert (
        done.stderr == "eosbench: no document has 'Choen' as its key, or in its title or authors; did you mean Cohen?\n"
    )
    assert call("list", "--document", "xyz").stderr.endswith("; there are note, talk\n")
    assert call("list", "--document", " ").exit_code == 2


@pytest.mark.parametrize("width", [60, 80, 100])
def test_what_is_read_fits_the_terminal(claims, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    name = "toy/" + "-".join(["long"] * 8)
    long = FILE.replace("toy/one", name).replace("$x > 0$", "word " * 80).replace("slide 1", "slide " * 20)
    (claims / "claims" / "test_toy.py").write_text(long)
    listed, shown = call("list").stdout.splitlines(), call("show", name).stdout.splitlines()
    assert max(map(len, (*listed, *shown))) <= width
    assert len(listed[1]) > width - 12
    assert (width < 100) == ("place" not in listed[0])


def test_show(claims):
    done = call("show", "toy/two")
    assert "needs a GPU" in done.stdout
    assert "A talk (talk)" in done.stdout
    assert "run " not in done.stdout
    file = claims / "claims" / "test_toy.py"
    file.write_text(FILE.replace('expected="holds"', 'expected="holds", uses=("toy/two",), experiment="toy/shared"'))
    lines = call("show", "toy/one", "--claims", "claims/../claims").stdout.splitlines()
    shown = dict(line.split(maxsplit=1) for line in lines[1:])
    assert (shown["uses"], shown["experiment"]) == ("toy/two", "toy/shared")
    assert shown["file"] == "claims/../claims/test_toy.py"
    assert shown["run"] == "eosbench run toy/one --claims claims/../claims"


def test_severities_are_listed_and_shown(claims):
    off = 'expected="corrected", corrected="q", severity="missing hypothesis", why="x is 0"'
    (claims / "claims" / "test_toy.py").write_text(FILE.replace('expected="holds"', off))
    assert "corrected" in call("list", "--severity", "missing hypothesis").stdout
    assert "--severity missing hypothesis" in call("list", "--severity", "slip").stderr
    lines = [line.split(maxsplit=1) for line in call("show", "toy/one").stdout.splitlines()[1:]]
    assert ["severity", "missing hypothesis"] in lines
    assert ["why", "x is 0"] in lines


def test_what_is_not_listed_and_what_is_stated_twice_is_told(claims):
    (claims / "claims" / "test_broken.py").write_text("from eosbench import Claim\ndef (:")
    (claims / "claims" / "test_again.py").write_text(FILE)
    done = call("list", "--topic", "toy")
    assert done.exit_code == 0
    assert done.stderr.splitlines() == [
        "eosbench: claims/test_broken.py, line 2, cannot be parsed: invalid syntax",
        "eosbench: toy/one is stated in claims/test_again.py and in claims/test_toy.py; rename one of them",
        "eosbench: toy/two is stated in claims/test_again.py and in claims/test_toy.py; rename one of them",
    ]


def test_a_terminal_without_the_signs_gets_the_words(claims, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    (claims / "claims" / "test_toy.py").write_text(FILE.replace("slide 1", "§ 1"), encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "eosbench", "list"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "toy/one" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("show", "toy/onee"), "there is no claim 'toy/onee'; did you mean toy/one?"),
        (("show", "xyz"), "there is no claim 'xyz'; see `eosbench list"),
        (("run", "toy/onee"), "did you mean toy/one?"),
        (("run", "-n", "2", "--dask", "tcp://host:8786"), "give one of them"),
        (("list", "--claims", "nowhere"), "there is no directory nowhere; name that"),
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
    assert "$ pytest claims --claims-report=elsewhere --claims-progress -q --claims-only=toy/one" in printed
    assert done.exit_code == 0
    found = json.loads((claims / "elsewhere" / "claims.json").read_text())
    assert {entry["id"]: entry["verdict"] for entry in found["claims"]} == {
        "toy/one": "holds",
        "toy/two": "out of scope",
    }


def test_run_passes_on_precision_and_scale(claims, capfd):
    done = call("run", "toy/one", "--scale", "paper", "--dtype", "float32")
    assert "--claims-only=toy/one --claims-dtype float32 --claims-scale paper" in capfd.readouterr().out + done.stdout
    assert done.exit_code == 0
    assert call("run", "toy/one", "--scale", "huge").exit_code != 0
    assert "invalid choice: 'huge'" in capfd.readouterr().err


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


def test_a_verdict_is_cited_from_a_report(claims):
    assert call("run").exit_code == 0
    done = call("cite", "toy/one")
    assert done.exit_code == 0
    line, empty, *entry = done.stdout.splitlines()
    assert line.startswith("eosbench ")
    assert line.endswith(": toy/one holds, measured. Stated in “A talk”, slide 1.")
    assert (empty, entry[0], entry[-1]) == ("", "@misc{toy/one,", "}")
    assert call("cite", "toy/one", "claims-report/evidence.jsonl").stdout == done.stdout


def test_a_verdict_is_cited_from_a_partial_report_too(claims):
    assert call("run", "toy/one", "--report", "claims-report/partial").exit_code == 0
    assert not (claims / "claims-report" / "evidence.jsonl").exists()
    assert (
        call("cite", "toy/one")
        .stdout.splitlines()[0]
        .endswith(": toy/one holds, measured. Stated in “A talk”, slide 1.")
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("toy/onee",), "claims-report/evidence.jsonl has no claim 'toy/onee'; did you mean toy/one?"),
        (
            ("xyz",),
            "claims-report/evidence.jsonl has no claim 'xyz'; see `eosbench report claims-report/evidence.jsonl`",
        ),
        (
            ("toy/two",),
            "toy/two is out of scope in claims-report/evidence.jsonl, which is no verdict to cite; run it: eosb",
        ),
        (("toy/one", "nowhere"), "nowhere has no results; run the claim first: eosbench run toy/one"),
    ],
)
def test_what_cannot_be_cited_is_told_in_one_sentence(claims, arguments, sentence):
    call("run")
    done = call("cite", *arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"eosbench: {sentence}")
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)


def test_run_tells_each_claim_as_it_is_taken_up_and_decided(claims, capfd):
    call("run")
    lines = capfd.readouterr().out.splitlines()
    assert "[0/2] at work      toy/one" in lines
    assert any(line.startswith("[2/2] holds        toy/one (") for line in lines)


def test_explain_tells_what_a_case_required_and_measured(claims):
    done = call("explain", "claims/test_toy.py::test_one[control: sign]")
    assert done.exit_code == 0
    assert "toy/one · claims/test_toy.py::test_one[control: sign]\ncontrol, violated" in done.stdout
    row = next(line.split() for line in done.stdout.splitlines() if line.startswith("x "))
    assert row == ["x", "at_least", "-1", "0.5", "0", "-1.5", "1.78e-15", "violated"]
    assert not (claims / "claims-report").exists()
    assert "is no case" in call("explain", "toy/one").stderr
    assert "ran no case" in call("explain", "claims/test_toy.py::test_two").stderr


def test_explain_tells_where_a_case_failed(claims):
    file = claims / "claims" / "test_toy.py"
    file.write_text(FILE + "    raise RuntimeError('no luck')\n")
    done = call("explain", "claims/test_toy.py::test_one[x=1]")
    assert done.exit_code == 1
    assert "case, error, 0.00 s: RuntimeError: no luck" in done.stdout
    assert f"claims/test_toy.py:{len(FILE.splitlines()) + 1}: RuntimeError" in done.stdout
    file.write_text(FILE + "    __import__('os').abort()\n")
    assert (
        f'test_toy.py", line {len(FILE.splitlines()) + 1} in test_one'
        in call("explain", "claims/test_toy.py::test_one[x=1]").stdout
    )


def test_explain_fits_the_terminal(claims, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    shown = call("explain", "claims/test_toy.py::test_one[x=1]").stdout
    assert max(map(len, shown.splitlines())) <= 60
    assert "x (at_least): satisfied; measured 1, predicted 0.5," in shown


def report(claims, name, **changes):
    """A report's claims.json with one claim changed."""
    (claims / name).mkdir(exist_ok=True)
    found = json.loads((claims / "claims-report" / "claims.json").read_text())
    found["claims"][0].update(changes)
    found["environment"]["started"] = name
    (claims / name / "claims.json").write_text(json.dumps(found))
    return str(claims / name)


def test_compare_prints_exactly_what_changed(claims):
    call("run")
    constant = {"name": "c", "claimed": 0.25, "low": 0.249, "high": 0.251}
    old = report(claims, "a", constants=[constant], seconds=10.0)
    assert call("compare", old, old).stdout == "Nothing changed.\n"

    moved = report(claims, "b", constants=[constant | {"high": 0.26}], seconds=10.0)
    done = call("compare", old, moved)
    assert done.exit_code == 0
    assert done.stdout.startswith("toy/one c (0.25): [0.249, 0.251] became [0.249, 0.26]")
    assert done.stdout.count("\n") == 1

    worse = report(claims, "c", constants=[constant], verdict="inconclusive", reasons=["it is silent"], seconds=30.0)
    done = call("compare", old, worse)
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "WORSE  toy/one was holds and is inconclusive (it is silent)",
        "toy/one took 10.0 s and takes 30.0 s",
    ]
    assert call("compare", worse, old).exit_code == 0

    partial = report(claims, "d", constants=[constant], verdict="partial", seconds=10.0)
    assert call("compare", old, partial).exit_code == 0

    gone = report(claims, "e", constants=[], seconds=10.0)
    assert call("compare", old, gone).stdout == "WORSE  toy/one no longer checks c\n"
    assert call("compare", old, gone).exit_code == 1


def test_reports_of_another_schema_are_refused(claims):
    (claims / "claims.json").write_text('{"schema": "eosbench-claims/99"}')
    done = call("compare", "claims.json", "claims.json")
    assert done.exit_code == 2
    assert "has the schema 'eosbench-claims/99' where 'eosbench-claims/1' is read" in done.stderr
    (claims / "claims.json").write_text("[")
    assert "is not JSON" in call("compare", "claims.json", "claims.json").stderr
    assert "cannot be read" in call("compare", "nowhere", "claims.json").stderr
    for lacking in ({}, {"environment": {}, "claims": [{"id": "toy/one"}]}, {"claims": []}):
        (claims / "claims.json").write_text(json.dumps({"schema": "eosbench-claims/1"} | lacking))
        for arguments in (("compare", "claims.json", "claims.json"), ("history", ".")):
            done = call(*arguments)
            assert done.exit_code == 2
            assert "claims.json lacks what is compared" in done.stderr


def test_history_shows_verdicts_over_versions(claims):
    call("run")
    for name, verdict in (("r2", "refuted"), ("r1", "holds")):
        report(claims, name, verdict=verdict)
    (claims / "claims-report" / "claims.json").unlink()
    rows = [line.split() for line in call("history", ".").stdout.splitlines()]
    assert ["toy/one", "holds", "refuted"] in rows
    assert "there is no claims.json below claims" in call("history", "claims").stderr


def test_bench_renders_what_asv_saved_and_says_a_regression_in_its_status(claims):
    saved = claims / "benchmarks" / "results"
    (saved / "here").mkdir(parents=True)
    (saved / "benchmarks.json").write_text(json.dumps({"S.track_hvps": {"version": "1", "unit": "unit"}}))
    for date, count in enumerate((12, 12, 14)):
        result = {
            "commit_hash": f"{date}" * 40,
            "date": date,
            "env_name": "env",
            "result_columns": ["result", "params", "version"],
            "results": {"S.track_hvps": [[count], [], "1"]},
        }
        (saved / "here" / f"{date}.json").write_text(json.dumps(result))
        done = call("bench")
        assert done.exit_code == (count == 14)
    assert "S.track_hvps: 12 at 11111111, 14 at 22222222" in done.stdout
    assert "1 regression at 22222222" in (claims / "bench-report" / "index.html").read_text()
    assert "holds no results of asv; measure with `asv run`" in call("bench", "elsewhere").stderr
    assert "The order of the commits is that of their dates" in done.stdout
    (saved / "here" / "2.json").write_text(json.dumps(result | {"date": float("nan")}))
    done = call("bench")
    assert done.exit_code == 2
    assert done.stderr.startswith("eosbench: benchmarks/results/here/2.json is no result of asv (date is nan")
    assert done.stderr.count("\n") == 1
    (saved / "here" / "2.json").write_text(json.dumps(result | {"results": {}}))
    done = call("bench")
    assert done.exit_code == 1
    assert "S.track_hvps: no longer measured at 22222222" in done.stdout


def test_a_new_claim_runs_as_it_is(claims):
    done = call("new", "descent/of-mine")
    path = claims / "claims" / "descent" / "test_of_mine.py"
    assert str(path.relative_to(claims)) in done.stdout
    assert (claims / "claims" / "descent" / "__init__.py").exists()
    assert not (claims / "claims" / "__init__.py").exists()  # a folder that was there is left as it is
    assert call("run", "descent/of-mine").exit_code == 0
    found = json.loads((claims / "claims-report" / "partial" / "claims.json").read_text())
    assert {entry["id"]: entry["verdict"] for entry in found["claims"]}["descent/of-mine"] == "holds"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("toy/one",), "claims/test_toy.py states 'toy/one' already; choose another id, or edit that file"),
        (("taken/a-b",), "claims/taken/test_a_b.py exists; choose another id, or edit that file"),
        (("Mine",), "claim 'Mine': an id reads 'topic/name' in lower case with hyphens; rename it"),
        (("build/mine",), "claim 'build/mine': pytest looks into no folder of the name build; choose another topic"),
        (
            ("a/b", "--claims", "claims/test_toy.py"),
            "lies in a file; name the directory of the claim files with --claims",
        ),
        (("a/b", "--document", "talk", "--title", "T"), "describes the document 'talk' already; leave its title out"),
        (("a/b", "--document", "a b", "--title", "T"), "a document's key has letters, digits and hyphens alone; 'a b'"),
        (("a/b", "--title", "T"), "a title belongs to a document with a key; give it as --document KEY"),
        (("a/b", "--document", "tolk"), "documents.toml does not describe the document 'tolk'; did you mean talk?"),
    ],
)
def test_a_new_claim_that_cannot_be_written_is_refused_in_one_sentence(claims, arguments, sentence):
    (claims / "claims" / "documents.toml").write_text('[talk]\ntitle = "A talk"\n')
    (claims / "claims" / "taken").mkdir()
    (claims / "claims" / "taken" / "test_a_b.py").touch()
    before = sorted(claims.rglob("*"))
    done = call("new", *arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith("eosbench: ")
    assert done.stderr.count("\n") == 1
    assert sentence in done.stderr
    assert sorted(claims.rglob("*")) == before


@pytest.mark.parametrize("there", ["", DESCRIBED])
def test_a_claim_of_a_new_document_needs_one_command(claims, there):
    documents = claims / "claims" / "documents.toml"
    if there:
        documents.write_text(there)
    title, place = 'The "edge" \\ of λ', "Proposition 1 (a)"
    done = call("new", "heavy-ball/edge", "--document", "note", "--title", title, "--place", place)
    assert done.exit_code == 0, done.stderr
    assert "To be filled in as well: claims/heavy_ball/__init__.py" in done.stdout
    assert done.stdout.endswith("claims/documents.toml\n")
    assert all(line in documents.read_text().splitlines() for line in there.splitlines())
    assert list(tomllib.loads(documents.read_text())) == ["note", *(["talk"] if there else [])]
    described = {"note": {"title": title, "authors": "TODO: A. Author and B. Author", "contents": [place]}}
    assert tomllib.loads(documents.read_text()) == tomllib.loads(there) | described
    assert call("run", "heavy-ball/edge").exit_code == 0
    found = json.loads((claims / "claims-report" / "partial" / "claims.json").read_text())
    (source,) = [claim["source"] for claim in found["claims"] if claim["id"] == "heavy-ball/edge"]
    assert (source["document"], source["title"], source["place"]) == ("note", title, place)


def test_new_claims_of_any_name_run_side_by_side(claims):
    (claims / "mine").mkdir()
    (claims / "mine" / "documents.toml").write_text('[talk]\ntitle = "A talk"\n')
    ids = ["toy/two-cycles", "other/two-cycles", "toy/2-cycles", "toy/range", "toy/lambda", "other/one"]
    for i, name in enumerate(ids):
        assert call("new", name, "--claims", "mine", *(("--document", "talk") if i % 2 else ())).exit_code == 0
    assert call("run", "--claims", "mine").exit_code == 0
    found = json.loads((claims / "claims-report" / "claims.json").read_text())
    assert {entry["id"]: entry["verdict"] for entry in found["claims"]} == dict.fromkeys(ids, "holds")
    documents = {entry["id"]: entry["source"]["document"] for entry in found["claims"]}
    assert [documents[name] for name in ids] == ["toy-two-cycles", "talk", "toy-2-cycles", "talk", "toy-lambda", "talk"]


def test_the_pages_of_a_whole_run_are_kept_and_those_of_a_part_are_not(claims):
    assert call("run", "--claims", "claims").exit_code == 0
    done = call("report", "claims-report", "--keep", "docs/results")
    assert done.exit_code == 0
    kept = {path.name: path.read_text() for path in (claims / "docs" / "results").iterdir()}
    assert set(kept) == {"CLAIMS.md", "constants.md", "errata.md"}
    assert all(text == (claims / "claims-report" / name).read_text() for name, text in kept.items())
    lines = (claims / "claims-report" / "evidence.jsonl").read_text().splitlines(keepends=True)
    (claims / "killed.jsonl").write_text("".join(lines[:-1]))
    done = call("report", "killed.jsonl", "-o", "elsewhere", "--keep", "docs/results")
    assert done.exit_code == 2
    assert done.stderr == (
        "eosbench: these results are not those of a whole run, which alone are kept; run all claims to the end\n"
    )
    assert kept["CLAIMS.md"] == (claims / "docs" / "results" / "CLAIMS.md").read_text()


def test_doctor_finds_what_decides_what_runs(claims, monkeypatch):
    monkeypatch.setenv("EOSBENCH_DATA", str(claims / "claims"))
    monkeypatch.setattr("eosbench.__version__", "17.4")
    found = call("doctor").stdout
    for word in ("jax", "cores", "devices", "precision", "digits", "test_toy.py", "17.4"):
        assert word in found


def test_sharpness_of_a_loss_of_ones_own(claims):
    (claims / "mymodel.py").write_text(
        "import jax.numpy as jnp\n"
        "def loss(x):\n    return jnp.sum(jnp.array([3.0, 5.0, -9.0]) * x**2) / 2\n"
        "params = jnp.ones(3)\n"
        "def other():\n    return jnp.ones(3)\n"
        "def bad():\n    raise OSError('no file')\n"
        "def broken(x):\n    return jnp.sum(jnp.log(-x))\n"
    )
    (claims / "exits.py").write_text("raise SystemExit(3)")
    assert [line.split(" ± ")[0] for line in call("sharpness", "mymodel:loss", "-k", "2").stdout.splitlines()] == [
        "5",
        "3",
    ]
    assert call("sharpness", "mymodel:loss", "--params", "other").stdout.startswith("5 ± ")
    for arguments, sentence in [
        (("nomodel:loss",), "nomodel cannot be imported"),
        (("mymodel:gain",), "mymodel has no 'gain'"),
        (("mymodel:loss", "-k", "4"), "k is 4"),
        (("./mymodel:loss",), "'./mymodel:loss' names no loss of a module"),
        ((":loss",), "':loss' names no loss of a module"),
        (("exits:loss",), "exits raised SystemExit: 3 while it was imported"),
        (("mymodel:loss", "--params", "bad"), "bad of mymodel raised OSError: no file; it must make the pytree"),
        (("mymodel:broken",), "Hessian is nan or infinite at params; give another --params NAME"),
    ]:
        done = call("sharpness", *arguments)
        assert done.exit_code == 2
        assert sentence in done.stderr


OWN = """
import dataclasses, functools
from collections import namedtuple
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

H = jnp.array([1.0, 2.0, 3.0])

class Model(eqx.Module):
    w: jax.Array
    def __call__(self):
        raise AssertionError("called")
    def made(self):
        return self.w

class Opaque:
    "As a module of a library whose models are no pytrees: it holds arrays, and can be called."
    def __init__(self):
        self.w = jnp.ones(3)
    def __call__(self):
        raise AssertionError("called")

@dataclasses.dataclass
class Callable:
    w: jax.Array
    def __call__(self):
        raise AssertionError("called")

jax.tree_util.register_dataclass(Callable)

def quadratic(p):
    "Its Hessian is diag(1, 2, 3), whatever tree the three numbers come in."
    w = jnp.concatenate([jnp.ravel(leaf).astype(H.dtype) for leaf in jax.tree.leaves(p) if hasattr(leaf, "dtype")])
    return w @ (H * w) / 2

def make(n=3):
    return jnp.ones(n)

model = Model(jnp.ones(3))
called = Callable(jnp.ones(3))
opaque = Opaque()
method = model.made
function = make
partial = functools.partial(make, 3)
tree_partial = jax.tree_util.Partial(make, 3)
holding = jax.tree_util.Partial(lambda w: 1 / 0, jnp.ones(3))
jitted = jax.jit(make)
filtered = eqx.filter_jit(make)
anonymous = lambda: {"a": jnp.ones(2), "b": jnp.ones(1)}
class Made(eqx.Module):
    w: jax.Array
    def __init__(self):
        self.w = jnp.ones(3)
made_class = Made
class Lazy:
    def make(self):
        return jnp.ones(3)
bound = Lazy().make
floats = [1.0, 2.0, 3.0]
nested = {"w": (1.0, [np.float32(2.0)]), "b": np.ones(1, np.float32)}
mixed = {"w": jnp.ones(3), "activation": jnp.tanh, "relu": jax.nn.relu, "class": float}

deleted = jnp.ones(3)
deleted.delete()
donated = {"w": jnp.ones(3), "v": jnp.ones(3)}
jax.jit(lambda w: w + 1, donate_argnums=0)(donated["v"])
lost = jnp.ones(3)
lost.delete()

def generated():
    yield jnp.ones(3)
async def awaited():
    return jnp.ones(3)
def nothing():
    return None
def of_one(n):
    return jnp.ones(n)
Transformed = namedtuple("Transformed", "init apply")
transformed = Transformed(make, quadratic)
integers = jnp.ones(3, int)
words = {"w": jnp.ones(3), "name": "mlp"}
count = [1.0, 2]
shapes = jax.eval_shape(make)
texts = np.array(["a"])

array = jnp.ones(3)
def lazy(p):
    yield quadratic(p)
async def later(p):
    return quadratic(p)
def leaving(p):
    raise SystemExit(3)
def lossy(p):
    return quadratic(p) + lost.sum()
def vector(p):
    return p
def printed(p):
    return f"{quadratic(p)}"
def memory(p):
    raise MemoryError()
"""


@pytest.fixture
def own(claims, monkeypatch):
    (claims / "own_losses.py").write_text(OWN)
    monkeypatch.syspath_prepend(claims)
    monkeypatch.delitem(sys.modules, "own_losses", raising=False)


PYTREES = [
    *("model", "called", "holding"),  # they can be called, and hold arrays
    *("function", "partial", "tree_partial", "jitted", "filtered", "anonymous", "made_class", "bound", "method"),
    *("floats", "nested", "mixed"),
]


@pytest.mark.parametrize("params", PYTREES)
def test_only_what_makes_the_parameters_is_called(own, params):
    """The Hessian is diag(1, 2, 3) for all of them."""
    done = call("sharpness", "own_losses:quadratic", "--params", params, "-k", "3")
    assert done.exit_code == 0, done.output
    values = [float(line.split(" ± ")[0]) for line in done.stdout.splitlines()]
    assert values == pytest.approx([3, 2, 1], rel=1e-5)


MAKE = "give a pytree of arrays, or a function that makes one without arguments"
REFUSED = {
    ("quadratic", "deleted"): "deleted of own_losses is an array that was donated or deleted; copy it before",
    ("quadratic", "donated"): "donated of own_losses, at ['v'], is an array that was donated or deleted",
    ("lossy", "array"): "own_losses:lossy at array: RuntimeError: Array has been deleted",
    ("quadratic", "opaque"): f"opaque of own_losses is a Opaque and no array of floats; {MAKE}",
    ("quadratic", "generated"): f"generated of own_losses is a generator, which ends after it was read once; {MAKE}",
    ("quadratic", "awaited"): f"awaited of own_losses is a coroutine, which ends after it was read once; {MAKE}",
    ("quadratic", "nothing"): f"nothing of own_losses holds no array; {MAKE}",
    ("quadratic", "transformed"): f"transformed of own_losses holds no array; {MAKE}",
    ("quadratic", "of_one"): "of_one of own_losses raised TypeError: of_one() missing 1 required positional argument",
    ("quadratic", "words"): "words of own_losses, at ['name'], is a str and no array of floats",
    ("quadratic", "count"): "count of own_losses, at [1], is a int and no array of floats",
    (
        "quadratic",
        "integers",
    ): "own_losses:quadratic at integers: params has dtype int64: params must be real floating point",
    ("quadratic", "texts"): "own_losses:quadratic at texts: params has dtype <U1: params must be real floating point",
    ("quadratic", "shapes"): "own_losses:quadratic at shapes: TypeError",
    ("array", "array"): "own_losses:array is a ArrayImpl; the loss must be a function of array that returns a scalar",
    ("Model", "array"): "own_losses:Model is a class; the loss must be a function of array",
    ("jax", "array"): "own_losses:jax is a module; the loss must be a function of array",
    ("lazy", "array"): "own_losses:lazy computes nothing when it is called; drop its `async` or `yield`",
    ("later", "array"): "own_losses:later computes nothing when it is called; drop its `async` or `yield`",
    ("leaving", "array"): "own_losses:leaving raised SystemExit: 3 at own_losses.py:",
    ("memory", "array"): "own_losses:memory raised MemoryError: no message at own_losses.py:",
    ("opaque", "array"): "own_losses:opaque at array: Opaque.__call__() takes 1 positional argument",
    ("vector", "array"): "own_losses:vector at array: loss must return a real scalar, but returned shape (3,)",
    ("printed", "array"): "own_losses:printed at array: loss must return a real scalar, but returned a str",
}


@pytest.mark.parametrize(("loss", "params"), REFUSED, ids=["-".join(names) for names in REFUSED])
def test_what_is_no_loss_or_no_pytree_is_refused_in_one_sentence(own, loss, params):
    done = call("sharpness", f"own_losses:{loss}", "--params", params)
    assert done.exit_code == 2, done.exception
    assert done.stdout == ""
    assert done.stderr.startswith(f"eosbench: {REFUSED[loss, params]}")
    assert done.stderr.count("\n") == 1


def test_sharpness_that_is_not_reached_has_a_remedy_that_the_command_has(claims, monkeypatch):
    (claims / "quartic.py").write_text(
        "import jax.numpy as jnp\ndef loss(x):\n    return jnp.sum(x**4)\nparams = jnp.linspace(1, 2, 300)\n"
    )
    few = functools.partial(eosbench.curvature.sharpness, max_hvps=10)
    monkeypatch.setattr("eosbench.curvature.sharpness", few)
    done = call("sharpness", "quartic:loss")
    assert done.exit_code == 2
    assert done.stderr.startswith("eosbench: not converged: the largest error is ")
    assert done.stderr.endswith(" after 10 products; give a larger --rtol\n")


COMMANDS = ("list", "show", "run", "explain", "report", "compare", "history", "new", "doctor", "sharpness")


def test_every_command_has_help_with_an_example(claims):
    for command in COMMANDS:
        assert f"Example: eosbench {command}" in call(command, "--help").stdout
