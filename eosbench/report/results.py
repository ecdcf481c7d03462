"""From the results file to what the report says. Everything here is a pure function of `evidence.jsonl`."""

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from eosbench import verdict
from eosbench.report.notation import SYMBOLS, number, plural
from eosbench.strict_json import plain

EVIDENCE_SCHEMA = "eosbench-evidence/1"
CLAIMS_SCHEMA = "eosbench-claims/1"

Case = dict[str, Any]
"""A planned case: its `planned` line merged with its `case` line; every key of both is always there."""

_UNFINISHED: Case = {
    "params": {},
    "selected": True,
    "reading": None,
    "message": "",
    "seconds": 0.0,
    "products": 0,
    "worker": None,
    "records": [],
    "series": [],
}
_UNKNOWN = {"authors": "", "year": None, "url": "", "version": ""}
"""What older files lack of a source."""

_KINDS: dict[str, dict[str, Any]] = {
    "run": {"selection": dict, "environment": dict},
    "claim": {
        **dict.fromkeys(("id", "topic", "printed", "expected", "experiment", "file"), str),
        **dict.fromkeys(("corrected", "out_of_scope"), str | None),
        "source": dict,
        "uses": list,
    },
    "planned": dict.fromkeys(("nodeid", "claim", "check", "case", "role"), str),
    "started": {"nodeid": str},
    "case": {
        **dict.fromkeys(("nodeid", "status", "message"), str),
        "reading": str | None,
        "products": int,
        "records": list,
        "series": list,
    },
    "collect error": {"file": str, "message": str},
    "end": {"outcome": str, "seconds": float | int | None},
}
"""What a line of each type holds. Later versions may write lines of other types."""
_SOURCE = dict.fromkeys(("document", "title", "place"), str)
_REQUIRES = {"name": str, "met": bool}
_COMPARISON = dict.fromkeys(("name", "kind", "reading"), str)
_READINGS = ("satisfied", "violated", "indeterminate")
_NUMBERS = ("measured", "predicted", "tolerance", "margin", "uncertainty", "slack")
_LATER: dict[str, Any] = {"selection": {}, "environment": {}, "uses": []}
"""What older files lack of a line."""


class ResultsError(Exception):
    """The results file cannot be read; the message is one sentence that names file and remedy."""


@dataclass(frozen=True)
class ClaimResult:
    """One claim, its cases and the verdict computed from them."""

    claim: dict[str, Any]
    cases: tuple[Case, ...]
    judgement: verdict.Judgement

    @property
    def id(self) -> str:
        return str(self.claim["id"])

    @property
    def topic(self) -> str:
        return str(self.claim["topic"])

    @property
    def uses(self) -> tuple[str, ...]:
        """The ids of the claims that it rests on, which a partial run may not have."""
        return tuple(dict.fromkeys(used for used in self.claim["uses"] if used != self.id))

    @property
    def verdict(self) -> str:
        return self.judgement.verdict

    @property
    def drift(self) -> bool:
        return self.judgement.drift

    @property
    def seconds(self) -> float:
        """Wall time of all its cases and controls together."""
        return math.fsum(number(case["seconds"]) for case in self.cases)

    @property
    def products(self) -> int:
        """Hessian-vector products of all its cases and controls together."""
        return sum(int(case["products"]) for case in self.cases)

    def of_role(self, *roles: str) -> list[Case]:
        """Its cases of these roles: case, control, positive control, counterexample."""
        return [case for case in self.cases if case["role"] in roles]

    @property
    def satisfied(self) -> int:
        return sum(case["reading"] == "satisfied" for case in self.of_role("case"))

    @property
    def fired(self) -> tuple[int, int]:
        """How many controls fired, of how many."""
        return sum(bool(fired) for _, fired in self.judgement.controls), len(self.judgement.controls)

    def hypotheses(self) -> list[tuple[str, int, int]]:
        """Each hypothesis in the order recorded: its name, in how many cases it was met, of how many."""
        met: Counter[str] = Counter()
        asked: Counter[str] = Counter()
        for case in self.of_role("case", "counterexample"):
            for record in case["records"]:
                if record.get("kind") == "requires":
                    asked[record["name"]] += 1
                    met[record["name"]] += bool(record["met"])
        return [(name, met[name], n) for name, n in asked.items()]


