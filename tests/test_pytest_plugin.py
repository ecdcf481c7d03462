"""From a claim file to verdicts: serially, in parallel, in part, and when the claim is stated wrongly."""

import fcntl
import json

# A run inside this process forgets in the end what it has imported: what every run needs is imported here, once.
import hypothesis  # noqa: F401
import pytest

import eosbench.report.exports
import eosbench.report.html  # noqa: F401

HEAD = """
from eosbench import Claim, Document, Source
talk = Document("talk", "A talk")
"""

CLAIM = """
{name} = Claim("toy/{name}", source=Source(talk, "slide 1"), printed="$x^2 > 0$", expected="{expected}"{more})

@{name}.check(x=[1.0, 2.0], controls={{"sign": dict(sign=-1.0)}})
def test_{name}(evidence, x, sign=1.0):
    evidence.requires("sign is one", sign == 1)
    {body}
    evidence.at_least("x^2", sign * x * x, 0.5)
"""


REFUTED = ', severity="false", why="It is not."'


def claim(name, body="pass", expected="holds", more=""):
    return CLAIM.format(name=name, body=body, expected=expected, more=more)


def results(pytester, directory="claims-report"):
    found = json.loads((pytester.path / directory / "claims.json").read_text())
    return found | {"verdicts": {entry["id"]: entry["verdict"] for entry in found["claims"]}}


@pytest.fixture
def project(pytester):
    """A directory `claims/` with one file for each text."""
    (pytester.path / "claims").mkdir()

    def write(**files):
        for name, text in files.items():
            (pytester.path / "claims" / f"test_{name}.py").write_text(HEAD + text)
        return pytester

    return write


SERIAL = ("-p", "no:cacheprovider")
PARALLEL = ("-n", "2", *SERIAL)


@pytest.mark.parametrize("arguments", [SERIAL, PARALLEL, ("-p", "no:xdist", *SERIAL)], ids=["serial", "n2", "no-xdist"])
def test_verdicts_are_the_same_however_it_runs(project, arguments):
    p = project(
        a=claim("one") + claim("two", expected="refuted", more=REFUTED).replace("controls", "positive_controls"),
        b=claim("three"),
    )
    done = p.runpytest("claims", *arguments)
    found = results(p)
    assert found["verdicts"] == {"toy/one": "holds", "toy/two": "inconclusive", "toy/three": "holds"}
    assert found["complete"]
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    one = next(entry for entry in found["claims"] if entry["id"] == "toy/one")
    assert one["counts"]["satisfied"] == 2
    assert one["controls"] == [{"name": "test_one[control: sign]", "fired": True}]
    done.stdout.fnmatch_lines(["*toy/one*holds*", "*toy/two*inconclusive*DRIFT*", "*report.html*"])
    assert (p.path / "claims-report" / "report.html").stat().st_size > 1000


def test_a_run_with_every_verdict_as_expected_is_green(project):
    p = project(a=claim("one"))
    assert p.runpytest("claims", *SERIAL).ret == 0


def test_a_violated_case_turns_the_run_red_and_says_why(project):
    p = project(a=claim("one", body="x = x if x < 2 or sign < 0 else 0.1"))
    done = p.runpytest("claims", *SERIAL)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert results(p)["verdicts"] == {"toy/one": "refuted"}
    done.stdout.fnmatch_lines(["*toy/one: this case reads violated where satisfied was expected. x^2 0.01 ≥ 0.5*"])


VACUOUS = """
c = Claim("toy/c", source=Source(talk, "slide 1"), printed="p", expected="holds")


@c.check(x=[1.0, 2.0, -1.0], vacuous={declared}, controls=dict(sign=dict(x=-1.0)))
def test_it(evidence, x):
    evidence.requires("x > 0", x > 0)
    evidence.at_least("x", x, 0.5)
"""


@pytest.mark.parametrize(("declared", "verdict"), [(1, "holds"), (0, "vacuous")])
def test_a_case_that_is_vacuous_is_red_unless_it_is_declared(project, declared, verdict):
    p = project(a=VACUOUS.format(declared=declared))
    done = p.runpytest("claims", *PARALLEL)
    assert results(p)["verdicts"] == {"toy/c": verdict}
    assert done.ret == (0 if declared else 1)
    if not declared:
        done.stdout.fnmatch_lines(["*DRIFT*toy/c is vacuous, expected holds: 1 of 3 cases of test_it*"])


