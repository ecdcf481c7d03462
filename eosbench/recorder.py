"""The results file `evidence.jsonl`: what is planned, then every case as it ends.

A run that is killed leaves what it had found, and can still be reported.
"""

import fcntl
import importlib.metadata
import os
import platform
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import eosbench
from eosbench import catalogue
from eosbench.claim import Case, Claim, ClaimError
from eosbench.strict_json import dumps, plain

SCHEMA = "eosbench-evidence/1"


class Plan:
    """The claims and cases that were collected, and which of them were selected to run."""

    def __init__(self) -> None:
        self.claims: dict[str, tuple[Claim, str]] = {}
        self._cases: dict[str, dict[str, Any]] = {}
        self._selected: set[str] = set()

    def add_claim(self, claim: Claim, file: str) -> None:
        """Enter a claim.

        Raises:
            ClaimError: if it could reach no verdict, or another claim has its id, or two documents have one key.
        """
        claim.validate()
        other, where = self.claims.get(claim.id, (claim, file))
        if other is not claim:
            raise claim.error(f"{where} states another claim with this id; rename one of them")
        for known, where in self.claims.values():
            mine, theirs = asdict(claim.source.document), asdict(known.source.document)
            differ = [name for name in mine if mine[name] != theirs[name]]
            if mine["key"] == theirs["key"] and differ:
                raise claim.error(f"{where} gives the document {mine['key']!r} another {differ[0]}; make the two agree")
        self.claims[claim.id] = (claim, file)

    def add_case(self, nodeid: str, check: str, claim: Claim, case: Case) -> None:
        """Enter a case under the id of its pytest item."""
        self._cases[nodeid] = {
            "type": "planned",
            "nodeid": nodeid,
            "claim": claim.id,
            "check": check,
            "case": case.label,
            "role": case.role,
            "params": plain(case.params),
        }

    def finish(self, items: Iterable[pytest.Item]) -> None:
        """Note which items are left after selection."""
        self._selected = {item.nodeid for item in items}

    def lines(self) -> list[dict[str, Any]]:
        """The plan as lines of the results file, the first with the device and precision of this process."""
        if not self.claims:
            return []
        claims = [_claim_line(claim, file) for claim, file in self.claims.values()]
        cases = [{**case, "selected": nodeid in self._selected} for nodeid, case in self._cases.items()]
        return [_numerics(), *claims, *cases]


def _numerics() -> dict[str, Any]:
    import jax

    return {
        "type": "numerics",
        "device": jax.devices()[0].device_kind,
        "backend": jax.default_backend(),
        "x64": jax.config.jax_enable_x64,  # type: ignore[attr-defined]
        "matmul precision": jax.config.jax_default_matmul_precision,  # type: ignore[attr-defined]
    }


def _claim_line(claim: Claim, file: str) -> dict[str, Any]:
    document = asdict(claim.source.document)
    return {
        "type": "claim",
        "id": claim.id,
        "topic": claim.topic,
        "source": {"document": document.pop("key"), **document, "place": claim.source.place},
        "printed": claim.printed,
        "corrected": claim.corrected,
        "expected": claim.expected,
        "experiment": claim.experiment,
        "uses": list(claim.uses),
        "out_of_scope": claim.out_of_scope,
        "file": file,
    }


