"""The results file `evidence.jsonl`: what is planned, then every case as it ends.

A run that is killed leaves what it had found, and can still be reported.
"""

import fcntl
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import eosbench
from eosbench import catalogue
from eosbench.claim import Case, Claim, ClaimError
from eosbench.pytest_plugin.kept import Kept, digest, name_of
from eosbench.records import (
    SCHEMA,
    ClaimLine,
    CollectError,
    Comparison,
    DocumentLine,
    EndLine,
    Line,
    Outcome,
    Planned,
    Record,
    RunLine,
    Started,
    claim_line,
    document_line,
    dump_line,
    parse_line,
)
from eosbench.strict_json import dumps, plain


class Plan:
    """The claims and cases that were collected, which of them were selected to run, and in what numbers.

    Attributes:
        documents: a line for each document that a claim cites, by its key.
        claims: a line for each claim.
        cases: a line for each case.
        numerics: device and precision of the process that collected.
    """

    def __init__(self) -> None:
        self.numerics: dict[str, Any] = {}
        self.documents: dict[str, DocumentLine] = {}
        self._claims: dict[str, tuple[Claim, str]] = {}
        self._lines: dict[str, ClaimLine] = {}
        self._cases: dict[str, Planned] = {}

    @property
    def claims(self) -> list[ClaimLine]:
        return list(self._lines.values())

    @property
    def cases(self) -> list[Planned]:
        return list(self._cases.values())

    @property
    def empty(self) -> bool:
        """Whether no claim was collected."""
        return not self._lines

    def add_claim(self, claim: Claim, file: str) -> None:
        """Enter a claim.

        Raises:
            ClaimError: if it could reach no verdict, or another claim has its id, or two documents have one key.
        """
        claim.validate()
        other, where = self._claims.get(claim.id, (claim, file))
        if other is not claim:
            raise claim.error(f"{where} states another claim with this id; rename one of them")
        document = claim.source.document
        for known, where in self._claims.values():
            theirs = known.source.document
            if theirs.key == document.key and theirs != document:
                differ = next(f.name for f in fields(document) if getattr(document, f.name) != getattr(theirs, f.name))
                raise claim.error(
                    f"{where} gives the document {document.key!r} another {differ}; describe it once, in "
                    "documents.toml, and give both claims its key in place of a Document"
                )
        self._claims[claim.id] = (claim, file)
        self._lines[claim.id] = claim_line(claim, file)
        self.documents[document.key] = document_line(document)

    def add_case(self, nodeid: str, check: str, claim: Claim, case: Case, proves: bool = False) -> None:
        """Enter a case under the id of its pytest item."""
        self._cases[nodeid] = Planned(
            nodeid=nodeid,
            claim=claim.id,
            check=check,
            case=case.label,
            role=case.role,
            params=plain(case.params),
            selected=False,
            proves=proves,
        )

    def finish(self, items: Iterable[pytest.Item]) -> None:
        """Note which items are left after selection, and what numbers are computed in."""
        selected = {item.nodeid for item in items}
        self._cases = {nodeid: replace(case, selected=nodeid in selected) for nodeid, case in self._cases.items()}
        if not self.empty:
            self.numerics = _numerics()

    def dumps(self) -> str:
        """The plan as text, for another process."""
        lines: list[Line] = [*self.documents.values(), *self.claims, *self.cases]
        return "\n".join([dumps(self.numerics), *map(dump_line, lines)])

    @classmethod
    def loads(cls, text: str) -> "Plan":
        """The plan that was written so."""
        plan = cls()
        numerics, *lines = text.split("\n")
        plan.numerics = json.loads(numerics)
        for line in map(parse_line, lines):
            match line:
                case DocumentLine():
                    plan.documents[line.key] = line
                case ClaimLine():
                    plan._lines[line.id] = line
                case Planned():
                    plan._cases[line.nodeid] = line
        return plan


def _numerics() -> dict[str, Any]:
    import jax

    return {
        **device(),
        "x64": jax.config.jax_enable_x64,  # type: ignore[attr-defined]
        "matmul precision": jax.config.jax_default_matmul_precision,  # type: ignore[attr-defined]
    }