@pytest.mark.parametrize("told", [False, True])
def test_a_control_that_is_only_nan_does_not_fire_and_one_that_says_that_it_diverged_does(project, told):
    nan = claim("one", 'evidence.finite("sign", sign)' if told else "pass")
    p = project(a=nan.replace("sign=-1.0", "sign=float('nan')"))
    done = p.runpytest("claims", *SERIAL)
    assert results(p)["verdicts"] == {"toy/one": "holds" if told else "inconclusive"}
    if not told:
        done.stdout.fnmatch_lines(["*by a value that is not finite, which shows nothing*"])


def test_a_refuted_claim_is_green_where_it_is_expected(project):
    text = """
c = Claim("toy/false", source=Source(talk, "slide 1"), printed="$x < 2$", expected="refuted", severity="false", why="w")
@c.check(x=[3.0], positive_controls={"small": dict(x=1.0)})
def test_c(evidence, x):
    evidence.at_most("x", x, 2.0)
"""
    p = project(a=text)
    assert p.runpytest("claims", *SERIAL).ret == 0
    assert results(p)["verdicts"] == {"toy/false": "refuted"}


SABOTAGE = {
    "a control that does not fire": ('controls={"same": dict(x=2.0)}', "x", "x", "inconclusive"),
    "a control that fires only through a NaN prediction": ('controls={"nan": dict(bound=nan)}', "x", "x", "broken"),
    "a counterexample that no longer violates": ('controls={"low": dict(x=0.0)}', "x", "1.0", "inconclusive"),
    "none of these": ('controls={"low": dict(x=0.0)}', "x", "0.0", "corrected"),
}


@pytest.mark.parametrize("name", SABOTAGE)
def test_sabotage_is_noticed(project, name):
    controls, measured, printed, verdict = SABOTAGE[name]
    text = f"""
from math import nan
c = Claim("toy/c", source=Source(talk, "slide 1"), printed="p", corrected="q", expected="corrected", severity="slip")
@c.check(x=[1.0, 2.0], {controls})
def test_c(evidence, x, bound=0.5):
    evidence.at_least("x", {measured}, bound)
@c.counterexample(x=1.0)
def test_printed(evidence, x):
    evidence.at_least("x as printed", {printed}, 0.5)
"""
    p = project(a=text)
    done = p.runpytest("claims", *SERIAL)
    assert results(p)["verdicts"] == {"toy/c": verdict}
    assert done.ret == (0 if verdict == "corrected" else 1)


def test_nan_in_evidence_is_violated_never_satisfied(project):
    p = project(a=claim("one", body="x = float('nan')"))
    assert p.runpytest("claims", *SERIAL).ret == 1
    assert results(p)["verdicts"] == {"toy/one": "refuted"}


def test_a_check_that_compares_nothing_is_broken(project):
    text = claim("one").replace('evidence.at_least("x^2", sign * x * x, 0.5)', "")
    p = project(a=text)
    done = p.runpytest("claims", *SERIAL)
    assert results(p)["verdicts"] == {"toy/one": "broken"}
    done.stdout.fnmatch_lines(["*recorded no comparison*"])


def test_what_is_not_a_number_is_an_error_of_one_sentence(project):
    p = project(a=claim("one", body="evidence.at_most('speed', 'fast', 1)"))
    done = p.runpytest("claims", *SERIAL)
    assert results(p)["verdicts"] == {"toy/one": "broken"}
    told = "'speed': measured must be a number or an array of numbers; got 'fast' (claims/test_a.py:10)"
    done.stdout.fnmatch_lines([f"*test_one[[]x=1[]]: {told}"])
    assert "Traceback" not in done.stdout.str()


FIXTURE = """
@pytest.fixture({})
def data(request):
    return 1.0
"""

