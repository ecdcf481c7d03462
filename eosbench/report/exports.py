"""The files of a report, and those of them for other programs: a badge, a JUnit file, the documents as BibTeX."""

import json
import re
from collections.abc import Callable
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from eosbench.report import html, markdown
from eosbench.report.cite import braced, entry
from eosbench.report.claims_json import claims_json
from eosbench.report.index import documents
from eosbench.report.notation import one_line, plural
from eosbench.report.results import ClaimResult, Results

_WORDS = {"holds": "hold"}  # the verdicts that a number in front of them changes
_CHARACTER = 6.2  # width of an average character of the badge, in pixels
_GREEN, _RED, _GREY, _DARK = "#2a6b3f", "#b3261e", "#5c5a55", "#3a3835"


def badge(results: Results) -> str:
    """An SVG badge that counts every verdict; green only where the run was whole and nothing drifted."""
    parts = [f"{n} {_WORDS.get(word, word) if n > 1 else word}" for word, n in results.verdicts.items()]
    if results.drifted:
        parts.append(f"{len(results.drifted)} drifted")
    if not results.complete:
        parts.append("run not whole")
    text = " · ".join(parts) or "none"
    colour = _RED if results.drifted or results.collect_errors else _GREEN if results.complete else _GREY
    left, right = round(_CHARACTER * len("claims") + 14), round(_CHARACTER * len(text) + 14)
    label = f"claims: {text}"
    size = {"width": str(left + right), "height": "20", "viewBox": f"0 0 {left + right} 20"}
    svg = Element("svg", {"xmlns": "http://www.w3.org/2000/svg", **size, "role": "img", "aria-label": label})
    SubElement(svg, "title").text = label
    SubElement(svg, "rect", width=str(left + right), height="20", rx="3", fill=colour)
    SubElement(svg, "path", d=f"M3 0h{left - 3}v20h-{left - 3}a3 3 0 0 1-3-3v-14a3 3 0 0 1 3-3z", fill=_DARK)
    group = SubElement(svg, "g", {"fill": "#fff", "font-family": "Verdana,DejaVu Sans,sans-serif", "font-size": "11"})
    for x, width, words in ((7, left - 14, "claims"), (left + 7, right - 14, text)):
        # Whatever font there is, the words fill their field.
        SubElement(group, "text", x=str(x), y="14", textLength=str(width)).text = words
    return ElementTree.tostring(svg, encoding="unicode") + "\n"


def junit(results: Results) -> str:
    """The claims as test cases: a drift fails, a claim without a verdict is skipped."""
    suites = Element("testsuites", name="eosbench claims")
    topics: dict[str, list[ClaimResult]] = {}
    for claim in results.claims:
        topics.setdefault(claim.topic, []).append(claim)
    for topic, claims in topics.items():
        skipped = sum(_undecided(claim) for claim in claims)
        suite = SubElement(
            suites,
            "testsuite",
            name=one_line(topic),
            tests=str(len(claims)),
            failures=str(sum(claim.drift for claim in claims)),
            errors="0",
            skipped=str(skipped),
        )
        for claim in claims:
            case = SubElement(
                suite, "testcase", classname=one_line(topic), name=one_line(claim.id), time=f"{claim.seconds:.3f}"
            )
            properties = SubElement(case, "properties")
            SubElement(properties, "property", name="verdict", value=claim.verdict)
            if claim.judgement.grade:
                SubElement(properties, "property", name="grade", value=claim.judgement.grade)
            reasons = "\n".join(one_line(reason, 500) for reason in claim.judgement.reasons)
            if claim.drift:
                message = f"expected {one_line(claim.claim.expected)}, found {claim.verdict}"
                SubElement(case, "failure", message=message).text = reasons
            elif _undecided(claim):
                SubElement(case, "skipped", message=one_line(f"{claim.verdict}: {reasons}"))
    if results.collect_errors:
        n = str(len(results.collect_errors))
        suite = SubElement(suites, "testsuite", name="collection", tests=n, failures="0", errors=n, skipped="0")
        for error in results.collect_errors:
            case = SubElement(suite, "testcase", classname="collection", name=one_line(error.file), time="0")
            SubElement(case, "error", message=one_line(error.message))
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def bibtex(results: Results) -> str:
    """The documents of whose claims some ran, with their ids as a note; and how many documents that leaves out."""
    entries, left_out = [], 0
    for document in documents(results):
        ran = sorted(claim.id for claim in document.claims if claim.verdict != "not run")
        if not ran:
            left_out += 1
            continue
        source = document.source
        fields = {
            "author": braced(source.authors),
            "title": f"{{{braced(source.title)}}}",
            "year": braced(source.year or ""),
            "url": re.sub(r"[{}\\\s]", "", one_line(source.url, 2000)),  # no command there, so nothing to escape
            "version": braced(source.version),
            "note": braced(f"Claims checked: {', '.join(ran)}"),
        }
        entries.append(entry(document.key, fields))
    if left_out:  # BibTeX passes over what stands outside of an entry
        entries.insert(0, f"% Left out: {plural(left_out, 'document')}, of whose claims none ran.\n")
    return "\n".join(entries)


def verdicts(results: Results) -> str:
    """The text of `claims.json`."""
    return json.dumps(claims_json(results), allow_nan=False, ensure_ascii=False, indent=1) + "\n"


FORMATS: dict[str, Callable[[Results], str]] = {
    "claims.json": verdicts,
    "CLAIMS.md": markdown.page,
    "errata.md": markdown.errata,
    "constants.md": markdown.constants,
    "sources.bib": bibtex,
    "badge.svg": badge,
    "junit.xml": junit,
    "report.html": html.page,
}
"""Every file of a report, and what its text is; the Markdown pages are those that a project keeps."""


def _undecided(claim: ClaimResult) -> bool:
    return not claim.drift and claim.verdict in ("partial", "not run", "out of scope")
