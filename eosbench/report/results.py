"""From the results file to what the report says: a pure function of `evidence.jsonl`."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from eosbench import verdict
from eosbench.claim import Severity
from eosbench.records import (
    SCHEMA,
    SEVERITIES,
    VERDICTS,
    CaseRecord,
    ClaimLine,
    CollectError,
    DocumentLine,
    EndLine,
    Line,
    Outcome,
    Planned,
    RecordError,
    RunLine,
    Started,
    parse_line,
)

_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"PK\x03\x04", b"\x28\xb5\x2f\xfd")
"""How files of gzip, bzip2, xz, zip and zstd begin."""


class ResultsError(Exception):
    """The results file cannot be read; the message is one sentence that names file and remedy."""


@dataclass(frozen=True)
class ClaimResult:
    """One claim, its cases and the verdict computed from them."""

    claim: ClaimLine
    cases: tuple[CaseRecord, ...]
    judgement: verdict.Judgement

    @property
    def id(self) -> str:
        return self.claim.id

    @property
    def topic(self) -> str:
        return self.claim.topic

    @property
    def uses(self) -> tuple[str, ...]:
        """The ids of the claims that it rests on, which a partial run may not have."""
        return tuple(dict.fromkeys(used for used in self.claim.uses if used != self.id))

    @property
    def verdict(self) -> verdict.Verdict:
        return self.judgement.verdict

    @property
    def drift(self) -> bool:
        return self.judgement.drift

    @property
    def severity(self) -> Severity | None:
        """How far the statement is off, where the verdict is the one that this was declared for."""
        return self.claim.severity if self.verdict == self.claim.expected else None

    @property
    def why(self) -> str | None:
        """Why it fails in the author's words, where the verdict is the one that these were written for."""
        return self.claim.why if self.verdict == self.claim.expected else None

    @property
    def seconds(self) -> float:
        """Wall time of all its cases and controls together."""
        return math.fsum(case.seconds for case in self.cases)

    @property
    def products(self) -> int:
        """Hessian-vector products of all its cases and controls together."""
        return sum(case.products for case in self.cases)

    def of_role(self, *roles: str) -> list[CaseRecord]:
        """Its cases of these roles: case, control, positive control, counterexample."""
        return [case for case in self.cases if case.role in roles]

    @property
    def satisfied(self) -> int:
        return sum(case.reading == "satisfied" for case in self.of_role("case"))

    @property
    def fired(self) -> tuple[int, int]:
        """How many controls fired, of how many."""
        return sum(fired for _, fired in self.judgement.controls), len(self.judgement.controls)

    def hypotheses(self) -> list[tuple[str, int, int]]:
        """Each hypothesis in the order recorded: its name, in how many cases it was met, of how many."""
        met: Counter[str] = Counter()
        asked: Counter[str] = Counter()
        for case in self.of_role("case", "counterexample"):
            for hypothesis in case.hypotheses:
                asked[hypothesis.name] += 1
                met[hypothesis.name] += hypothesis.met
        return [(name, met[name], n) for name, n in asked.items()]