class Recorder:
    """Writes the results file of one run, a line at a time.

    Of a subset of the claims it writes to `partial/` below the report's directory, so that a full report stays.
    """

    def __init__(
        self,
        config: pytest.Config,
        directory: Path,
        plan: Plan,
        collect_errors: Sequence[CollectError],
        kept: Kept,
    ) -> None:
        self._planned = {case.nodeid for case in plan.cases}
        beside = _uncollected(config, plan, collect_errors, kept)
        subset = bool(beside) or not all(case.selected for case in plan.cases)
        self.path = (directory / "partial" if subset else directory) / "evidence.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("a", encoding="utf-8")
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
        shutil.rmtree(self.path.parent / "certificates", ignore_errors=True)  # of a run before
        self._start = time.monotonic()
        self._restore_signal = _interrupt_on_sigterm()
        self._write(
            RunLine(
                schema=SCHEMA,
                selection={"args": list(config.invocation_params.args), "subset": subset},
                environment=_environment(config) | plan.numerics,
            )
        )
        documents = {claim.source.document.key: document_line(claim.source.document) for claim, _ in beside}
        # Of a part nothing is kept for a run after it, so that nobody would read its digests.
        files = set() if subset else {claim.file for claim in plan.claims}
        reached = {name: digest(config.rootpath / name, config) for name in files}
        lines: list[Line] = [
            *(documents | kept.documents | plan.documents).values(),
            *(replace(claim, reach=reached.get(claim.file)) for claim in plan.claims),
            *plan.cases,
            *collect_errors,
            *(claim_line(claim, file) for claim, file in beside),
            *kept.lines(ClaimLine, Planned, Outcome),
        ]
        for place, content in kept.certificates.items():
            self._write_certificate(place, content)
        for line in lines:
            self._write(line)

    def plans(self, nodeid: str) -> bool:
        """Whether an item is a case of a claim."""
        return nodeid in self._planned

    def started(self, nodeid: str) -> None:
        """A case starts: if nothing more is heard of it, this is the one that died."""
        if self.plans(nodeid):
            self._write(Started(nodeid=nodeid))

    def finished(self, report: pytest.TestReport, outcome: Outcome | None) -> Outcome | None:
        """A phase of an item ended. Returns the line written, if any; the last line of a case counts."""
        if not self.plans(report.nodeid):
            return None
        if report.when == "???":  # pytest-xdist says so of the item at which a worker died
            outcome = Outcome(
                nodeid=report.nodeid,
                status="crashed",
                message=f"the worker died ({report.longreprtext})",
                seconds=report.duration,
            )
        if outcome is None:
            return None
        line = replace(outcome, worker=getattr(report, "worker_id", None), records=[*map(self._kept, outcome.records)])
        self._write(line)
        return line

    def _kept(self, record: Record) -> Record:
        """A record as the results file has it: a certificate goes to a file of its own beside it."""
        if not isinstance(record, Comparison) or record.certificate is None or record.certificate.content is None:
            return record
        self._write_certificate(record.certificate.file, record.certificate.content)
        return replace(record, certificate=replace(record.certificate, content=None))

    def _write_certificate(self, place: str, content: str) -> None:
        path = self.path.parent / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")

    def end(self, outcome: str) -> None:
        """The run ended: `finished`, `stopped early` by -x or its like, or `interrupted`."""
        self._write(EndLine(outcome=outcome, seconds=time.monotonic() - self._start))

    def close(self) -> None:
        """Close the file, and let SIGTERM do what it did before."""
        self._file.close()
        self._restore_signal()

    def _write(self, line: Line) -> None:
        self._file.write(dump_line(line) + "\n")
        self._file.flush()


def _keep_finished(path: Path) -> None:
    """Keep the evidence of the last run that came to its end beside that of the run which now begins."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        last = deque(lines, maxlen=1)
    if last and '"finished"' in last[0]:
        shutil.copyfile(path, path.with_name("previous.jsonl"))


def _uncollected(
    config: pytest.Config, plan: Plan, collect_errors: Sequence[CollectError], kept: Kept
) -> list[tuple[Claim, str]]:
    """The claims that belong with the collected ones but were not asked for, and their files."""
    collected = {claim.id for claim in plan.claims}
    broken = {error.file for error in collect_errors}
    folders = {
        catalogue.house(config.rootpath / file) for file in {claim.file for claim in plan.claims} | set(kept.files)
    }
    beside = []
    for file in catalogue.claim_files(folders):
        name = name_of(file, config.rootpath)
        if name in broken or name in kept.files:
            continue
        try:
            beside += [(claim, name) for claim in catalogue.read_claims(file) if claim.id not in collected]
        except ClaimError:
            continue  # not collected, so not for this run to complain of
    return beside


def _environment(config: pytest.Config) -> dict[str, Any]:
    root = config.rootpath

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    status = git("status", "--porcelain")
    return {
        "eosbench": eosbench.__version__,
        **{name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "numpy", "scipy")},
        "commit": git("rev-parse", "HEAD"),
        "dirty": None if status is None else bool(status),
        "python": platform.python_version(),
        **machine(),
        "scale": config.getoption("--claims-scale"),
        "workers": int(config.getoption("numprocesses", None) or 0),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def device() -> dict[str, str]:
    """The device on which JAX computes in this process."""
    import jax

    return {"device": jax.devices()[0].device_kind, "backend": jax.default_backend()}


def machine() -> dict[str, Any]:
    """The machine that this process runs on, and how many of its cores it may use."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"platform": platform.platform(), "cpus": cpus}


def _interrupt_on_sigterm() -> Any:
    """Make SIGTERM end the run as Ctrl-C does, with a report. Returns what undoes it."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None

    def interrupt(signum: int, frame: Any) -> None:
        on_ctrl_c = signal.getsignal(signal.SIGINT)
        if callable(on_ctrl_c) and on_ctrl_c is not signal.default_int_handler:
            on_ctrl_c(signum, frame)  # a run on a cluster hears signals between two messages
        else:
            raise KeyboardInterrupt("SIGTERM")

    before = signal.signal(signal.SIGTERM, interrupt)
    return lambda: signal.signal(signal.SIGTERM, before)


def last_line(text: str) -> str:
    """The last line of pytest's account of a failure, which says most."""
    return (text.strip().splitlines() or ["no message"])[-1]