@dataclass(frozen=True)
class Notice:
    """Something a reader must know before the verdicts: a run that is not whole, a drift, a crash."""

    kind: str
    sentence: str
    claims: tuple[str, ...] = ()
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Results:
    """A whole run. `outcome` is finished, interrupted, stopped early, or killed (the file just ends)."""

    selection: dict[str, Any]
    environment: dict[str, Any]
    outcome: str
    seconds: float | None
    claims: tuple[ClaimResult, ...]
    collect_errors: tuple[dict[str, Any], ...] = ()
    report: Path | None = field(default=None, compare=False)

    @property
    def cases(self) -> Iterator[Case]:
        return (case for claim in self.claims for case in claim.cases)

    def with_status(self, status: str) -> list[Case]:
        return [case for case in self.cases if case["status"] == status]

    @property
    def machine(self) -> dict[str, str]:
        """What numbers were computed in and on: precision, device and backend, as far as the file says."""
        x64 = self.environment.get("x64")
        precision = "" if x64 is None else "float64" if x64 else "float32"
        found = {"precision": precision} | {key: self.environment.get(key) for key in ("device", "backend")}
        return {key: str(value) for key, value in found.items() if value}

    @property
    def subset(self) -> bool:
        """Whether only a part of what there is was asked for."""
        return bool(self.selection.get("subset")) or any(case["status"] == "deselected" for case in self.cases)

    @property
    def complete(self) -> bool:
        """Whether every planned case was selected and ended, in a run that came to its end."""
        unread = self.collect_errors or self.with_status("lost") or self.with_status("crashed")
        return self.outcome == "finished" and not self.subset and not unread

    @property
    def verdicts(self) -> dict[str, int]:
        """How many claims have each verdict, the settled ones first, those that occur only."""
        found = Counter(claim.verdict for claim in self.claims)
        return {word: found[word] for word in SYMBOLS if found[word]}

    @property
    def drifted(self) -> list[ClaimResult]:
        return [claim for claim in self.claims if claim.drift]

    @property
    def standing(self) -> dict[str, int]:
        """Every claim counted once: drifted, undecided for a stated reason, or as expected."""
        found: Counter[str] = Counter()
        for claim in self.claims:
            undecided = {"partial": "only in part", "not run": "not run", "out of scope": "out of scope"}
            found["drifted" if claim.drift else undecided.get(claim.verdict, "as expected")] += 1
        order = ("as expected", "drifted", "only in part", "not run", "out of scope")
        return {word: found[word] for word in order if found[word]}

    @property
    def coverage(self) -> dict[str, Any]:
        statuses = Counter(case["status"] for case in self.cases)
        controls = [fired for claim in self.claims for _, fired in claim.judgement.controls]
        return {
            "claims": len(self.claims),
            "standing": self.standing,
            "verdicts": self.verdicts,
            "cases": {"planned": statuses.total(), **{status: statuses[status] for status in sorted(statuses)}},
            "controls": {"planned": len(controls), "fired": sum(map(bool, controls))},
            "products": sum(claim.products for claim in self.claims),
            "collect_errors": [dict(error) for error in self.collect_errors],
        }

    @property
    def headline(self) -> str:
        """The result in one sentence."""
        if not self.claims:
            return "No claim was collected."
        standing = self.standing
        if set(standing) == {"as expected"}:
            return (
                f"All {len(self.claims)} claims came out as expected."
                if len(self.claims) > 1
                else ("The one claim came out as expected.")
            )
        drifted = standing.pop("drifted", 0)
        expected = standing.pop("as expected", 0)
        parts = [f"{expected} came out as expected"] if expected else []
        if drifted:
            parts.append(f"{drifted} drifted from expectation")
        parts += [
            f"{n} {'was' if n == 1 else 'were'} {word}" if word != "only in part" else f"{n} ran only in part"
            for word, n in standing.items()
        ]
        listed = ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]
        return f"Of {plural(len(self.claims), 'claim')}, {listed}."

    @property
    def notices(self) -> list[Notice]:
        """What a reader must know first, the gravest first."""
        found = []
        if self.drifted:
            n = len(self.drifted)
            found.append(
                Notice(
                    "drift",
                    f"{plural(n, 'claim')} did not reach the expected verdict.",
                    tuple(claim.id for claim in self.drifted),
                )
            )
        if self.collect_errors:
            found.append(
                Notice(
                    "collect error",
                    f"{plural(len(self.collect_errors), 'file')} could not be collected; their claims are missing.",
                    details=tuple(f"{error['file']}: {error['message']}" for error in self.collect_errors),
                )
            )
        if crashed := self.with_status("crashed"):
            found.append(
                Notice(
                    "crash",
                    f"{plural(len(crashed), 'case')} died in mid-run.",
                    _claims_of(crashed),
                    tuple(_told(case) for case in crashed),
                )
            )
        if lost := self.with_status("lost"):
            found.append(
                Notice(
                    "lost",
                    f"{plural(len(lost), 'case')} {'was' if len(lost) == 1 else 'were'} selected but never reported.",
                    _claims_of(lost),
                    tuple(_told(case) for case in lost),
                )
            )
        endings = {
            "interrupted": "The run was interrupted.",
            "stopped early": "The run stopped early, as asked (-x or --maxfail).",
            "killed": "The run was killed: its results file has no end.",
        }
        if self.outcome != "finished":
            found.append(Notice("unfinished", endings.get(self.outcome, f"The run ended as: {self.outcome}.")))
        if self.subset:
            planned = list(self.cases)
            selected = sum(case["status"] != "deselected" for case in planned)
            asked = " ".join(map(str, self.selection.get("args", ())))
            found.append(
                Notice(
                    "partial",
                    f"A partial run: {selected} of {plural(len(planned), 'planned case')} selected"
                    + (f" (pytest {asked})." if asked else "."),
                )
            )
        if self.environment.get("scale", "small") != "small":
            found.append(
                Notice("scale", f"Experiments that have two sizes ran at that of the {self.environment['scale']}.")
            )
        if self.environment.get("dirty"):
            commit = self.environment.get("commit")
            on_top = f" on top of commit {str(commit)[:12]}" if commit else ""
            found.append(Notice("dirty", f"The working tree had uncommitted changes{on_top}."))
        return found

    def to_json(self) -> dict[str, Any]:
        """The content of `claims.json`: strict JSON, non-finite numbers written as "nan", "inf", "-inf"."""
        document = {
            "schema": CLAIMS_SCHEMA,
            "complete": self.complete,
            "outcome": self.outcome,
            "selection": self.selection,
            "environment": self.environment,
            "coverage": self.coverage,
            "claims": [_claim_json(claim) for claim in self.claims],
            # Curves are for the figures; whoever needs them reads evidence.jsonl.
            "cases": [{key: value for key, value in case.items() if key != "series"} for case in self.cases],
            "crashes": [
                {key: case[key] for key in ("nodeid", "claim", "case", "worker", "message")}
                for case in self.with_status("crashed")
            ],
        }
        return dict(plain(document))