@dataclass(frozen=True)
class Results:
    """A whole run. `run` and `end` are its first and last line, the claims and their cases are sorted by id.

    `documents` are by their keys; a file of an older version has none.
    """

    run: RunLine
    end: EndLine
    claims: tuple[ClaimResult, ...]
    collect_errors: tuple[CollectError, ...] = ()
    documents: Mapping[str, DocumentLine] = field(default_factory=dict)
    report: Path | None = field(default=None, compare=False)

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, machine and commit, as far as the file says."""
        return dict(self.run.environment)

    @property
    def outcome(self) -> str:
        """finished, interrupted, stopped early, or killed (the file just ends)."""
        return self.end.outcome

    @property
    def cases(self) -> Iterator[CaseRecord]:
        return (case for claim in self.claims for case in claim.cases)

    def with_status(self, status: str) -> list[CaseRecord]:
        return [case for case in self.cases if case.status == status]

    @property
    def machine(self) -> dict[str, str]:
        """What numbers were computed in and on: precision, device and backend, as far as the file says."""
        x64 = self.environment.get("x64")
        precision = "" if x64 is None else "float64" if x64 else "float32"
        told = {"precision": precision} | {key: self.environment.get(key) for key in ("device", "backend")}
        return {key: str(value) for key, value in told.items() if value}

    @property
    def subset(self) -> bool:
        """Whether only a part of what there is was asked for."""
        return bool(self.run.selection.get("subset")) or any(case.status == "deselected" for case in self.cases)

    @property
    def complete(self) -> bool:
        """Whether every planned case was selected and ended, in a run that came to its end."""
        unread = self.collect_errors or self.with_status("lost") or self.with_status("crashed")
        return self.outcome == "finished" and not self.subset and not unread

    @property
    def verdicts(self) -> dict[str, int]:
        """How many claims have each verdict, the settled ones first, those that occur only."""
        counts = Counter(claim.verdict for claim in self.claims)
        return {word: counts[word] for word in VERDICTS if counts[word]}

    @property
    def differing(self) -> dict[Severity | None, list[ClaimResult]]:
        """The claims that are corrected or refuted, by how far the statement is off, the news first.

        The severities that occur only; under None those of which none is known, as in files of older versions.
        """
        groups = {
            severity: [
                claim
                for claim in self.claims
                if claim.verdict in ("corrected", "refuted") and claim.severity == severity
            ]
            for severity in (*SEVERITIES, None)
        }
        return {severity: claims for severity, claims in groups.items() if claims}

    @property
    def severities(self) -> dict[Severity, int]:
        """How many statements are off by how much, the news first, those that occur only."""
        return {severity: len(claims) for severity, claims in self.differing.items() if severity is not None}

    @property
    def drifted(self) -> list[ClaimResult]:
        return [claim for claim in self.claims if claim.drift]

    @property
    def standing(self) -> dict[str, int]:
        """Every claim counted once: drifted, undecided for a stated reason, or as expected."""
        undecided = {"partial": "only in part", "not run": "not run", "out of scope": "out of scope"}
        counts = Counter(
            "drifted" if claim.drift else undecided.get(claim.verdict, "as expected") for claim in self.claims
        )
        order = ("as expected", "drifted", "only in part", "not run", "out of scope")
        return {word: counts[word] for word in order if counts[word]}

    @property
    def statuses(self) -> Counter[str]:
        """How many cases have each status."""
        return Counter(case.status for case in self.cases)

    @property
    def products(self) -> int:
        """Hessian-vector products of the run."""
        return sum(claim.products for claim in self.claims)

    @property
    def controls(self) -> tuple[int, int]:
        """How many controls fired, of how many."""
        return sum(claim.fired[0] for claim in self.claims), sum(claim.fired[1] for claim in self.claims)


def read(path: Path) -> Results:
    """Reads a results file, also one whose run was killed while it wrote its last line.

    Raises:
        ResultsError: there is no such file, it is of a newer schema, or a line is damaged in another way than the last
            one cut short.
    """
    run: RunLine | None = None
    end = EndLine(outcome="killed")
    documents: dict[str, DocumentLine] = {}
    claims: dict[str, ClaimLine] = {}
    planned: dict[str, Planned] = {}
    outcomes: dict[str, Outcome] = {}
    started: Counter[str] = Counter()
    collect_errors = []
    for line in _lines(path):
        match line:
            case RunLine():
                run = line
            case DocumentLine():
                documents[line.key] = line
            case ClaimLine():
                claims[line.id] = line
            case Planned():
                planned[line.nodeid] = line
            case Started():
                started[line.nodeid] += 1
                outcomes.pop(line.nodeid, None)  # it runs again, and the last attempt counts
            case Outcome():
                outcomes[line.nodeid] = line
            case CollectError():
                collect_errors.append(line)
            case EndLine():
                end = line
    if run is None:
        raise ResultsError(f"{path} has no run line, so it is no results file of eosbench.")

    cases: dict[str, list[CaseRecord]] = {claim: [] for claim in claims}
    for nodeid, plan in planned.items():
        if plan.claim not in cases:
            raise ResultsError(f"{path} plans {nodeid} for the claim {plan.claim}, which it does not describe.")
        outcome = outcomes.get(nodeid) or _fate(plan, end, started=nodeid in started)
        attempts = max(outcome.attempts, started[nodeid])
        cases[plan.claim].append(CaseRecord.of(plan, replace(outcome, attempts=attempts)))
    return Results(
        run,
        end,
        # The order of the file depends on which worker was faster, the order of the report must not.
        claims=tuple(
            ClaimResult(claims[name], tuple(cases[name]), verdict.judge(claims[name], cases[name]))
            for name in sorted(claims)
        ),
        collect_errors=tuple(collect_errors),
        documents=documents,
    )


def _lines(path: Path) -> Iterator[Line]:
    """The lines of the file that this version knows."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ResultsError(f"{path} cannot be read: {error.strerror}; name an evidence.jsonl.") from error
    if content.startswith(_COMPRESSED):
        raise ResultsError(f"{path} is compressed; unpack it and name the evidence.jsonl within.")
    # What a shell or an editor wrote again may begin with a mark of its encoding, or be in UTF-16.
    text = content.decode(json.detect_encoding(content), errors="replace")
    # Not splitlines(): that also splits at U+2028 and its like, which JSON allows within a string.
    lines = [line for line in text.split("\n") if line.strip()]
    for i, raw in enumerate(lines, start=1):
        try:
            line = parse_line(raw)
        except json.JSONDecodeError as error:
            if i == 1:
                raise ResultsError(f"{path} is no results file of eosbench; name an evidence.jsonl.") from error
            if i == len(lines):
                return
            raise ResultsError(f"{path}, line {i}, is damaged; only the last line may be cut short.") from error
        except RecordError as problem:
            raise ResultsError(f"{path}, line {i}, is damaged: {problem}.") from None
        if isinstance(line, RunLine) and line.schema != SCHEMA:
            raise ResultsError(
                f"{path} is of schema {line.schema}, and this eosbench reads {SCHEMA}; use the version that wrote it."
            )
        if line is not None:
            yield line


def _fate(plan: Planned, end: EndLine, *, started: bool) -> Outcome:
    """What became of a case that did not report."""
    # What -x leaves out is as good as deselected.
    if not plan.selected or end.outcome == "stopped early":
        return Outcome(nodeid=plan.nodeid, status="deselected")
    if started and end.outcome in ("interrupted", "killed"):
        return Outcome(nodeid=plan.nodeid, status="crashed", message="The run died while this case was running.")
    return Outcome(nodeid=plan.nodeid, status="lost", message="It was selected but never reported.")


def claims_of(cases: Sequence[CaseRecord]) -> tuple[str, ...]:
    """The ids of the claims that cases belong to, each once."""
    return tuple(dict.fromkeys(case.claim for case in cases))