WRONG = {
    "a check outside a claim": (claim("one") + "def test_stray(evidence): pass", "test_stray belongs to no claim"),
    "a claim without a control": (claim("one").replace("controls={", "controls={} and {"), "it has no control"),
    "a claim without a check": (claim("one").split("@")[0], "it has no case to run"),
    "an unknown parameter": (claim("one").replace("sign=-1.0", "sing=-1.0"), "names the parameter 'sing'"),
    "no known document": (claim("one").replace("Source(talk,", "Source('talk',"), "there is no documents.toml in "),
    "two claims with one id": (
        claim("one") + claim("two").replace("toy/two", "toy/one"),
        "another claim",
    ),
    "a check that is defined twice": (
        claim("one") + claim("two").replace("def test_two", "def test_one"),
        "test_one is not the function of this name in its module",
    ),
    "a check in a class": (
        claim("one").replace("\n@one", "\nclass Checks:\n  @staticmethod\n  @one").replace("\ndef", "\n  def"),
        "test_one is a method of Checks; write it as a function of the module",
    ),
    "a claim that is not at module level": (
        "if True:\n  one" + claim("one").partition("one")[2],
        "write `name = Claim(...)` at module level",
    ),
    "parametrize": (
        "import pytest\n" + claim("one").replace("@one", "@pytest.mark.parametrize('x', [3.0])\n@one"),
        "has a mark `parametrize`",
    ),
    "a module that is parametrized": (
        "import pytest\npytestmark = pytest.mark.parametrize('x', [3.0])\n" + claim("one"),
        "test_one has a mark `parametrize`, of its own or of its module",
    ),
    "a check that is parametrized through a fixture": (
        "import pytest\n"
        + FIXTURE.format("")
        + claim("one").replace("@one", "@pytest.mark.parametrize('data', [1], indirect=True)\n@one"),
        "has a mark `parametrize`",
    ),
    "a fixture with params": (
        "import pytest\n" + FIXTURE.format("params=[1, 2]") + claim("one").replace("evidence, x", "evidence, data, x"),
        "test_one uses the fixture 'data', which has params; give its values to check(...) as a grid",
    ),
    "a fixture with params for a whole class": (
        "import pytest\n"
        + FIXTURE.format("params=[1, 2], scope='class'")
        + claim("one").replace("@one", "@pytest.mark.usefixtures('data')\n@one"),
        "uses the fixture 'data', which has params",
    ),
    "a fixture with params for all": (
        "import pytest\n" + FIXTURE.format("params=[1], autouse=True") + claim("one"),
        "uses the fixture 'data', which has params",
    ),
    "a fixture that takes one with params": (
        "import pytest\n"
        + FIXTURE.format("params=[1, 2]")
        + "@pytest.fixture\ndef more(data): return data\n"
        + claim("one").replace("evidence, x", "evidence, more, x"),
        "uses the fixture 'data', which has params",
    ),
    "a parameter that has no value": (
        claim("one").replace("evidence, x", "evidence, eta, x"),
        "test_one takes 'eta', which is no fixture; give it a value in check(...)",
    ),
    "a fixture that takes what there is not": (
        "import pytest\n"
        + FIXTURE.format("").replace("data(request)", "data(detta)")
        + claim("one").replace("evidence, x", "evidence, data, x"),
        "test_one uses a fixture that takes 'detta', which is no fixture",
    ),
    "an asynchronous check": (claim("one").replace("\ndef", "\nasync def"), "test_one is asynchronous"),
    "a check that yields": (claim("one", body="yield"), "test_one has a `yield`"),
    "a claim in no variable": (
        claim("one").replace("one = ", "o = [").replace('s")', 's")]').replace("@one", "@o[0]"),
        "",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_claim_stated_wrongly_is_a_collection_error_of_one_sentence(project, name):
    text, sentence = WRONG[name]
    done = project(a=text).runpytest("claims", *SERIAL)
    assert done.ret == pytest.ExitCode.INTERRUPTED
    lines = [line for line in done.stdout.lines if line.startswith("claims/test_a.py: ")]
    assert len(lines) == 1, done.stdout.str()
    assert sentence in lines[0]
    assert "Traceback" not in done.stdout.str()


def test_a_fixture_with_params_of_another_file_is_refused_too(project):
    p = project(a=claim("one"))
    p.makeconftest("import pytest" + FIXTURE.format("params=[1, 2], autouse=True, scope='session'"))
    done = p.runpytest("claims", *SERIAL)
    done.stdout.fnmatch_lines(
        ["claims/test_a.py: claim 'toy/one': test_one uses the fixture 'data', which has params*"]
    )
    assert done.ret == pytest.ExitCode.INTERRUPTED


@pytest.mark.parametrize(("taken", "status"), [("request", 0), ("data", pytest.ExitCode.INTERRUPTED)])
def test_a_fixture_that_overrides_one_with_params_has_none_unless_it_takes_it(project, taken, status):
    override = f"import pytest\n@pytest.fixture\ndef data({taken}): return 2.0\n"
    p = project(a=override + claim("one", body="assert data == 2").replace("evidence, x", "evidence, data, x"))
    p.makeconftest("import pytest" + FIXTURE.format("params=[1, 2]"))
    assert p.runpytest("claims", *SERIAL).ret == status


def test_two_files_with_one_id_or_one_document_of_two_kinds(project):
    p = project(a=claim("one"), b=claim("one"))
    p.runpytest("claims", *SERIAL).stdout.fnmatch_lines(
        ["claims/test_b.py: claim 'toy/one': claims/test_a.py states another claim with this id; rename one of them"]
    )
    p = project(b=claim("two").replace("toy", "toy"), c="talk = Document('talk', 'Another')\n" + claim("three"))
    (p.path / "claims" / "test_b.py").unlink()
    p.runpytest("claims", *SERIAL).stdout.fnmatch_lines(
        ["claims/test_c.py: claim 'toy/three': claims/test_a.py gives the document 'talk' another title*"]
    )
    project(c="talk = Document('talk', 'A talk', year=2022)\n" + claim("three"))
    p.runpytest("claims", *SERIAL).stdout.fnmatch_lines(
        ["claims/test_c.py: claim 'toy/three': claims/test_a.py gives the document 'talk' another year*"]
    )


def test_a_broken_file_does_not_hide_the_others_in_parallel(project):
    p = project(a=claim("one"), b="def oops(:\n")
    done = p.runpytest("claims", *PARALLEL)
    assert done.ret != 0
    found = results(p)
    assert found["verdicts"] == {"toy/one": "holds"}
    assert not found["complete"]
    assert "test_b.py" in json.dumps(found["coverage"])


@pytest.mark.parametrize("arguments", [SERIAL, PARALLEL], ids=["serial", "n2"])
def test_what_is_known_of_the_contents_of_documents_is_recorded_also_of_those_not_asked_for(project, arguments):
    p = project(a=claim("one"), b=claim("two").replace('talk, "slide 1"', '"poster", "II"'))
    (p.path / "claims" / "documents.toml").write_text(
        '[poster]\ntitle = "A poster"\ncontents = ["I", "II"]\n'
        '[[poster.not_encoded]]\nplace = "I"\nstatement = "It works."\nwhy = "On what?"\n'
    )
    for file, directory in (("", "claims-report"), ("/test_a.py", "claims-report/partial")):
        assert p.runpytest(f"claims{file}", *arguments).ret == 0
        poster, talk = results(p, directory)["documents"]
        assert (talk["key"], talk["sections"]) == (
            "talk",
            [{"name": "slide 1", "claims": ["toy/one"], "not_encoded": []}],
        )
        statement = {"place": "I", "statement": "It works.", "why": "On what?"}
        assert poster["sections"] == [
            {"name": "I", "claims": [], "not_encoded": [statement]},
            {"name": "II", "claims": ["toy/two"], "not_encoded": []},
        ]


def test_a_subset_reports_beside_the_full_report(project):
    p = project(a=claim("one") + claim("two"), b=claim("three"))
    assert p.runpytest("claims", *SERIAL).ret == 0
    full = (p.path / "claims-report" / "claims.json").read_text()

    assert p.runpytest("claims", "-k", "toy/one and control", *SERIAL).ret == 0
    found = results(p, "claims-report/partial")
    assert found["verdicts"] == {"toy/one": "partial", "toy/two": "not run", "toy/three": "not run"}
    assert not found["complete"]

    assert p.runpytest("claims/test_b.py", *SERIAL).ret == 0
    found = results(p, "claims-report/partial")
    assert found["verdicts"] == {"toy/one": "not run", "toy/two": "not run", "toy/three": "holds"}
    told = (p.path / "claims-report" / "partial" / "CLAIMS.md").read_text()
    assert "A partial run: 3 of 3 planned cases selected, and 2 claims of other files there not asked for" in told

    assert p.runpytest("claims/test_a.py::test_one[x=1]", *PARALLEL).ret == 0
    found = results(p, "claims-report/partial")
    assert found["verdicts"] == {"toy/one": "partial", "toy/two": "not run", "toy/three": "not run"}

    assert (p.path / "claims-report" / "claims.json").read_text() == full


def test_the_topics_of_one_package_are_parts_of_one_report(project):
    p = project(top=claim("one"))
    for topic in ("", "inner", "outer"):
        p.mkpydir(f"claims/{topic}") if topic else (p.path / "claims" / "__init__.py").touch()
    (p.path / "claims" / "inner" / "test_same.py").write_text(HEAD + claim("two"))
    (p.path / "claims" / "outer" / "test_same.py").write_text(HEAD + claim("three"))
    assert p.runpytest("claims", *SERIAL).ret == 0
    assert results(p)["verdicts"] == {"toy/one": "holds", "toy/two": "holds", "toy/three": "holds"}
    assert p.runpytest("claims/inner", *SERIAL).ret == 0
    found = results(p, "claims-report/partial")
    assert found["verdicts"] == {"toy/one": "not run", "toy/two": "holds", "toy/three": "not run"}


def test_two_folders_of_one_module_name_are_not_taken_for_each_other(pytester):
    for folder in ("mine", "theirs"):
        package = pytester.mkdir(folder) / "claims"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "test_a.py").write_text(HEAD + claim(folder))
    done = pytester.runpytest("mine", "theirs", "--import-mode=importlib", *SERIAL)
    assert done.ret == pytest.ExitCode.INTERRUPTED
    done.stdout.fnmatch_lines(
        ["theirs/claims/test_a.py: claim 'toy/mine': */mine/claims/test_a.py was imported in place of this file, *"]
    )
    assert pytester.runpytest("theirs", "--import-mode=importlib", *SERIAL).ret == 0


@pytest.mark.parametrize("arguments", [SERIAL, PARALLEL], ids=["serial", "n2"])
def test_stopping_early_leaves_the_rest_partial_and_not_lost(project, arguments):
    texts = {name: claim(name, body="x = 0.1") for name in ("a", "b", "c", "d", "e", "f")}
    p = project(**texts)
    done = p.runpytest("claims", "-x", *arguments)
    found = results(p)
    assert done.ret != 0
    assert set(found["verdicts"].values()) >= {"refuted", "not run"}
    assert "broken" not in found["verdicts"].values()
    assert (found["outcome"], found["complete"]) == ("stopped early", False)
    assert "lost" not in found["coverage"]["cases"]
    assert "crashed" not in found["coverage"]["cases"]


def test_collect_only_writes_nothing(project):
    p = project(a=claim("one"))
    done = p.runpytest("claims", "--collect-only", "-q", *SERIAL)
    done.stdout.fnmatch_lines(["claims/test_a.py::test_one[[]x=1[]]", "claims/test_a.py::test_one[[]control: sign[]]"])
    assert not (p.path / "claims-report").exists()


def test_a_report_that_cannot_be_written_is_said_before_anything_runs(project):
    p = project(a=claim("one"))
    (p.path / "taken").write_text("a file")
    done = p.runpytest("claims", "--claims-report", "taken/report", *SERIAL)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["ERROR: --claims-report */taken/report: *; name a directory that can be written"])


