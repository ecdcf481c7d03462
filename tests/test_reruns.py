"""A case that another plugin runs again: the last attempt counts, whole, and the report says that there were several.

The plugins here do what pytest-rerunfailures, flaky and pytest-retry do, each of which hides a failed attempt in a way
of its own.
"""

import json
from collections import Counter

# A run inside this process forgets in the end what it has imported: what every run needs is imported here, once.
import hypothesis  # noqa: F401
import pytest

import eosbench.report.exports
import eosbench.report.html  # noqa: F401
from eosbench.report import read

LOGGED = """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    for last in (False, False, True):
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        again = not last and any(report.failed for report in reports)
        for report in reports:
            if again and report.failed:
                report.outcome = "rerun"
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        if not again:
            return True

def pytest_report_teststatus(report):
    return ("rerun", "R", "RERUN") if report.outcome == "rerun" else None
"""

SILENT = LOGGED.replace(
    """                report.outcome = "rerun"
            item""",
    """                continue
            item""",
)

WITHIN = """
import pytest

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    report = yield
    for _ in range(2) if call.when == "call" and call.excinfo is not None else ():
        item.ihook.pytest_runtest_teardown(item=item, nextitem=pytest.Class.from_parent(item.session, name="none"))
        item._initrequest()
        item.ihook.pytest_runtest_setup(item=item)
        call = pytest.CallInfo.from_call(lambda: item.ihook.pytest_runtest_call(item=item), when="call")
        again = pytest.TestReport.from_item_and_call(item, call)
        report.outcome, report.longrepr = again.outcome, again.longrepr
        if call.excinfo is None:
            break
    return report
"""

CLAIMS = """
import pytest
from collections import Counter
from eosbench import Claim, Document, Source

ATTEMPTS = Counter()
talk = Document("talk", "A talk")
toy = Claim("toy/one", source=Source(talk, "slide 1"), printed="$x^2 > 0$", expected="holds")

@pytest.fixture
def data(request):
    attempt = ATTEMPTS[request.node.name] + 1
    ATTEMPTS[request.node.name] = attempt
    control = "control" in request.node.name
    {setup}
    yield attempt
    {teardown}

@toy.check(x=[1.0, 2.0], controls={{"sign": dict(sign=-1.0)}})
def test_one(evidence, data, x, sign=1.0):
    evidence.spent(10 * data)
    evidence.series(f"attempt {{data}}", [0, 1], [x, x], axes=("step", "x"))
    {call}
    evidence.at_least("x^2", sign * x * x, 0.5)
"""

SERIAL = ("-p", "no:cacheprovider")
PARALLEL = ("-n", "2", *SERIAL)
EVERY_PLUGIN = pytest.mark.parametrize("plugin", [LOGGED, SILENT, WITHIN], ids=["logged", "silent", "within"])


@pytest.fixture
def run(pytester):
    """Runs the claim under a plugin: the exit status, the claim, its cases by their names, and what is printed."""

    def running(plugin, *arguments, setup="pass", call="pass", teardown="pass"):
        (pytester.path / "claims").mkdir(exist_ok=True)
        text = CLAIMS.format(setup=setup, call=call, teardown=teardown)
        (pytester.path / "claims" / "test_a.py").write_text(text)
        pytester.makeconftest(plugin)
        done = pytester.runpytest("claims", *(arguments or SERIAL))
        found = json.loads((pytester.path / "claims-report" / "claims.json").read_text())
        return done.ret, found["claims"][0], {case["case"]: case for case in found["cases"]}, done.stdout

    return running


@EVERY_PLUGIN
def test_a_control_that_fired_only_in_an_attempt_that_died_has_not_fired(run, plugin):
    dies = "if control and data == 1: evidence.at_least('x^2', -1.0, 0.5); raise OSError('gone')\n    sign = 1.0"
    status, claim, cases, _ = run(plugin, call=dies.replace("control", "sign < 0"))
    assert (status, claim["verdict"]) == (1, "inconclusive")
    assert claim["controls"] == [{"name": "test_one[control: sign]", "fired": False}]
    control = cases["control: sign"]
    assert (control["reading"], control["attempts"]) == ("satisfied", 3)
    assert [record["measured"] for record in control["records"]] == [1.0]