def read(path: Path) -> Results:
    """Reads a results file, also one whose run was killed while it wrote its last line.

    Raises:
        ResultsError: there is no such file, it is of a newer schema, or a line is damaged in another way than the last
            one cut short.
    """
    run: dict[str, Any] | None = None
    end: dict[str, Any] = {"outcome": "killed", "seconds": None}
    claims: dict[str, dict[str, Any]] = {}
    planned: dict[str, Case] = {}
    finished: dict[str, Case] = {}
    started: set[str] = set()
    collect_errors = []
    for i, line in _lines(path):
        if damaged := next(_damaged(_UNFINISHED | _LATER | line), None):
            raise ResultsError(f"{path}, line {i}, is damaged: {damaged!r} is missing or of another kind.")
        match line["type"]:
            case "run":
                run = line
            case "claim":
                claims[line["id"]] = {"uses": [], **line, "source": _UNKNOWN | line["source"]}
            case "planned":
                planned[line["nodeid"]] = line
            case "started":
                started.add(line["nodeid"])
            case "case":
                finished[line["nodeid"]] = line
            case "collect error":
                collect_errors.append({"file": line["file"], "message": line["message"]})
            case "end":
                end = line
    if run is None:
        raise ResultsError(f"{path} has no run line, so it is no results file of eosbench.")

    aborted = end["outcome"] in ("interrupted", "killed")
    cases: dict[str, list[Case]] = {claim: [] for claim in claims}
    for nodeid, plan in planned.items():
        case = {**_UNFINISHED, **plan, **finished.get(nodeid, {})}
        del case["type"]
        if nodeid not in finished:
            # What -x leaves out is as good as deselected.
            wanted = case["selected"] and end["outcome"] != "stopped early"
            case |= _fate(selected=wanted, started=nodeid in started, aborted=aborted)
        if case["claim"] not in cases:
            raise ResultsError(f"{path} plans {nodeid} for the claim {case['claim']}, which it does not describe.")
        cases[case["claim"]].append(case)
    return Results(
        selection=run.get("selection", {}),
        environment=run.get("environment", {}),
        outcome=end["outcome"],
        seconds=end["seconds"],
        # The order of the file depends on which worker was faster, the order of the report must not.
        claims=tuple(
            ClaimResult(claims[name], tuple(cases[name]), verdict.judge(claims[name], cases[name]))
            for name in sorted(claims)
        ),
        collect_errors=tuple(collect_errors),
    )


