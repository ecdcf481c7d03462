"""The report as one self-contained HTML page that asks the network for nothing."""

import base64
import hashlib
import math
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from eosbench import records
from eosbench.records import CaseRecord
from eosbench.report import figures
from eosbench.report.cite import Citation, citation
from eosbench.report.formula import typeset
from eosbench.report.graph import graph
from eosbench.report.index import documents
from eosbench.report.notation import bound, case_name, clip, digits, interval, one_line
from eosbench.report.notices import headline, notices
from eosbench.report.pages import anchor, stylesheet, templates
from eosbench.report.results import ClaimResult, Results
from eosbench.verdict import Constant

_ROWS = 60  # comparisons listed per claim; claims.json has them all
_OPEN = 8  # a table of up to this many comparisons is shown unfolded
_SCALES = (0.001, 0.01, 0.1, 1.0, 10.0)  # half-widths of a constant's strip, relative to the claimed value

# A page of many claims draws coarser curves, so that it stays a few megabytes: points of each panel, and of the page.
_FEWEST_POINTS, _MOST_POINTS, _ALL_POINTS = 500, 3600, 120_000


@dataclass(frozen=True)
class Strip:
    """A constant drawn to scale: places are per cent of the strip's width from its left end."""

    constant: Constant
    scale: float
    low: float
    high: float
    measured: tuple[float, ...]

    @property
    def empty(self) -> bool:
        return not self.constant.low <= self.constant.high

    @property
    def label(self) -> str:
        return f"± {digits(100 * self.scale)} %" if self.constant.claimed else f"± {digits(self.scale)}"

    @property
    def admissible(self) -> str:
        return interval(self.constant.low, self.constant.high, self.constant.claimed)


@dataclass(frozen=True)
class Row:
    """A row of a table of comparisons. `span` is the number of rows of its case, 0 if the case was named above."""

    case: CaseRecord
    record: records.Comparison | None
    span: int

    @property
    def label(self) -> str:
        return _control(self.case) if self.case.is_control else case_name(self.case)


@dataclass(frozen=True)
class ClaimView:
    """A claim as its section shows it."""

    result: ClaimResult
    panels: list[figures.Panel]
    strips: list[Strip]
    fractions: list[tuple[str, str]]
    """Each fraction of runs and the bound that it shows."""
    comparisons: list[Row]
    omitted: int
    controls: list[tuple[str, bool]]
    control_comparisons: list[Row]
    counterexamples: list[Row]
    same_experiment: list[str]
    rests_on: list[tuple[str, ClaimResult | None]]
    """The claims that it uses; None for one that is not in this report."""
    used_by: list[ClaimResult]
    command: str
    citation: Citation | None

    @property
    def unfolded(self) -> bool:
        return len(self.comparisons) <= _OPEN


