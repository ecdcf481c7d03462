"""On the workers of a Dask cluster a run finds what a serial run finds, and loses nothing that was heard."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

pytest.importorskip("distributed", reason='a cluster needs distributed: pip install "eosbench[dask]"')

import jax
import psutil

from eosbench.pytest_plugin.cluster import experiment, sameness

# Two workers, each a process that is started anew when it dies.
CLUSTER = """
import sys
from distributed import LocalCluster

if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""

HEAD = """
import os, time
from pathlib import Path
from eosbench import Claim, Document, Source

talk = Document("talk", "A talk")

def begin(name, x):
    with open("begun", "a") as file:
        file.write(f"{name} {x}\\n")
    if x == 2 and Path("hang").exists() and Path("hang").read_text() == name:
        Path("hanging").write_text(str(os.getpid()))
        time.sleep(3600)  # longer than anybody waits for it: it ends by being killed
"""

CLAIM = """
{name} = Claim("toy/{name}", source=Source(talk, "slide 1"), printed="$x > 0$", expected="holds")

@{name}.check(x=[1.0, 2.0], controls={{"sign": dict(x=-1.0)}})
def test_{name}(evidence, x):
    begin("{name}", x)
    evidence.at_least("x", x, 0.5)
    evidence.series("line", [0.0, float("inf")], [0.0, x], axes=("t", "x"))
"""

NAMES = ("one", "two", "three")
HANGING = "claims/test_toy.py::test_two[x=2]"

# Seconds after which a run counts as hung. Each process of an experiment imports JAX, in seconds on an idle core.
PATIENCE = 300

# Whoever runs this in the background may have SIGINT ignored, which a child inherits.
EOSBENCH = """
import signal
from eosbench.__main__ import main
signal.signal(signal.SIGINT, signal.SIG_DFL)
main()
"""

# On the controller alone: when the results file is open, Dask's thread waits, so that what is told afterwards has been
# told to the scheduler and not to the controller when the signal comes.
HELD = """
import time
from pathlib import Path

def pytest_configure(config):
    if not config.getoption("--claims-dask"):
        return
    from eosbench.pytest_plugin.cluster.controller import _Run

    def on_event(run, event, heard=_Run._on_event):
        while Path("claims-report/evidence.jsonl").exists() and not Path("go").exists():
            time.sleep(0.02)
        heard(run, event)

    def hear_the_last(run, really=_Run._hear_the_last):
        Path("interrupted").touch()
        really(run)

    _Run._on_event, _Run._hear_the_last = on_event, hear_the_last

def pytest_sessionfinish(session):
    if not session.config.getoption("--claims-dask"):
        Path("ended-" + session.items[0].name.partition("[")[0]).touch()
"""

# Another version, as the processes of experiments have it, or as the controller.
OTHER = """
import sys, eosbench
from pathlib import Path

controls = any("--claims-dask" in argument for argument in sys.argv)
if controls == {controller}:
    eosbench.__version__ = "9.9"
if not controls:
    Path("process").touch()
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The address of a scheduler with two workers."""
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "cluster.py").write_text(CLUSTER)
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "cluster.py"],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            start_new_session=True,
        )
    address = process.stdout.readline().strip()
    assert address, (folder / "output").read_text()
    yield address
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=PATIENCE)  # the end of its input ends it
    kill(process)


