"""What the two HTML pages share: templates, stylesheet, and how foreign text and numbers are shown there."""

import math
import re
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from eosbench.records import GRADES, SEVERITIES, VERDICTS
from eosbench.report.formula import typeset
from eosbench.report.notation import authors, digits, one_line, plural, symbolic
from eosbench.report.results import ClaimResult


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
        "authors": authors,
        "cost": cost,
        "digits": digits,
        "foreign": foreign,
        "symbolic": symbolic,
        "line": one_line,
        "nodeid": nodeid,
        "plural": plural,
        "room": room,
        "statement": statement,
        "tight": tight,
        "typeset": typeset,
        "duration": duration,
    }
    environment.filters |= filters
    environment.globals["verdicts"] = VERDICTS
    environment.globals["severities"] = SEVERITIES
    environment.globals["grades"] = GRADES
    return environment


def stylesheet() -> Markup:
    """What these pages look like."""
    return Markup((files("eosbench.report") / "templates" / "report.css").read_text(encoding="utf-8"))


def anchor(text: str) -> str:
    """The fragment of a link to a claim."""
    return re.sub(r"[^\w./-]+", "-", one_line(text, 120))


def foreign(text: Any, limit: int = 300) -> Markup:
    """Text from elsewhere on one line, kept from changing the direction of what stands beside it."""
    return Markup("<bdi>{}</bdi>").format(one_line(text, limit))


def nodeid(id: str) -> Markup:
    """What pytest calls a case, its file apart."""
    file, mark, name = one_line(id, 1000).partition("::")
    return Markup('<code class="id copied"><bdi><span class="file">{}</span>{}</bdi></code>').format(file + mark, name)


def statement(text: str) -> Markup:
    """A statement of a document, its formulas set."""
    return Markup("<bdi>{}</bdi>").format(typeset(text))


def tight(table: str) -> Markup:
    """A table without the blanks between its rows and cells, which a browser would keep a node for each of."""
    return Markup(re.sub(r">\s+(?=</?(?:t[dhr]|thead|tbody|table)\b)", ">", table))


def duration(seconds: float | None) -> str:
    """`0.2 s`, `45 s`, `2 min 5 s`."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 60:
        return f"{digits(seconds, 2)} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def room(slack: float) -> str:
    """What a comparison has to spare, in words."""
    if not math.isfinite(slack):
        return "beyond any bound" if slack != math.inf else "with any amount to spare"
    percent = 100 * abs(slack)
    share = f"{percent:.0f} %" if 9.95 <= percent < 9999.5 else f"{digits(percent, 2)} %"
    return f"{share} beyond" if slack < 0 else f"with {share} to spare" if slack else "with nothing to spare"


def cost(claim: ClaimResult) -> str:
    """`1,200 products · 45 s`; products only of a claim that counted some."""
    products = f"{claim.products:,} product{'s' if claim.products != 1 else ''} · " if claim.products else ""
    return products + duration(claim.seconds)