def page(results: Results) -> str:
    """The content of `report.html`."""
    script = (files("eosbench.report") / "templates" / "report.js").read_text(encoding="utf-8")
    panels = sum(figures.how_many(_curves(claim)) for claim in results.claims)
    points = min(_MOST_POINTS, max(_FEWEST_POINTS, _ALL_POINTS // max(1, panels)))
    views = {claim.id: _view(claim, results, points) for claim in results.claims}
    topics: dict[str, list[ClaimView]] = {}
    for view in views.values():
        topics.setdefault(view.result.topic, []).append(view)
    return (
        templates()
        .get_template("report.html.j2")
        .render(
            results=results,
            headline=headline(results),
            notices=notices(results),
            topics=topics,
            by_id={claim.id: claim for claim in results.claims},
            graph=graph(results),
            environment=_environment(results),
            made_with=_made_with(results),
            errata={severity: [views[claim.id] for claim in claims] for severity, claims in results.differing.items()},
            documents={document.key: document for document in documents(results)},
            address=_address,
            linked=_linker(results),
            style=stylesheet(),
            script=Markup(script),
            # Only this very script may run, so that a hole in the escaping would still let no other one in.
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )


def _made_with(results: Results) -> list[str]:
    """Versions, machine and commit for the first screen, as far as the file says."""
    known = results.environment
    found = [f"{name} {known[key]}" for key, name in (("eosbench", "eosbench"), ("jax", "JAX")) if known.get(key)]
    found += dict.fromkeys(results.machine.values())  # a device and a backend that are the same word, once
    if known.get("commit"):
        state = " with uncommitted changes" if known.get("dirty") else ", clean" if known.get("dirty") is False else ""
        found.append(f"commit {str(known['commit'])[:8]}{state}")
    if known.get("started"):
        found.append(str(known["started"])[:10])
    return found


def _environment(results: Results) -> dict[str, Any]:
    """The environment as a reader wants it: what numbers were computed in and on first, yes and no for flags."""
    rest = {key: value for key, value in results.environment.items() if key not in ("x64", *results.machine)}
    words: dict[Any, str] = {True: "yes", False: "no", None: "unknown"}
    return results.machine | {
        key: words[value] if value is None or isinstance(value, bool) else value for key, value in rest.items()
    }


def _view(claim: ClaimResult, results: Results, points: int) -> ClaimView:
    rows = _comparisons(claim.of_role("case"))
    omitted = max(0, len(rows) - _ROWS)
    if omitted:
        rows = _tightest(claim.of_role("case"))
    return ClaimView(
        claim,
        panels=figures.panels(claim.id, _curves(claim), points),
        strips=[_strip(constant, claim) for constant in claim.judgement.constants],
        fractions=[
            (comparison.name, bound(comparison))
            for case in claim.of_role("case")
            if case.reading != "vacuous"
            for comparison in case.comparisons
            if bound(comparison)
        ],
        comparisons=rows,
        omitted=omitted,
        controls=[
            (_control(case), fired) for case, (_, fired) in zip(_controls(claim), claim.judgement.controls, strict=True)
        ],
        control_comparisons=_comparisons(_controls(claim)),
        counterexamples=_comparisons(claim.of_role("counterexample")),
        same_experiment=[
            other.id
            for other in results.claims
            if other.claim.experiment == claim.claim.experiment and other.id != claim.id
        ],
        rests_on=[(used, next((other for other in results.claims if other.id == used), None)) for used in claim.uses],
        used_by=[other for other in results.claims if claim.id in other.uses],
        command=_command(claim),
        citation=citation(claim, results),
    )


def _curves(claim: ClaimResult) -> list[tuple[str, records.Curve]]:
    """What its figures show; controls have numbers alone."""
    return figures.recorded(claim.of_role("case", "counterexample"))


def _controls(claim: ClaimResult) -> list[CaseRecord]:
    return claim.of_role("control", "positive control")


def _control(case: CaseRecord) -> str:
    """What a control changes, in the words of the claim."""
    return case_name(case).removeprefix(f"{case.role}: ")


def _compared(case: CaseRecord) -> list[records.Comparison | None]:
    """What the case compared, and a None for what ended it where that was no reading."""
    compared: list[records.Comparison | None] = [*case.comparisons]
    return compared if compared and case.status == "completed" else [*compared, None]


def _comparisons(cases: list[CaseRecord]) -> list[Row]:
    rows = []
    for case in cases:
        compared = _compared(case)
        rows += [Row(case, record, len(compared) if i == 0 else 0) for i, record in enumerate(compared)]
    return rows


def _tightest(cases: list[CaseRecord]) -> list[Row]:
    """The comparisons with the least room, those that are not satisfied before all others."""
    rows = [Row(case, record, 1) for case in cases for record in _compared(case)]

    def closeness(row: Row) -> tuple[bool, float]:
        if row.record is None:
            return False, 0.0
        slack = row.record.slack
        return row.record.reading == "satisfied", -math.inf if math.isnan(slack) else slack

    return sorted(rows, key=closeness)[:_ROWS]


def _strip(constant: Constant, claim: ClaimResult) -> Strip:
    unit = abs(constant.claimed) or 1.0
    measured = [
        comparison.measured
        for case in claim.of_role("case")
        for comparison in case.comparisons
        if comparison.kind == "constant" and comparison.name == constant.name
    ]
    shown = [value for value in (constant.low, constant.high, *measured) if math.isfinite(value)]
    widest = max((abs(value - constant.claimed) / unit for value in shown), default=0.0)
    scale = next((scale for scale in _SCALES if widest <= scale), _SCALES[-1])

    def place(value: float) -> float:
        share = (value - constant.claimed) / (unit * scale)
        return round(50 + 50 * min(1.0, max(-1.0, share)), 2) if not math.isnan(share) else 50.0

    dots = tuple(place(value) for value in measured if math.isfinite(value))
    return Strip(constant, scale, place(constant.low), place(constant.high), dots)


def _command(claim: ClaimResult) -> str:
    """What reruns just this claim."""
    checks = dict.fromkeys(re.sub(r"\[.*", "", case.nodeid, flags=re.DOTALL) for case in claim.cases)
    return clip(shlex.join(["pytest", *(one_line(check) for check in checks)]), 1000)


def _linker(results: Results) -> Callable[[str], Markup]:
    """What sets a text in which claims are named by their ids, and links them."""
    ids = "|".join(re.escape(claim.id) for claim in results.claims)
    named = re.compile(rf"(?<![\w/-])({ids})(?![\w/-])")

    def linked(text: str) -> Markup:
        # Every second part is an id.
        parts = [
            Markup('<a href="#{}">{}</a>').format(anchor(part), part) if i % 2 else typeset(part)
            for i, part in enumerate(named.split(text))
        ]
        return Markup("<bdi>{}</bdi>").format(Markup("").join(parts))

    return linked


def _address(url: str) -> str:
    """A document's address, "" for anything but http and https, which alone a link may lead to."""
    return url if re.fullmatch(r"https?://[!-~]{1,2000}", url) else ""
