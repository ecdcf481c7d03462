"""The table at the end of a run."""

import textwrap

from tabulate import tabulate

from eosbench.report.notation import SYMBOLS, digits, interval, one_line, plural
from eosbench.report.results import ClaimResult, Results

_NAMED = 8  # lost cases and the like are named up to this many; the report has them all


def summary(results: Results, width: int = 100) -> str:
    """The verdicts as a table of at most `width` columns, and below it everything that needs a reader's attention."""
    blocks = [_table(results, width), _constants(results, width), *_attention(results, width)]
    closing = results.headline
    if results.report is not None:
        closing += f"\nReport: {results.report}"
    return "\n\n".join(block for block in [*blocks, closing] if block)


def _table(results: Results, width: int) -> str:
    if not results.claims:
        return ""
    headers = ("Claim", "Verdict", "Grade", "Expected", "Cases", "Worst margin", "Controls")
    rows = [
        (
            one_line(claim.id, 60),
            f"{SYMBOLS[claim.verdict]:<2} {claim.verdict}",
            claim.judgement.grade or "–",
            "DRIFT" if claim.drift else "yes" if claim.verdict == claim.claim["expected"] else "–",
            f"{claim.satisfied}/{len(claim.of_role('case'))}",
            _worst(claim),
            "{}/{} fired".format(*claim.fired) if claim.fired[1] else "–",
        )
        for claim in results.claims
    ]
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    # Everything else is short by construction, so an id that is too long for the line gives way.
    room = max(12, width - sum(widths[1:]) - 2 * (len(widths) - 1))
    rows = [(_shortened(row[0], room), *row[1:]) for row in rows]
    return tabulate(rows, headers, tablefmt="simple", disable_numparse=True)


def _worst(claim: ClaimResult) -> str:
    worst = claim.judgement.worst
    return "–" if worst is None else f"{digits(worst['margin'], 2)} ± {digits(worst['uncertainty'], 1)}"


def _constants(results: Results, width: int) -> str:
    rows = [
        (claim.id, constant.name, digits(constant.claimed, 6), interval(constant.low, constant.high, constant.claimed))
        for claim in results.claims
        for constant in claim.judgement.constants
    ]
    if not rows:
        return ""
    headers = ("Constant of", "Name", "Claimed", "Admissible")
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    room = max(12, (width - sum(widths[2:]) - 6) // 2)
    rows = [(_shortened(one_line(a), room), _shortened(one_line(b), room), c, d) for a, b, c, d in rows]
    return tabulate(rows, headers, tablefmt="simple", disable_numparse=True)


def _attention(results: Results, width: int) -> list[str]:
    blocks = []
    troubled = [claim for claim in results.claims if claim.drift or claim.verdict == "broken"]
    for claim in troubled:
        expected = claim.claim["expected"]
        found = f"{claim.id} is {claim.verdict}" + (f", expected {expected}" if claim.drift else " as expected")
        reasons = claim.judgement.reasons
        told = f": {one_line(reasons[0], 400)}" if reasons else ""
        more = f" (and {plural(len(reasons) - 1, 'more reason')})" if len(reasons) > 1 else ""
        blocks.append(_wrapped(("DRIFT  " if claim.drift else "BROKEN ") + found + told + more, width, 7))
    for notice in results.notices:
        if notice.kind == "drift":
            continue
        lines = [_wrapped(notice.sentence, width, 2)]
        lines += [_wrapped("  " + one_line(detail, 400), width, 4) for detail in notice.details[:_NAMED]]
        if len(notice.details) > _NAMED:
            lines.append(f"  and {len(notice.details) - _NAMED} more")
        blocks.append("\n".join(lines))
    return blocks


def _wrapped(text: str, width: int, indent: int) -> str:
    return textwrap.fill(text, width, subsequent_indent=" " * indent)


def _shortened(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"