@pytest.mark.parametrize("arguments", [SERIAL, PARALLEL], ids=["serial", "n2"])
def test_a_second_run_does_not_write_into_the_results_of_the_first(project, arguments):
    there = project(a=claim("one"))
    (there.path / "claims-report").mkdir()
    with (there.path / "claims-report" / "evidence.jsonl").open("w") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        first.write("what the first run has found\n")
        first.flush()
        done = there.runpytest_subprocess("claims", *arguments)
        text = done.stdout.str() + done.stderr.str()
        assert "another run is writing" in text
        assert "--claims-report DIR" in text
        assert "Traceback" not in text
        assert done.ret == 4
    assert (there.path / "claims-report" / "evidence.jsonl").read_text() == "what the first run has found\n"


def test_skips_are_out_of_scope_with_their_reason(project):
    p = project(a=claim("one", body="import pytest; pytest.skip('needs a GPU')"))
    assert p.runpytest("claims", *SERIAL).ret == 0
    found = results(p)
    assert found["verdicts"] == {"toy/one": "out of scope"}
    assert found["claims"][0]["reasons"] == ["needs a GPU"]


def test_a_skip_does_not_hide_a_comparison(project):
    p = project(a=claim("one", body="import pytest; evidence.at_most('x', 2.0, 1.0); pytest.skip('later')"))
    assert p.runpytest("claims", *SERIAL).ret == 1
    assert results(p)["verdicts"] == {"toy/one": "broken"}


