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

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from eosbench.report import figures
from eosbench.report.formula import typeset
from eosbench.report.graph import graph
from eosbench.report.notation import (
    MEANINGS,
    RELATIONS,
    SYMBOLS,
    case_name,
    clip,
    digits,
    interval,
    number,
    one_line,
    plural,
    symbolic,
)
from eosbench.report.results import Case, ClaimResult, Results
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
class Comparison:
    """A row of a table of comparisons. `span` is the number of rows of its case, 0 if the case was named above."""

    case: Case
    record: dict[str, Any] | None
    span: int

    @property
    def label(self) -> str:
        return _control(self.case) if "control" in self.case["role"] else case_name(self.case)

    @property
    def relation(self) -> str:
        return RELATIONS.get(self.record["kind"], "=") if self.record else ""


@dataclass(frozen=True)
class ClaimView:
    """A claim as its section shows it."""

    result: ClaimResult
    panels: list[figures.Panel]
    strips: list[Strip]
    comparisons: list[Comparison]
    omitted: int
    controls: list[tuple[str, bool]]
    control_comparisons: list[Comparison]
    counterexamples: list[Comparison]
    same_experiment: list[str]
    rests_on: list[tuple[str, ClaimResult | None]]
    """The claims that it uses; None for one that is not in this report."""
    used_by: list[ClaimResult]
    command: str

    @property
    def unfolded(self) -> bool:
        return len(self.comparisons) <= _OPEN


@dataclass(frozen=True)
class Source:
    """A document cited, with the number that it has in this report."""

    number: int
    key: str
    title: str
    authors: str
    year: str
    url: str
    """The document's address, "" for anything but http and https, which alone a link may lead to."""
    version: str
    claims: int


def templates() -> Environment:
    """The templates of this package's pages, with their filters."""
    environment = Environment(
        loader=PackageLoader("eosbench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., Any]] = {
        "anchor": anchor,
        "cost": cost,
        "digits": digits,
        "foreign": foreign,
        "symbolic": symbolic,
        "line": one_line,
        "plural": plural,
        "statement": statement,
        "typeset": typeset,
        "duration": duration,
    }
    environment.filters |= filters
    return environment


def stylesheet() -> Markup:
    """What these pages look like."""
    return Markup((files("eosbench.report") / "templates" / "report.css").read_text(encoding="utf-8"))


def page(results: Results) -> str:
    """The content of `report.html`."""
    script = (files("eosbench.report") / "templates" / "report.js").read_text(encoding="utf-8")
    points = min(_MOST_POINTS, max(_FEWEST_POINTS, _ALL_POINTS // max(1, len(results.claims))))
    topics: dict[str, list[ClaimView]] = {}
    for claim in results.claims:
        topics.setdefault(claim.topic, []).append(_view(claim, results, points))
    return (
        templates()
        .get_template("report.html.j2")
        .render(
            results=results,
            topics=topics,
            by_id={claim.id: claim for claim in results.claims},
            graph=graph(results),
            environment=_environment(results),
            made_with=_made_with(results),
            errata=[
                view for views in topics.values() for view in views if view.result.verdict in ("corrected", "refuted")
            ],
            sources=_sources(results),
            symbols=SYMBOLS,
            meanings=MEANINGS,
            style=stylesheet(),
            script=Markup(script),
            # Only this very script may run, so that a hole in the escaping would still let no other one in.
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )


def anchor(text: str) -> str:
    """The fragment of a link to a claim."""
    return re.sub(r"[^\w./-]+", "-", one_line(text, 120))


def foreign(text: Any, limit: int = 300) -> Markup:
    """Text from elsewhere on one line, kept from changing the direction of what stands beside it."""
    return Markup("<bdi>{}</bdi>").format(one_line(text, limit))


def statement(text: str) -> Markup:
    """A statement of a document, its formulas set."""
    return Markup("<bdi>{}</bdi>").format(typeset(text))


def duration(seconds: float | None) -> str:
    """`0.2 s`, `45 s`, `2 min 5 s`."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 60:
        return f"{digits(seconds, 2)} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def cost(claim: ClaimResult) -> str:
    """`1,200 products · 45 s`; products only of a claim that counted some."""
    products = f"{claim.products:,} product{'s' if claim.products != 1 else ''} · " if claim.products else ""
    return products + duration(claim.seconds)


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
        panels=figures.panels(claim.id, claim.of_role("case", "counterexample"), points),
        strips=[_strip(constant, claim) for constant in claim.judgement.constants],
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
            if other.claim["experiment"] == claim.claim["experiment"] and other.id != claim.id
        ],
        rests_on=[(used, next((other for other in results.claims if other.id == used), None)) for used in claim.uses],
        used_by=[other for other in results.claims if claim.id in other.uses],
        command=_command(claim),
    )


def _controls(claim: ClaimResult) -> list[Case]:
    return claim.of_role("control", "positive control")


def _control(case: Case) -> str:
    """What a control changes, in the words of the claim."""
    return case_name(case).removeprefix(f"{case['role']}: ")


def _compared(case: Case) -> list[dict[str, Any] | None]:
    """What the case compared; a single None if it did not get that far."""
    return [record for record in case["records"] if record["kind"] != "requires"] or [None]


def _comparisons(cases: list[Case]) -> list[Comparison]:
    rows = []
    for case in cases:
        records = _compared(case)
        rows += [Comparison(case, record, len(records) if i == 0 else 0) for i, record in enumerate(records)]
    return rows


def _tightest(cases: list[Case]) -> list[Comparison]:
    """The comparisons with the least room, those that are not satisfied before all others."""
    rows = [Comparison(case, record, 1) for case in cases for record in _compared(case)]

    def closeness(row: Comparison) -> tuple[bool, float]:
        if row.record is None:
            return False, 0.0
        slack = number(row.record["slack"])
        return row.record["reading"] == "satisfied", -math.inf if math.isnan(slack) else slack

    return sorted(rows, key=closeness)[:_ROWS]


def _strip(constant: Constant, claim: ClaimResult) -> Strip:
    unit = abs(constant.claimed) or 1.0
    measured = [
        number(record["measured"])
        for case in claim.of_role("case")
        for record in case["records"]
        if record["kind"] == "constant" and record["name"] == constant.name
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
    checks = dict.fromkeys(re.sub(r"\[.*", "", case["nodeid"], flags=re.DOTALL) for case in claim.cases)
    return clip(shlex.join(["pytest", *(one_line(check) for check in checks)]), 1000)


def _sources(results: Results) -> dict[str, Source]:
    """The documents in alphabetical order, numbered."""
    found: dict[str, list[dict[str, Any]]] = {}
    for claim in results.claims:
        found.setdefault(str(claim.claim["source"]["document"]), []).append(claim.claim["source"])
    return {
        key: Source(
            i,
            key,
            title=str(found[key][0]["title"]),
            authors=str(found[key][0]["authors"]),
            year=str(found[key][0]["year"] or ""),
            url=_address(found[key][0]["url"]),
            version=str(found[key][0]["version"]),
            claims=len(found[key]),
        )
        for i, key in enumerate(sorted(found), start=1)
    }


def _address(url: Any) -> str:
    return url if isinstance(url, str) and re.fullmatch(r"https?://[!-~]{1,2000}", url) else ""
