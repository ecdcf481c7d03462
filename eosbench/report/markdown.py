"""The verdicts as a Markdown page, for the front of a repository. It holds no times, so that its diffs are readable."""

import re

from eosbench.claim import Verdict
from eosbench.records import SEVERITIES, VERDICTS
from eosbench.report.cite import citation_of_all
from eosbench.report.index import Document, Section, documents
from eosbench.report.notation import authors, bound, case_name, clip, comparison, digits, interval, one_line
from eosbench.report.notices import headline, notices
from eosbench.report.results import ClaimResult, Results

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~&!])")
_MATH = re.compile(r"(?<!\\)\$(?:[^$\\]|\\.)+\$", re.DOTALL)
_LONGEST = 2000
_LISTED = 5  # violated comparisons named for each statement


def page(results: Results) -> str:
    """The content of `CLAIMS.md`."""
    lines = ["# Claims", "", headline(results), ""]
    lines += [f"> **{_text(notice.kind)}.** {_text(notice.sentence)}\n" for notice in notices(results)]
    versions = ("eosbench", "commit", "python", "jax", "numpy")
    known = [f"{key} {_text(results.environment[key])}" for key in versions if results.environment.get(key)]
    known += [f"{key} {_text(value)}" for key, value in results.machine.items()]
    if known:
        lines += [f"Computed from evidence with {', '.join(known)}.", ""]
    lines += [
        "A verdict says what was found on a grid of cases. It is not a proof, except where the grade is *proved*.",
        "",
        "| claim | verdict | grade | expected | cases | controls | constants, fractions | stated in |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(claim) for claim in results.claims),
        "",
    ]
    if results.claims:
        met = [word for word in VERDICTS if word in results.verdicts]
        legend = ", ".join(f"{_mark(word)} {word}" for word in met)
        lines += ["## In the order of each document", "", f"{legend}.", ""]
        lines += [line for document in documents(results) for line in _contents(document)]
    differing = _errata(results, level=3)
    if differing:
        lines += ["## Where the evidence differs from the printed statement", "", *differing]
    return "\n".join(lines).rstrip() + "\n"


def errata(results: Results) -> str:
    """The content of `errata.md`: the statements that are not true as printed, with what shows it."""
    lines = [
        "# Errata",
        "",
        "Statements that the evidence contradicts as they are printed in the document cited. A talk, a poster or a "
        "review may carry a slip that the paper behind it does not.",
        "",
    ]
    if not results.differing:
        return "\n".join([*lines, "None.\n"])
    lines += [
        *_by_document(results),
        *_errata(results, level=2),
        "## How to cite",
        "",
        "`eosbench run ID` and then `eosbench cite ID` give a sentence and a BibTeX entry for one verdict, of your own "
        "run. The verdicts of this page and of all other claims, together:",
        "",
        f"```bibtex\n{citation_of_all(results)}```",
    ]
    return "\n".join(lines).rstrip() + "\n"


def _by_document(results: Results) -> list[str]:
    """For each document the statements that are not true as printed, with links to what is said of them."""
    differing = {claim.id for claims in results.differing.values() for claim in claims}
    lines = ["## By document", ""]
    for document in documents(results):
        links = [
            f"[{_code(claim.id)}](#{_anchor(_erratum_heading(claim))}) {_outcome(claim)}"
            for claim in document.claims
            if claim.id in differing
        ]
        if links:
            lines.append(f"- {_text(document.source.title)}: {'; '.join(links)}")
    return [*lines, ""]


def _outcome(claim: ClaimResult) -> str:
    return claim.verdict + (f", {claim.severity}" if claim.severity else "")


def _anchor(heading: str) -> str:
    """The name that renderers of Markdown give a heading, to be linked."""
    return re.sub(r"[^\w\s-]", "", heading).strip().lower().replace(" ", "-")