SIZES = "evidence.out_of_scope('the data are missing; get them') if evidence.scale == 'paper' else None"


@pytest.mark.parametrize("arguments", [SERIAL, PARALLEL], ids=["serial", "n2"])
def test_a_claim_that_lacks_what_the_paper_size_needs_is_out_of_scope(project, arguments):
    p = project(a=claim("one", body=SIZES), b=claim("two"))
    assert p.runpytest("claims", *arguments).ret == 0
    assert results(p)["verdicts"] == {"toy/one": "holds", "toy/two": "holds"}
    assert results(p)["environment"]["scale"] == "small"

    done = p.runpytest("claims", "--claims-scale", "paper", *arguments)
    assert done.ret == 0
    found = results(p)
    assert found["verdicts"] == {"toy/one": "out of scope", "toy/two": "holds"}
    one = next(entry for entry in found["claims"] if entry["id"] == "toy/one")
    assert (one["reasons"], one["drift"]) == (["the data are missing; get them"], False)
    assert found["environment"]["scale"] == "paper"
    done.stdout.fnmatch_lines(["Experiments that have two sizes ran at that of the paper."])


def test_fixtures_and_marks_work_in_a_check(project):
    text = claim("one", body="assert tmp_path.exists()").replace("evidence, x", "evidence, tmp_path, x")
    p = project(a="import pytest\n" + text.replace("@one", "@pytest.mark.xfail(run=False)\n@one"))
    p.runpytest("claims", "-rx", *SERIAL).assert_outcomes(xfailed=3)
    p = project(a=text)
    assert p.runpytest("claims", *SERIAL).ret == 0


