"""The table at the end of a run."""

import textwrap
from collections.abc import Sequence

from tabulate import tabulate

from eosbench.report.notation import SYMBOLS, digits, interval, one_line, plural
from eosbench.report.results import ClaimResult, Results

_NAMED = 8  # lost cases and the like are named up to this many; the report has them all


def summary(results: Results, width: int = 100) -> str:
    """The verdicts as a table of at most `width` columns, and below it everything that needs a reader's attention."""
    blocks = [_table(results, width), _constants(results, width), *_attention(results, width)]
    closing = _wrapped(results.headline, width, 0)
    if results.report is not None:
        closing += f"\nReport: {results.report}"
    return "\n\n".join(block for block in [*blocks, closing] if block)


def _table(results: Results, width: int) -> str:
    # Whoever asks for a few of many claims wants to see those.
    listed = [claim for claim in results.claims if not (results.subset and claim.verdict == "not run")]
    left_out = len(results.claims) - len(listed)
    told = f"Not listed: {plural(left_out, 'claim')} of which nothing ran." if left_out else ""
    if not listed:
        return told
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
        for claim in listed
    ]
    return "\n".join(line for line in (_set(headers, rows, width, wrapped=1), told) if line)


def _set(headers: tuple[str, ...], rows: Sequence[tuple[str, ...]], width: int, wrapped: int) -> str:
    """A table whose first `wrapped` columns share what the others leave of the width; all others are short."""
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    room = max(12, (width - sum(widths[wrapped:]) - 2 * (len(widths) - 1)) // wrapped)
    cells = [
        [*("\n".join(textwrap.wrap(one_line(cell), room)) for cell in row[:wrapped]), *row[wrapped:]] for row in rows
    ]
    # Not as tabulate's own headers, which take two more columns each.
    table = tabulate([headers, *cells], tablefmt="plain", disable_numparse=True).splitlines()
    return "\n".join([table[0], "─" * max(map(len, table)), *table[1:]])


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
    return _set(headers, rows, width, wrapped=2)


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