def constants(results: Results) -> str:
    """The content of `constants.md`: what theory claims and what was recovered, with fitted exponents."""
    rows = [row for claim in results.claims for row in (*_constants(claim), *_exponents(claim), *_fractions(claim))]
    lines = [
        "# Constants, exponents and fractions",
        "",
        "A constant is admissible in the interval of values with which no case would have failed. An exponent is the "
        "slope of a fit on logarithmic axes, with its standard error; that of a remainder in O(g) is the slope of "
        "remainder over g, which is 0 where g is the true order and positive where the remainder is smaller; down to "
        "-0.1 is accepted. Of a fraction of runs the finding is its lower bound, by Clopper and Pearson, with the "
        "confidence in brackets.",
        "",
        "| claim | quantity | claimed | admissible or fitted | case |",
        "|---|---|---|---|---|",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _constants(claim: ClaimResult) -> list[tuple[str, ...]]:
    return [
        (
            _code(claim.id),
            _text(c.name),
            digits(c.claimed, 6),
            interval(c.low, c.high, c.claimed).replace("[", r"\["),
            "all",
        )
        for c in claim.judgement.constants
    ]


def _exponents(claim: ClaimResult) -> list[tuple[str, ...]]:
    """The fits of the cases that meet the hypotheses."""
    return [
        (
            _code(claim.id),
            _text(fit.name),
            f"{digits(fit.predicted, 6)} ± {digits(fit.tolerance, 2)}" if rate else "0 or more",
            f"{digits(fit.measured if rate else fit.detail.get('slope'), 4)} "
            f"± {digits(fit.detail.get('standard error'), 2)}",
            _text(case_name(case)),
        )
        for case in claim.of_role("case")
        if case.reading != "vacuous"
        for fit in case.comparisons
        if (rate := fit.kind == "rate") or fit.kind == "bounded_by"
    ]


def _fractions(claim: ClaimResult) -> list[tuple[str, ...]]:
    """The fractions of runs, of the cases that meet the hypotheses."""
    return [
        (
            _code(claim.id),
            _text(record.name),
            f"{digits(100 * record.predicted)} % or more",
            bound(record),
            _text(case_name(case)),
        )
        for case in claim.of_role("case")
        if case.reading != "vacuous"
        for record in case.comparisons
        if record.kind == "fraction"
    ]


def _errata(results: Results, level: int) -> list[str]:
    """The statements that differ, below a heading for each severity, the news first."""
    lines = []
    for severity, claims in results.differing.items():
        told = f"{severity.capitalize()}: {SEVERITIES[severity]}" if severity else "No severity is told"
        lines += [f"{level * '#'} {told}", "", *(line for claim in claims for line in _erratum(claim, level + 1))]
    return lines


def _row(claim: ClaimResult) -> str:
    source = claim.claim.source
    shown = [
        f"{_text(c.name)}: {digits(c.claimed, 6)} in {interval(c.low, c.high, c.claimed)}"
        for c in claim.judgement.constants
    ]
    constants = "; ".join([*shown, *(f"{name}: {found}" for _, name, _, found, _ in _fractions(claim))])
    cells = (
        _code(claim.id),
        f"{_symbol(claim)} {_outcome(claim)}",
        claim.judgement.grade or "–",
        _text(claim.claim.expected) + (" **DRIFT**" if claim.drift else ""),
        f"{claim.satisfied}/{len(claim.of_role('case'))}",
        "{}/{} fired".format(*claim.fired) if claim.fired[1] else "–",
        constants.replace("[", r"\[") or "–",
        f"{_text(source.title)}, {_text(source.place)}",
    )
    return "| " + " | ".join(cells) + " |"


def _contents(document: Document) -> list[str]:
    """The claims of a document in its order, and what is not encoded."""
    source = document.source
    known = (f"{_text(authors(source.authors))}: " if source.authors else "") + _text(source.title)
    known += "".join(f", {_text(value)}" for value in (source.year, source.version) if value)
    return [f"### {known}", "", *(line for section in document.sections for line in _section(section)), ""]


def _section(section: Section) -> list[str]:
    stated = "; ".join(
        (f"{_text(place.name)} " if place.name else "") + ", ".join(_stated(claim) for claim in place.claims)
        for place in section.places
        if place.claims
    )
    told = [
        ((f" ({_text(place.name)})" if place.name else ""), f"{_formulas(entry.statement)} *{_formulas(entry.why)}*")
        for place in section.places
        for entry in place.not_encoded
    ]
    if not stated and told:
        return [f"- {_text(section.name)}{where}: not encoded: {sentences}" for where, sentences in told]
    return [
        f"- {_text(section.name)}: {stated or 'no claim'}",
        *(f"  - not encoded{where}: {sentences}" for where, sentences in told),
    ]


def _stated(claim: ClaimResult) -> str:
    drift = " **DRIFT**" if claim.drift else ""
    return f"{_symbol(claim)} {_code(claim.id)}{drift}"


def _symbol(claim: ClaimResult) -> str:
    return _mark(claim.verdict)


def _mark(verdict: Verdict) -> str:
    return VERDICTS[verdict].symbol.replace("*", r"\*")


def _erratum_heading(claim: ClaimResult) -> str:
    return f"{_code(claim.id)}: {claim.verdict}"


def _erratum(claim: ClaimResult, level: int) -> list[str]:
    printed, corrected = claim.claim.printed, claim.claim.corrected
    source = claim.claim.source
    lines = [
        f"{level * '#'} {_erratum_heading(claim)}",
        "",
        f"As printed in {_text(source.title)}, {_text(source.place)}:",
        "",
        f"> {_formulas(printed)}",
        "",
    ]
    if corrected:
        lines += ["What the evidence supports:", "", f"> {_formulas(corrected)}", ""]
    if claim.why:
        lines += [f"Why it fails: {_formulas(claim.why)}", ""]
    role = "counterexample" if corrected else "case"
    violated = [
        f"- {_text(comparison(record))}, at {_text(case_name(case))}"
        for case in claim.of_role(role)
        for record in case.comparisons
        if record.reading == "violated"
    ]
    if violated:
        lines += ["The printed form, evaluated:", "", *violated[:_LISTED], ""]
    return lines


def _code(text: str) -> str:
    return f"`{one_line(text).replace('`', '').replace('|', '')}`"


def _text(text: object) -> str:
    return _SPECIAL.sub(r"\\\1", one_line(text))


def _formulas(text: str) -> str:
    """Foreign text on one line, escaped except within `$...$`, which Markdown readers set as formulas."""
    text = " ".join(clip(text, _LONGEST).split())
    parts, position = [], 0
    for match in _MATH.finditer(text):
        parts += [
            _SPECIAL.sub(r"\\\1", text[position : match.start()]),
            match[0].replace("<", r"\lt ").replace(">", r"\gt "),
        ]
        position = match.end()
    return "".join([*parts, _SPECIAL.sub(r"\\\1", text[position:])])