@pytest.mark.parametrize("arguments", [SERIAL, PARALLEL], ids=["serial", "n2"])
def test_a_fixture_that_fails_in_the_end_breaks_the_claim_and_keeps_its_evidence(project, arguments):
    text = "import pytest\n@pytest.fixture\ndef data():\n    yield\n    raise OSError('cannot close')\n"
    p = project(a=text + claim("one").replace("evidence, x", "evidence, data, x"))
    assert p.runpytest("claims", *arguments).ret == 1
    found = results(p)
    assert found["verdicts"] == {"toy/one": "broken"}
    assert all(case["records"] and "teardown failed" in case["message"] for case in found["cases"])


@pytest.mark.parametrize("arguments", [SERIAL, PARALLEL], ids=["serial", "n2"])
def test_one_claim_alone_by_its_exact_id(project, arguments):
    p = project(a=claim("one") + claim("more").replace("toy/more", "toy/one-more"))
    assert p.runpytest("claims", "--claims-only", "toy/one", *arguments).ret == 0
    assert results(p, "claims-report/partial")["verdicts"] == {"toy/one": "holds", "toy/one-more": "not run"}


def test_a_report_that_cannot_be_made_says_where_the_evidence_is(project, monkeypatch):
    monkeypatch.setattr("eosbench.report.write", lambda *arguments: 1 / 0)
    done = project(a=claim("one")).runpytest("claims", *SERIAL)
    assert done.ret == pytest.ExitCode.INTERNAL_ERROR
    done.stdout.fnmatch_lines(["*could not be written (ZeroDivisionError*kept in */claims-report/evidence.jsonl."])


