"""Whatever ends a run, what it found is kept, and the report names what died and what was lost."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CLAIMS = """
import os, time
from pathlib import Path
from eosbench import Claim, Document, Source

talk = Document("talk", "A talk")

def wait(name):
    if os.environ.get("EOSBENCH_TEST_HANG") == name:
        Path("hanging").write_text(str(os.getpid()))
        time.sleep(3600)  # longer than anybody waits for it: it ends by being killed
"""

CLAIM = """
{name} = Claim("toy/{name}", source=Source(talk, "slide 1"), printed="$x > 0$", expected="holds")

@{name}.check(x=[1.0, 2.0], controls={{"sign": dict(x=-1.0)}})
def test_{name}(evidence, x):
    if x == 2:
        wait("{name}")
    evidence.at_least("x", x, 0.5)
"""


HANGING = "claims/test_toy.py::test_two[x=2]"

# Seconds after which a run counts as hung. The longest takes eleven on two idle cores, as pytest-xdist waits long for a
# worker that does not answer.
PATIENCE = 120

# Whoever runs this in the background may have SIGINT ignored, which a child inherits.
PYTEST = """
import signal, pytest
signal.signal(signal.SIGINT, signal.default_int_handler)
raise SystemExit(pytest.main())
"""
EOSBENCH = """
import signal
from eosbench.__main__ import main
signal.signal(signal.SIGINT, signal.SIG_DFL)
main()
"""


@pytest.fixture
def start(tmp_path):
    """Starts runs, and leaves none of their processes behind."""
    runs = []

    def started(*arguments, hang):
        program = [EOSBENCH] if arguments[:1] == ("run",) else [PYTEST, "claims", "-p", "no:cacheprovider"]
        runs.append(begin(tmp_path, *program, *arguments, hang=hang))
        return runs[-1]

    yield started
    for run in runs:
        kill(run)
        run.communicate()


def begin(folder: Path, *arguments: str, hang: str) -> subprocess.Popen:
    """A run of three claims, of which one hangs in its second case; returns when it does and the controller knows."""
    (folder / "claims").mkdir()
    text = CLAIMS + "".join(CLAIM.format(name=name) for name in ("one", "two", "three"))
    (folder / "claims" / "test_toy.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\n")
    run = subprocess.Popen(
        [sys.executable, "-c", *arguments],
        cwd=folder,
        env=os.environ | {"EOSBENCH_TEST_HANG": hang},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    evidence = folder / "claims-report" / "evidence.jsonl"
    started = f'"started", "nodeid": "claims/test_toy.py::test_{hang}[x=2]"'

    def hangs() -> bool:
        told = evidence.exists() and started in evidence.read_text()
        return told and (folder / "hanging").exists() and bool((folder / "hanging").read_text())

    bound = time.monotonic() + PATIENCE
    while not hangs():
        if run.poll() is not None or time.monotonic() > bound:
            kill(run)
            pytest.fail(f"no case came to hang; the run said: {run.communicate()[0]}")
        time.sleep(0.05)
    return run


def kill(run: subprocess.Popen) -> None:
    """Kill a run with its workers, if there is anything left of it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGKILL)


def hanging(folder: Path) -> int:
    return int((folder / "hanging").read_text())


def at_work(folder: Path) -> set[str]:
    """Cases that started and did not end. With two workers the other one may be at work too, when the signal comes."""
    lines = [json.loads(line) for line in (folder / "claims-report" / "evidence.jsonl").read_text().splitlines()]
    started, ended = ({line["nodeid"] for line in lines if line["type"] == kind} for kind in ("started", "case"))
    return started - ended


def verdicts(folder: Path, directory: str = "claims-report") -> tuple[dict[str, str], dict]:
    found = json.loads((folder / directory / "claims.json").read_text())
    assert (folder / directory / "report.html").stat().st_size > 1000
    return {entry["id"]: entry["verdict"] for entry in found["claims"]}, found


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
@pytest.mark.parametrize("arguments", [(), ("-n", "2"), ("run",)], ids=["serial", "n2", "eosbench"])
def test_an_interrupted_run_reports(start, tmp_path, sent, arguments):
    run = start(*arguments, hang="two")
    run.send_signal(sent)
    output = run.communicate(timeout=PATIENCE)[0]
    assert run.returncode == pytest.ExitCode.INTERRUPTED, output
    found, report = verdicts(tmp_path)
    assert found["toy/two"] == "broken", output
    assert {crash["nodeid"] for crash in report["crashes"]} == at_work(tmp_path) >= {HANGING}
    if "-n" not in arguments:
        assert found == {"toy/one": "holds", "toy/two": "broken", "toy/three": "not run"}
    assert not report["complete"]
    assert report["coverage"]["cases"]["lost"] >= 1
    assert "toy/two" in output


def test_a_killed_worker_breaks_the_claim_it_was_at_and_no_other(start, tmp_path):
    run = start("-n", "2", hang="two")
    os.kill(hanging(tmp_path), signal.SIGKILL)
    output = run.communicate(timeout=PATIENCE)[0]
    assert run.returncode == pytest.ExitCode.TESTS_FAILED, output
    found, report = verdicts(tmp_path)
    assert found == {"toy/one": "holds", "toy/two": "broken", "toy/three": "holds"}, output
    assert [crash["claim"] for crash in report["crashes"]] == ["toy/two"]
    assert report["coverage"]["cases"] == {"planned": 9, "completed": 8, "crashed": 1}


def test_cases_that_a_dead_worker_took_along_are_lost_and_named(start, tmp_path):
    run = start("-n", "1", "--max-worker-restart", "0", hang="two")
    os.kill(hanging(tmp_path), signal.SIGKILL)
    output = run.communicate(timeout=PATIENCE)[0]
    assert run.returncode != 0
    found, report = verdicts(tmp_path)
    assert found["toy/two"] == "broken", output
    assert report["coverage"]["cases"]["lost"] >= 3
    assert "test_three" in output


@pytest.mark.parametrize("arguments", [(), ("-n", "2")], ids=["serial", "n2"])
def test_a_run_killed_outright_can_still_be_reported(start, tmp_path, arguments):
    run = start(*arguments, hang="two")
    kill(run)
    run.communicate(timeout=PATIENCE)
    assert not (tmp_path / "claims-report" / "report.html").exists()
    command = [sys.executable, "-m", "eosbench", "report", "claims-report/evidence.jsonl", "-o", "after"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    found, report = verdicts(tmp_path, "after")
    assert found["toy/two"] == "broken"
    assert {crash["nodeid"] for crash in report["crashes"]} == at_work(tmp_path) >= {HANGING}
    assert "killed" in done.stdout