class Recorder:
    """Writes the results file of one run, a line at a time.

    Of a subset of the claims it writes to `partial/` below the report's directory, so that a full report stays.
    """

    def __init__(self, config: pytest.Config, directory: Path, lines: list[dict[str, Any]]) -> None:
        numerics = {key: value for line in lines if line["type"] == "numerics" for key, value in line.items()}
        lines = [line for line in lines if line["type"] != "numerics"]
        self._cases = {line["nodeid"]: line for line in lines if line["type"] == "planned"}
        unplanned = _uncollected(config, lines)
        subset = bool(unplanned) or not all(case["selected"] for case in self._cases.values())
        self.path = (directory / "partial" if subset else directory) / "evidence.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("a", encoding="utf-8")
        self._outcomes: dict[str, dict[str, Any]] = {}  # of the cases that are not torn down yet
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until the file is closed, or this process is gone
        except BlockingIOError:
            pytest.exit(
                f"another run is writing {self.path}; wait for it, or report elsewhere with --claims-report DIR", 4
            )
        except OSError:
            pass  # a file system without locks
        _keep_finished(self.path)
        self._file.truncate(0)
        self._start = time.monotonic()
        self._restore_signal = _interrupt_on_sigterm()
        self._write(
            {
                "type": "run",
                "schema": SCHEMA,
                "selection": {"args": list(config.invocation_params.args), "subset": subset},
                "environment": _environment(config) | {k: v for k, v in numerics.items() if k != "type"},
            }
        )
        for line in lines + unplanned:
            self._write(line)

    def plans(self, nodeid: str) -> bool:
        """Whether an item is a case of a claim."""
        return nodeid in self._cases

    def started(self, nodeid: str) -> None:
        """A case starts: if nothing more is heard of it, this is the one that died."""
        if self.plans(nodeid):
            self._write({"type": "started", "nodeid": nodeid})

    def finished(self, report: pytest.TestReport, outcome: dict[str, Any] | None) -> dict[str, Any] | None:
        """A phase of an item ended. Returns the line written, if any; the last line of a case counts."""
        if not self.plans(report.nodeid):
            return None
        if outcome is not None and report.when == "call":
            self._outcomes[report.nodeid] = outcome
            return self._case(report, **outcome)
        before = self._outcomes.pop(report.nodeid, {}) if report.when == "teardown" else {}
        if report.when == "???":  # pytest-xdist says so of the item at which a worker died
            return self._case(report, status="crashed", message=f"the worker died ({report.longreprtext})")
        if report.failed:
            failure = f"{report.when} failed: {_last_line(report.longreprtext)}"
            return self._case(report, **{**before, "status": "error", "message": failure, "reading": None})
        if report.skipped and report.when == "setup":
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
            return self._case(report, status="skipped", message=reason.removeprefix("Skipped: "))
        return None

    def _case(self, report: pytest.TestReport, *, status: str, message: str, **outcome: Any) -> dict[str, Any]:
        rest = {"reading": None, "seconds": report.duration, "products": 0, "records": [], "series": []} | outcome
        worker = getattr(report, "worker_id", None)
        told = {"nodeid": report.nodeid, "status": status, "message": message, "worker": worker}
        line = {"type": "case", **told, **rest}
        self._write(line)
        return line

    def end(self, outcome: str) -> None:
        """The run ended: `finished`, `stopped early` by -x or its like, or `interrupted`."""
        self._write({"type": "end", "outcome": outcome, "seconds": time.monotonic() - self._start})

    def close(self) -> None:
        """Close the file, and let SIGTERM do what it did before."""
        self._file.close()
        self._restore_signal()

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(dumps(line) + "\n")
        self._file.flush()


def _keep_finished(path: Path) -> None:
    """Keep the evidence of the last run that came to its end beside that of the run which now begins."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        last = deque(lines, maxlen=1)
    if last and '"finished"' in last[0]:
        shutil.copyfile(path, path.with_name("previous.jsonl"))


def _uncollected(config: pytest.Config, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Claim lines of the claims that belong with the collected ones but were not asked for."""
    collected = {line["id"] for line in lines if line["type"] == "claim"}
    broken = {line["file"] for line in lines if line["type"] == "collect error"}
    folders = {catalogue.house(config.rootpath / line["file"]) for line in lines if line["type"] == "claim"}
    found = []
    for file in catalogue.claim_files(folders):
        name = file.relative_to(config.rootpath).as_posix() if file.is_relative_to(config.rootpath) else str(file)
        if name in broken:
            continue
        try:
            found += [_claim_line(claim, name) for claim in catalogue.read_claims(file) if claim.id not in collected]
        except ClaimError:
            continue  # not collected, so not for this run to complain of
    return found


def _environment(config: pytest.Config) -> dict[str, Any]:
    root = config.rootpath

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    status = git("status", "--porcelain")
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "eosbench": eosbench.__version__,
        **{name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "numpy", "scipy")},
        "commit": git("rev-parse", "HEAD"),
        "dirty": None if status is None else bool(status),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": cpus,
        "scale": config.getoption("--claims-scale"),
        "workers": int(config.getoption("numprocesses", None) or 0),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _interrupt_on_sigterm() -> Any:
    """Make SIGTERM end the run as Ctrl-C does, with a report. Returns what undoes it."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None

    def interrupt(signum: int, frame: Any) -> None:
        raise KeyboardInterrupt("SIGTERM")

    before = signal.signal(signal.SIGTERM, interrupt)
    return lambda: signal.signal(signal.SIGTERM, before)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]