def test_the_last_run_that_finished_is_kept(project):
    p = project(a=claim("one"))
    evidence, before = (p.path / "claims-report" / name for name in ("evidence.jsonl", "previous.jsonl"))
    p.runpytest("claims", *SERIAL)
    finished = evidence.read_text()
    (p.path / "claims" / "test_a.py").write_text(HEAD + claim("one", body="x = 0.1"))
    p.runpytest("claims", "-x", *SERIAL)  # stops early
    assert before.read_text() == finished != evidence.read_text()
    p.runpytest("claims", *SERIAL)
    assert before.read_text() == finished


def test_other_reporters_are_left_alone(project):
    p = project(a=claim("one", body="x = 0.1"))
    p.runpytest("claims", "--junitxml=junit.xml", *SERIAL)
    assert "<property" not in (p.path / "junit.xml").read_text()
    done = p.runpytest("claims", "--claims-progress", *SERIAL)
    done.stdout.fnmatch_lines(["FAILED claims/test_a.py::test_one*"])
    assert p.runpytest_subprocess("claims", "--claims-progress", "-p", "no:terminal", *SERIAL).ret == 1


def test_a_failing_fixture_breaks_the_claim(project):
    text = "import pytest\n@pytest.fixture\ndef data():\n    raise OSError('no data')\n"
    p = project(a=text + claim("one").replace("evidence, x", "evidence, data, x"))
    assert p.runpytest("claims", *SERIAL).ret == 1
    assert results(p)["verdicts"] == {"toy/one": "broken"}


RAISED = {
    "an error of a library": ("import json; json.loads('{')", "JSONDecodeError: Expecting property name"),
    "a text that begins with an empty line": (
        "import numpy; numpy.testing.assert_allclose(1, 2)",
        "AssertionError: Not equal to tolerance rtol=1e-07, atol=0 (claims/test_a.py:10)",
    ),
    "no text at all": ("assert_ = AssertionError; raise assert_", "AssertionError: no message (claims/test_a.py:10)"),
    "what is no evidence": (
        "evidence.close('speed', x, 1.0, -1)",
        "'speed': tolerance is -1; give a number that is not negative (claims/test_a.py:10)",
    ),
    "a fixture that is asked for late and is not there": (
        "request.getfixturevalue('detta')",
        "fixture 'detta' not found (claims/test_a.py:10)",
    ),
}


@pytest.mark.parametrize("name", RAISED)
def test_what_a_check_raises_is_told_with_its_first_line_and_the_line_of_the_check(project, name):
    body, told = RAISED[name]
    p = project(a=claim("one", body=body).replace("evidence, x", "evidence, request, x"))
    assert p.runpytest("claims", *SERIAL).ret == 1
    messages = {case["message"] for case in results(p)["cases"]}
    assert len(messages) == 1
    assert messages.pop().startswith(told)


@pytest.mark.parametrize("arguments", [SERIAL, PARALLEL], ids=["serial", "n2"])
def test_every_fixture_that_fails_in_the_end_is_told_in_evidence_and_on_the_page(project, arguments):
    text = "import pytest\n" + "".join(
        f"@pytest.fixture\ndef {name}():\n    yield\n    raise OSError('{name} is open')\n" for name in ("one", "two")
    )
    p = project(a=text + claim("three").replace("evidence, x", "evidence, one, two, x"))
    assert p.runpytest("claims", *arguments).ret == 1
    told = "teardown failed: OSError: one is open (claims/test_a.py:8); OSError: two is open (claims/test_a.py:12)"
    found = results(p)
    assert {case["message"] for case in found["cases"]} == {told}
    assert all(len(case["records"]) == 2 for case in found["cases"])
    page = (p.path / "claims-report" / "report.html").read_text()
    # A row for each of three cases, beside what it compared.
    assert page.count(f'<td class="message" colspan="5"><bdi>{told}</bdi></td>') == 3