@EVERY_PLUGIN
@pytest.mark.parametrize("fault", ["raise OSError('gone')", "x = 0.1"], ids=["died", "violated"])
def test_the_attempt_that_counts_counts_whole(run, pytester, plugin, fault):
    status, claim, cases, printed = run(plugin, call=f"if x == 2 and data < 3: {fault}")
    assert (status, claim["verdict"]) == (0, "holds")
    again = cases["x=2"]
    assert (again["status"], again["reading"], again["message"]) == ("completed", "satisfied", "")
    assert [record["measured"] for record in again["records"]] == [4.0]
    assert again["products"] == 30
    (results,) = (read(path) for path in pytester.path.glob("claims-report/evidence.jsonl"))
    curves = {case.case: [curve.label for curve in case.series] for case in results.cases}
    assert curves == {"x=1": ["attempt 1"], "x=2": ["attempt 3"], "control: sign": ["attempt 1"]}
    assert {name: case["attempts"] for name, case in cases.items()} == {"x=1": 1, "x=2": 3, "control: sign": 1}
    printed.fnmatch_lines(
        ["1 case ran more than once; of each, the last attempt counts.", "*test_one[[]x=2[]]: attempt 3"]
    )
    page = (pytester.path / "claims-report" / "report.html").read_text()
    assert page.count('<span class="muted">attempt 3</span>') == 1
    assert "1 case ran more than once; of each, the last attempt counts." in page
    assert "1 case ran more than once" in (pytester.path / "claims-report" / "CLAIMS.md").read_text()


def test_an_attempt_that_is_worse_than_the_one_before_counts_too(run):
    """The first call is good and its teardown fails; then the case is violated for good."""
    status, claim, cases, _ = run(LOGGED, call="x = x if data == 1 else 0.1", teardown="assert attempt > 1 or control")
    assert (status, claim["verdict"]) == (1, "refuted")
    assert (cases["x=1"]["reading"], cases["x=1"]["attempts"]) == ("violated", 3)
    assert [record["measured"] for record in cases["x=1"]["records"]] == [pytest.approx(0.01)]


PHASES = {
    "setup": {"setup": "if attempt > 1: raise OSError('no data')", "teardown": "assert attempt > 1"},
    "teardown": {"teardown": "raise OSError('no data')"},
}


@pytest.mark.parametrize("arguments", [SERIAL, PARALLEL], ids=["serial", "n2"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_setup_or_teardown_that_fails_in_the_last_attempt_is_an_error(run, phase, arguments):
    """Whatever was read before: in each attempt the call is good, where there is one."""
    status, claim, cases, printed = run(LOGGED, *arguments, **PHASES[phase])
    assert (status, claim["verdict"]) == (1, "broken")
    line = next(i for i, text in enumerate(CLAIMS.splitlines(), 1) if f"{{{phase}}}" in text)
    for case in cases.values():
        assert (case["status"], case["reading"], case["attempts"]) == ("error", None, 3)
        assert case["message"] == f"{phase} failed: OSError: no data (claims/test_a.py:{line})"
        assert len(case["records"]) == (phase == "teardown")
    printed.fnmatch_lines(["DRIFT  toy/one is broken*"])
    assert f"test_a.py:{line})" in "".join(text.strip() for text in printed.lines)


@pytest.mark.parametrize("arguments", [SERIAL, PARALLEL], ids=["serial", "n2"])
def test_a_fixture_that_recovers_leaves_no_error(run, arguments):
    recovering = {"setup": "assert attempt != 1", "teardown": "assert attempt != 2"}
    status, claim, cases, printed = run(LOGGED, *arguments, **recovering)
    assert (status, claim["verdict"]) == (0, "holds")
    assert Counter(case["attempts"] for case in cases.values()) == {3: 3}
    printed.fnmatch_lines(["3 cases ran more than once; of each, the last attempt counts."])


def test_a_claim_is_told_once_where_its_cases_run_again(run):
    _, _, _, printed = run(LOGGED, "--claims-progress", *SERIAL, call="assert data == 2")
    assert [line.split("(")[0] for line in printed.lines if line.startswith("[3/3]")] == ["[3/3] holds        toy/one "]


def test_a_check_that_is_called_twice_after_one_setup_is_an_error(run):
    """Its evidence would be of both calls, and a control that fired in one of them would seem to fire."""
    twice = """
import pytest

@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    yield
    item.runtest()
"""
    status, claim, cases, _ = run(twice)
    assert (status, claim["verdict"]) == (1, "broken")
    assert all("called a second time without a new setup" in case["message"] for case in cases.values())


SUBTESTS = "with subtests.test(): {}"


@pytest.mark.parametrize(
    ("within", "verdict"),
    [
        ("evidence.at_most('speed', 'fast', 1)", "broken"),
        ("assert x < 2 or sign < 0", "broken"),
        ("pytest.skip('not now')", "holds"),
        ("evidence.at_least('x', x, 0.5)", "holds"),
    ],
)
def test_what_fails_within_a_subtest_fails_the_case(run, monkeypatch, within, verdict):
    """pytest reports a subtest by itself, and the check goes on to its end."""
    monkeypatch.setitem(globals(), "CLAIMS", CLAIMS.replace("evidence, data", "evidence, subtests, data"))
    status, claim, cases, _ = run("", call=SUBTESTS.format(within))
    assert (status, claim["verdict"]) == (verdict == "broken", verdict)
    assert all(case["records"] for case in cases.values())


def test_nothing_is_said_of_attempts_where_there_was_one(run):
    status, _, cases, printed = run("")
    assert status == 0
    assert {case["attempts"] for case in cases.values()} == {1}
    printed.no_fnmatch_line("*more than once*")
