"""How a verdict is cited: a line of text and a BibTeX entry, each with version, commit and date of the run."""

import re
from typing import NamedTuple

from eosbench.report.notation import authors, one_line, plural
from eosbench.report.results import ClaimResult, Results

_VERDICTS = ("holds", "corrected", "refuted", "inconclusive")


class Citation(NamedTuple):
    """A verdict as others cite it."""

    line: str
    bibtex: str


def citation(claim: ClaimResult, results: Results) -> Citation | None:
    """The claim, its verdict, where it is stated, and the run that reached it, as far as the file tells.

    None for a claim that came to no verdict.
    """
    if claim.verdict not in _VERDICTS:
        return None
    source = claim.claim.source
    verdict = f"{claim.verdict} ({claim.severity})" if claim.severity else claim.verdict
    graded = f"{verdict}, {claim.judgement.grade}" if claim.judgement.grade else verdict
    by = f"{authors(one_line(source.authors))}, " if source.authors else ""
    told = [f"{by}“{one_line(source.title)}”", source.year, one_line(source.version), one_line(source.place)]
    stated = ", ".join(str(part) for part in told if part)
    run = ", ".join([_program(results), *filter(None, [_commit(results), _date(results)])])
    fields = _fields(results, f"Verdict on {claim.id}: {graded}", f"Stated in {stated}")
    said = graded if claim.verdict == "holds" else f"is {graded}"
    reason = f" Why it fails as printed: {one_line(claim.why, 1000)}" if claim.why else ""
    return Citation(f"{run}: {one_line(claim.id)} {said}. Stated in {stated}.{reason}", entry(claim.id, fields))


def citation_of_all(results: Results) -> str:
    """A BibTeX entry for the verdicts of a run together."""
    counts = ", ".join(f"{n} {verdict}" for verdict, n in results.verdicts.items())
    title = f"Verdicts on {plural(len(results.claims), 'statement')} about the edge of stability"
    return entry("eosbench-verdicts", _fields(results, title, f"Verdicts: {counts}"))


def _fields(results: Results, title: str, note: str) -> dict[str, str]:
    return {
        "title": f"{{{braced(title)}}}",
        "year": _date(results)[:4],
        "date": _date(results),
        "howpublished": braced(", ".join(filter(None, [_program(results), _commit(results)]))),
        "note": braced(note),
    }


def entry(key: str, fields: dict[str, str]) -> str:
    """A BibTeX entry of the kind `misc`, of the fields that are not empty, whose text is `braced` already."""
    name = re.sub(r"[^A-Za-z0-9:._/-]+", "-", one_line(key, 120))
    known = "".join(f"  {field} = {{{text}}},\n" for field, text in fields.items() if text)
    return f"@misc{{{name},\n{known}}}\n"


def braced(text: object) -> str:
    """Text within a BibTeX field, where braces must match and some characters are commands."""
    return re.sub(r"([#$%&_])", r"\\\1", re.sub(r"[{}\\~^]", "", one_line(text, 2000)))


def _program(results: Results) -> str:
    return one_line(f"eosbench {results.environment.get('eosbench', '')}".strip(), 60)


def _commit(results: Results) -> str:
    commit, dirty = results.environment.get("commit"), results.environment.get("dirty")
    if not commit:
        return ""
    return f"commit {one_line(commit, 12)[:12]}" + (" with uncommitted changes" if dirty else "")


def _date(results: Results) -> str:
    """The day on which the run began, "" where the file does not tell it."""
    day = str(results.environment.get("started", ""))[:10]
    return day if re.fullmatch(r"\d{4}-\d\d-\d\d", day) else ""