def test_the_cases_of_an_experiment_stay_on_one_worker(project):
    """The canary of the scheduler: xdist's own loadgroup silently stopped to group with pytest 9.2."""
    shared = ', experiment="one trajectory"'
    p = project(a=claim("one", more=shared) + claim("two", more=shared), b=claim("three"), c=claim("four"))
    p.runpytest("claims", *PARALLEL)
    workers: dict[str, set[str]] = {}
    for line in (p.path / "claims-report" / "evidence.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry["type"] == "case":
            workers.setdefault(entry["nodeid"].split("[")[0].split("::")[1], set()).add(entry["worker"])
    assert all(len(used) == 1 for used in workers.values())
    assert workers["test_one"] == workers["test_two"]
    assert len(set.union(*workers.values())) == 2


def started(pytester):
    lines = map(json.loads, (pytester.path / "claims-report" / "evidence.jsonl").read_text().splitlines())
    return list(
        dict.fromkeys(line["nodeid"].split("::")[1].split("[")[0] for line in lines if line["type"] == "started")
    )


def test_what_took_longest_in_the_last_run_is_handed_out_first_and_what_is_new_before_it(project):
    shared = ', experiment="one trajectory"'
    files = {"a": claim("one", more=shared) + claim("two", more=shared), "b": claim("three"), "c": claim("four")}
    p = project(**files)
    p.runpytest("claims", "-n", "1", *SERIAL)
    assert started(p) == ["test_one", "test_two", "test_three", "test_four"]  # those with most cases first
    evidence = p.path / "claims-report" / "evidence.jsonl"
    took = {"test_one": 1.0, "test_two": 1.0, "test_three": 1.5, "test_four": 5.0}
    lines = [json.loads(line) for line in evidence.read_text().splitlines()]
    for line in lines:
        if line["type"] == "case":
            line["seconds"] = took[line["nodeid"].split("::")[1].split("[")[0]]
    evidence.write_text("".join(json.dumps(line) + "\n" for line in lines))
    p = project(**files, d=claim("five"))
    p.runpytest("claims", "-n", "1", *SERIAL)
    assert started(p) == ["test_five", "test_four", "test_one", "test_two", "test_three"]


@pytest.mark.parametrize("text", ["", "{", '{"type": "case"}\n', "\x00\xff"])
def test_a_report_of_which_nothing_can_be_read_changes_no_order(project, text):
    p = project(a=claim("one"), b=claim("two"))
    (p.path / "claims-report").mkdir()
    (p.path / "claims-report" / "evidence.jsonl").write_text(text)
    assert p.runpytest("claims", "-n", "1", *SERIAL).ret == 0
    assert started(p) == ["test_one", "test_two"]


def test_x64_is_on_in_claims_and_nothing_is_touched_elsewhere(pytester):
    """In processes of their own, since this one has JAX already."""
    pytester.makepyfile(
        test_plain="""
import sys
def test_nothing_came_along():
    assert "jax" not in sys.modules
"""
    )
    pytester.runpytest_subprocess(*SERIAL).assert_outcomes(passed=1)
    assert not (pytester.path / "claims-report").exists()
    pytester.makepyfile(
        test_claims="import jax.numpy as jnp\nEARLY = jnp.ones(1).dtype"
        + HEAD
        + claim(
            "one",
            body="assert EARLY == 'float64'; import jax; assert jax.config.jax_default_matmul_precision == 'highest'",
        )
    )
    pytester.runpytest_subprocess("test_claims.py", *SERIAL).assert_outcomes(passed=3)


def test_single_precision_on_request(project):
    p = project(a=claim("one", body="import jax.numpy as jnp; assert jnp.ones(1).dtype == 'float32'"))
    p.runpytest_subprocess("claims", "--claims-dtype", "float32", *SERIAL).assert_outcomes(passed=3)
    assert results(p)["environment"]["x64"] is False


def test_a_plain_project_keeps_xdists_own_scheduling(pytester):
    pytester.makepyfile("def test_a(): pass\ndef test_b(): pass")
    pytester.runpytest(*PARALLEL).assert_outcomes(passed=2)
    assert not (pytester.path / "claims-report").exists()


def test_the_evidence_fixture_is_for_claims(pytester):
    pytester.makepyfile("def test_a(evidence): pass")
    pytester.runpytest(*SERIAL).stdout.fnmatch_lines(["*`evidence` is for the checks of a claim*"])