@pytest.fixture
def start(cluster, tmp_path):
    """Starts a run of three claims on the cluster, of which one hangs in its second case if it is told to."""
    runs = []

    def started(*arguments, hang="", conftest=""):
        write(tmp_path, conftest)
        (tmp_path / "hang").write_text(hang)
        runs.append(
            subprocess.Popen(
                [sys.executable, "-c", EOSBENCH, "run", "--dask", cluster, *arguments],
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        )
        return runs[-1]

    yield started
    for run in runs:
        kill(run)
        run.wait()
        run.stdout.close()


def write(folder, conftest=""):
    (folder / "claims").mkdir()
    (folder / "claims" / "test_toy.py").write_text(HEAD + "".join(CLAIM.format(name=name) for name in NAMES))
    (folder / "claims" / "test_plain.py").write_text("def test_of_no_claim():\n    pass\n")
    (folder / "claims" / "conftest.py").write_text(conftest)
    (folder / "pytest.ini").write_text("[pytest]\nstrict = true\naddopts = -p no:cacheprovider\n")


def kill(run):
    """Kill a run with what it started, if there is anything left of it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGKILL)


def wait_for(run, what):
    """Until it is so; not if the run ends before."""
    bound = time.monotonic() + PATIENCE
    while not what():
        if run.poll() is not None or time.monotonic() > bound:
            kill(run)
            pytest.fail(f"it did not come to that; the run said: {run.communicate()[0]}")
        time.sleep(0.05)


def hanging(folder):
    """The process of the case that hangs."""
    file = folder / "hanging"
    return int(file.read_text() or 0) if file.exists() else 0


def wait_until_gone(pid):
    """Until a process is no more; whoever is to reap it may leave it as a zombie."""
    bound = time.monotonic() + PATIENCE
    with contextlib.suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < bound, f"the process {pid} of a case is still there"
            time.sleep(0.05)


def begun(folder):
    """How many times each case began."""
    return Counter((folder / "begun").read_text().split("\n")[:-1])


def lines(folder, directory="claims-report"):
    return [json.loads(line) for line in (folder / directory / "evidence.jsonl").read_text().splitlines()]


def cases(folder, directory="claims-report"):
    """The line of each case, without what no two runs share."""
    found = {line["nodeid"]: line for line in lines(folder, directory) if line["type"] == "case"}
    return {nodeid: line | {"seconds": None, "worker": None} for nodeid, line in found.items()}


def verdicts(folder):
    report = json.loads((folder / "claims-report" / "claims.json").read_text())
    assert (folder / "claims-report" / "report.html").stat().st_size > 1000
    return {entry["id"]: entry["verdict"] for entry in report["claims"]}, report


def test_the_evidence_is_that_of_a_serial_run(start, tmp_path):
    run = start()
    output = run.communicate(timeout=PATIENCE)[0]
    assert run.returncode == 0, output
    assert "10 passed" in output
    assert verdicts(tmp_path)[0] == {"toy/one": "holds", "toy/two": "holds", "toy/three": "holds"}
    serial = [sys.executable, "-m", "pytest", "claims", "--claims-report=serial", "-q"]
    assert "10 passed" in subprocess.run(serial, cwd=tmp_path, capture_output=True, text=True).stdout
    assert cases(tmp_path) == cases(tmp_path, "serial")
    assert len(cases(tmp_path)) == 9
    assert set(begun(tmp_path).values()) == {2}
    here, there = (lines(tmp_path, directory)[0]["environment"] for directory in ("claims-report", "serial"))
    assert here | {"workers": 0, "started": ""} == there | {"started": ""}
    assert here["workers"] == 2


@pytest.mark.parametrize("dies", ["worker", "process"])
def test_what_dies_takes_one_case_along_which_is_named(start, tmp_path, dies):
    run = start(hang="two")
    wait_for(run, lambda: hanging(tmp_path))
    process = psutil.Process(hanging(tmp_path))
    (tmp_path / "hang").unlink()  # nothing would hang if the case were run again
    (process.parent() if dies == "worker" else process).kill()
    output = run.communicate(timeout=PATIENCE)[0]
    assert run.returncode == pytest.ExitCode.TESTS_FAILED, output
    found, report = verdicts(tmp_path)
    assert found == {"toy/one": "holds", "toy/two": "broken", "toy/three": "holds"}, output
    assert report["coverage"]["cases"] == {"planned": 9, "completed": 8, "crashed": 1}
    assert [crash["nodeid"] for crash in report["crashes"]] == [HANGING]
    assert ("was lost" if dies == "worker" else "ended with SIGKILL") in output
    assert set(begun(tmp_path).values()) == {1}
    assert len(begun(tmp_path)) == 9
    wait_until_gone(process.pid)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_an_interrupted_run_has_all_that_the_scheduler_heard(start, tmp_path, sent):
    run = start(hang="two", conftest=HELD)
    ended = [tmp_path / f"ended-test_{name}" for name in ("one", "three")]
    wait_for(run, lambda: hanging(tmp_path) and all(file.exists() for file in ended))
    wait_for(run, (tmp_path / "claims-report" / "evidence.jsonl").exists)
    known = len(cases(tmp_path))
    run.send_signal(sent)
    wait_for(run, (tmp_path / "interrupted").exists)
    (tmp_path / "go").touch()
    output = run.communicate(timeout=PATIENCE)[0]
    assert run.returncode == pytest.ExitCode.INTERRUPTED, output
    found, report = verdicts(tmp_path)
    assert found == {"toy/one": "holds", "toy/two": "broken", "toy/three": "holds"}, output
    assert known < 7 == len(cases(tmp_path))
    assert [crash["nodeid"] for crash in report["crashes"]] == [HANGING]
    assert report["coverage"]["cases"] == {"planned": 9, "completed": 7, "crashed": 1, "lost": 1}
    assert lines(tmp_path)[-1]["outcome"] == "interrupted"
    wait_until_gone(hanging(tmp_path))


def test_a_case_ends_with_the_run_that_wanted_it(start, tmp_path):
    run = start("toy/two", hang="two")
    wait_for(run, lambda: hanging(tmp_path))
    run.kill()
    wait_until_gone(hanging(tmp_path))


@pytest.mark.parametrize(("controller", "told"), [(True, "in place of 9.9"), (False, "eosbench 9.9")])
def test_a_worker_that_is_not_as_the_controller_is_refused_before_the_first_case(start, tmp_path, controller, told):
    """Also one whose processes show it only then, as those of a worker that came later."""
    run = start(conftest=OTHER.format(controller=controller))
    output = run.communicate(timeout=PATIENCE)[0]
    assert run.returncode == 2, output
    assert output.count("is not as the rest of this run: it has eosbench") == 1
    assert told in output
    assert (tmp_path / "process").exists() != controller
    assert not (tmp_path / "begun").exists()
    assert not (tmp_path / "claims-report" / "evidence.jsonl").exists()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nowhere", "http://host:1"])
def test_an_address_where_no_scheduler_is_is_refused_in_a_sentence(address, tmp_path):
    write(tmp_path)
    command = [sys.executable, "-m", "eosbench", "run", "--dask", address]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert (done.stdout + done.stderr).count(f"no Dask scheduler answers at '{address}'") == 1
    assert "Traceback" not in done.stdout + done.stderr


def test_the_facts_of_a_process_tell_versions_and_texts(tmp_path):
    (tmp_path / "here.py").write_text("x = 1\n")
    files = [str(tmp_path / name) for name in ("here.py", "nowhere.py")]
    found = sameness.facts(files)
    assert found.versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found.versions["distributed"] == sys.modules["distributed"].__version__
    assert len(found.texts["eosbench/claim.py"]) == 64
    assert found.texts[files[1]] == "none"
    with pytest.raises(RuntimeError, match="No such file or directory: /nowhere"):
        asyncio.run(experiment.facts_there("/nowhere", files))
    assert found.device["device"] == jax.devices()[0].device_kind
    there = sameness.Facts(*json.loads(json.dumps(found)))
    assert sameness.difference(found, there, "the worker") is None
    assert sameness.difference(sameness.facts(files, computes=False), there, "the worker") is None


@pytest.mark.parametrize(
    ("versions", "texts", "device", "told"),
    [
        ({"jax": "0.1"}, {}, {}, "jax 0.1 in place of 0.2"),
        ({"jax": "none"}, {"a.py": "2"}, {}, "jax none in place of 0.2, another text of a.py"),
        ({}, {"a.py": "none"}, {}, "no a.py"),
        ({}, {"c.py": "1"}, {}, "another text of c.py"),
        ({}, {}, {"device": "cpu"}, "device cpu in place of H100"),
        ({"jax": "0.1", "python": "3.1"}, {"a.py": "2", "b.py": "2"}, {}, "another text of a.py and 1 more"),
    ],
)
def test_a_difference_is_one_sentence(versions, texts, device, told):
    wanted = sameness.Facts({"python": "3.11.7", "jax": "0.2"}, {"a.py": "1", "b.py": "1"}, {"device": "H100"}, {})
    found = sameness.Facts(wanted.versions | versions, wanted.texts | texts, wanted.device | device, {"cpus": 8})
    sentence = sameness.difference(wanted, found, "tcp://host:1")
    assert sentence.startswith("tcp://host:1 is not as the rest of this run: it has ")
    assert f"{told}; make it the same there" in sentence
