"""`claims.json`: the verdicts for other programs, written and read here.

What is read is what reports are compared by; the rest of the file is for others.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import Any

from eosbench.documents import NotEncoded
from eosbench.records import RecordError, from_json, to_json
from eosbench.report.index import Document, documents
from eosbench.report.results import ClaimResult, Results, ResultsError
from eosbench.strict_json import plain
from eosbench.verdict import Worst

SCHEMA = "eosbench-claims/1"


def claims_json(results: Results) -> dict[str, Any]:
    """The content of `claims.json`: strict JSON, non-finite numbers written as "nan", "inf", "-inf"."""
    fired, controls = results.controls
    statuses = results.statuses
    document = {
        "schema": SCHEMA,
        "complete": results.complete,
        "outcome": results.outcome,
        "selection": results.run.selection,
        "environment": results.environment,
        "coverage": {
            "claims": len(results.claims),
            "standing": results.standing,
            "verdicts": results.verdicts,
            "severities": results.severities,
            "cases": {"planned": statuses.total(), **{status: statuses[status] for status in sorted(statuses)}},
            "controls": {"planned": controls, "fired": fired},
            "products": results.products,
            "collect_errors": [asdict(error) for error in results.collect_errors],
        },
        "documents": [asdict(_summary(document)) for document in documents(results)],
        "claims": [_claim(claim) for claim in results.claims],
        # Curves are for the figures; whoever needs them reads evidence.jsonl.
        "cases": [
            {key: v for key, v in to_json(case).items() if key not in ("type", "series")} for case in results.cases
        ],
        "crashes": [
            {key: getattr(case, key) for key in ("nodeid", "claim", "case", "worker", "message")}
            for case in results.with_status("crashed")
        ],
    }
    return dict(plain(document))


@dataclass(frozen=True)
class SectionSummary:
    """An entry of a document's contents, the ids of the claims stated there, and what is stated and not encoded."""

    _: KW_ONLY
    name: str
    claims: Sequence[str]
    not_encoded: Sequence[NotEncoded]


@dataclass(frozen=True)
class DocumentSummary:
    """A document that claims cite, with its sections in order."""

    _: KW_ONLY
    key: str
    title: str
    authors: str
    year: int | None
    url: str
    version: str
    sections: Sequence[SectionSummary]


def _summary(document: Document) -> DocumentSummary:
    source = document.source
    return DocumentSummary(
        key=document.key,
        title=source.title,
        authors=source.authors,
        year=source.year,
        url=source.url,
        version=source.version,
        sections=[
            SectionSummary(
                name=section.name, claims=[claim.id for claim in section.claims], not_encoded=section.not_encoded
            )
            for section in document.sections
        ],
    )


def _claim(result: ClaimResult) -> dict[str, Any]:
    claim, judgement = result.claim, result.judgement
    return {
        "id": result.id,
        "topic": result.topic,
        "source": asdict(claim.source),
        "printed": claim.printed,
        "corrected": claim.corrected,
        "severity": result.severity,
        "why": result.why,
        "coarse": claim.coarse,
        "verdict": judgement.verdict,
        "expected": claim.expected,
        "drift": judgement.drift,
        "grade": judgement.grade,
        "grades": dict(judgement.grades),
        "reasons": list(judgement.reasons),
        "counts": dict(judgement.counts),
        "worst": _worst(judgement.worst),
        "controls": [{"name": name, "fired": fired} for name, fired in judgement.controls],
        "constants": [asdict(constant) for constant in judgement.constants],
        "hypotheses": [{"name": name, "met": met, "of": n} for name, met, n in result.hypotheses()],
        "seconds": round(result.seconds, 3),
        "products": result.products,
        "uses": list(result.uses),
        "experiment": claim.experiment,
        "out_of_scope": claim.out_of_scope,
        "file": claim.file,
    }


def _worst(worst: Worst | None) -> dict[str, Any] | None:
    if worst is None:
        return None
    told = {key: getattr(worst.comparison, key) for key in ("name", "slack", "margin", "uncertainty")}
    return {"case": worst.case} | told


@dataclass(frozen=True)
class ConstantSummary:
    """A constant as a report gives it."""

    _: KW_ONLY
    name: str
    claimed: float = math.nan
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class ClaimSummary:
    """A claim as a report gives it. Older reports did not count products, and have no severities."""

    _: KW_ONLY
    id: str
    verdict: str
    reasons: Sequence[str]
    constants: Sequence[ConstantSummary]
    severity: str | None = None
    seconds: float = math.nan
    products: float = math.nan


@dataclass(frozen=True)
class Report:
    """What is compared of a `claims.json`."""

    _: KW_ONLY
    environment: Mapping[str, Any]
    claims: Sequence[ClaimSummary]


def load(path: Path) -> Report:
    """The content of a `claims.json`, or of the one in a report's directory.

    Raises:
        ResultsError: there is none, it is of another schema, or something is missing in it.
    """
    file = path / "claims.json" if path.is_dir() else path
    try:
        content = json.loads(file.read_bytes())  # in UTF-8 or 16, with or without a mark of it
    except OSError as problem:
        raise ResultsError(f"{file} cannot be read: {problem.strerror}; name a claims.json or its directory") from None
    except ValueError:
        raise ResultsError(f"{file} is not JSON; name a claims.json or its directory") from None
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise ResultsError(f"{file} has the schema {schema!r} where {SCHEMA!r} is read; use the eosbench it is of")
    try:
        return from_json(Report, content)
    except RecordError:
        raise ResultsError(f"{file} lacks what is compared; write it again with `eosbench report`") from None