def _damaged(line: dict[str, Any]) -> Iterator[str]:
    """The keys of a line, and then those of what it holds, that are missing or of another kind."""
    kind = line["type"]
    yield from _lacking(line, _KINDS.get(kind, {}))
    if kind == "claim":
        yield from _lacking(line["source"], _SOURCE)
    for record in line["records"] if kind == "case" else ():
        requires = isinstance(record, dict) and record.get("kind") == "requires"
        yield from _lacking(record, _REQUIRES if requires else _COMPARISON)
        if not requires:
            yield from (key for key in _NUMBERS if math.isnan(number(record.get(key))) and record.get(key) != "nan")
            yield from () if record["reading"] in _READINGS else ("reading",)


def _lacking(part: Any, kinds: dict[str, Any]) -> Iterator[str]:
    known = part if isinstance(part, dict) else {}
    return (key for key, kind in kinds.items() if key not in known or not isinstance(known[key], kind))


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines with their numbers."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ResultsError(f"{path} cannot be read: {error.strerror}; name an evidence.jsonl.") from error
    # Not splitlines(): that also splits at U+2028 and its like, which JSON allows within a string.
    lines = [line for line in text.split("\n") if line.strip()]
    for i, raw in enumerate(lines):
        try:
            line = json.loads(raw)
        except ValueError as error:
            if i == 0:
                raise ResultsError(f"{path} is no results file of eosbench; name an evidence.jsonl.") from error
            if i == len(lines) - 1:
                return
            raise ResultsError(f"{path}, line {i + 1}, is damaged; only the last line may be cut short.") from error
        if not isinstance(line, dict) or not isinstance(line.get("type"), str):
            raise ResultsError(f"{path}, line {i + 1}, is no object with a type.")
        if line["type"] == "run" and line.get("schema") != EVIDENCE_SCHEMA:
            raise ResultsError(
                f"{path} is of schema {line.get('schema')}, and this eosbench reads {EVIDENCE_SCHEMA}; "
                "use the version that wrote it."
            )
        yield i + 1, plain(line)


def _fate(*, selected: bool, started: bool, aborted: bool) -> Case:
    """What became of a case that did not report."""
    if not selected:
        return {"status": "deselected"}
    if started and aborted:
        return {"status": "crashed", "message": "The run died while this case was running."}
    return {"status": "lost", "message": "It was selected but never reported."}


def _claim_json(result: ClaimResult) -> dict[str, Any]:
    claim, judgement = result.claim, result.judgement
    return {
        "id": result.id,
        "topic": result.topic,
        "source": claim["source"],
        "printed": claim["printed"],
        "corrected": claim["corrected"],
        "verdict": judgement.verdict,
        "expected": claim["expected"],
        "drift": judgement.drift,
        "grade": judgement.grade,
        "reasons": list(judgement.reasons),
        "counts": dict(judgement.counts),
        "worst": None if judgement.worst is None else dict(judgement.worst),
        "controls": [{"name": name, "fired": fired} for name, fired in judgement.controls],
        "constants": [asdict(constant) for constant in judgement.constants],
        "hypotheses": [{"name": name, "met": met, "of": n} for name, met, n in result.hypotheses()],
        "seconds": round(result.seconds, 3),
        "products": result.products,
        "uses": list(result.uses),
        "experiment": claim["experiment"],
        "out_of_scope": claim["out_of_scope"],
        "file": claim["file"],
    }


def _claims_of(cases: list[Case]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(case["claim"] for case in cases))


def _told(case: Case) -> str:
    return f"{case['nodeid']}: {case['message']}" if case["message"] else case["nodeid"]
