"""The table at the end of a run, and how text and tables are fitted to a terminal."""

import shutil
import textwrap
from collections.abc import Mapping, Sequence

from tabulate import tabulate

from eosbench.records import VERDICTS
from eosbench.report.notation import digits, interval, one_line, plural
from eosbench.report.notices import headline, notices
from eosbench.report.results import ClaimResult, Results

_NAMED = 8  # lost cases and the like are named up to this many; the report has them all
_WIDEST = 100
_ID = 34  # columns up to which the first of a table, mostly ids to be copied, is not broken
_CELL = 24  # columns that a cell with words needs to be readable


def columns() -> int:
    """The width of the terminal as far as lines are readable; that width where there is none."""
    return min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns)


def table(shown: Mapping[str, Sequence[str]], width: int, dispensable: Sequence[str] = ()) -> str:
    """A table of these columns by their heads, the widest of them wrapped where it would not fit into `width`.

    The first is wrapped last. Where the others would be hard to read, those that are dispensable go, in this order.
    """
    for name in dispensable:
        if _narrowest(shown, width) < _CELL:
            shown = {head: cells for head, cells in shown.items() if head != name}
    limits = _limits(shown, width)
    rows = [
        [
            cell if len(cell) <= most else "\n".join(textwrap.wrap(cell, most))
            for cell, most in zip(row, limits, strict=True)
        ]
        for row in zip(*shown.values(), strict=True)
    ]
    # Not as tabulate's own headers, which take two more columns each.
    lines = tabulate([list(shown), *rows], tablefmt="plain", disable_numparse=True).splitlines()
    return "\n".join([lines[0], "─" * max(map(len, lines)), *lines[1:]])


def _limits(shown: Mapping[str, Sequence[str]], width: int) -> list[int]:
    """The most that each column may take for the table to fit; a head is not broken."""
    widths = [max(map(len, (head, *cells))) for head, cells in shown.items()]
    heads = list(map(len, shown))
    room = width - 2 * (len(widths) - 1)
    kept = min(widths[0], _ID)
    first = [kept] if kept + sum(heads[1:]) <= room else []  # if it cannot be kept whole it is wrapped as all others
    rest, least = widths[len(first) :], heads[len(first) :]
    fitting = (most for most in range(max(rest, default=0), 0, -1) if _sum(most, rest, least) <= room - sum(first))
    most = next(fitting, 0)
    if first:  # what the others leave is its own
        first = [min(widths[0], room - _sum(most, rest, least))]
    return first + [max(most, head) for head in least]


def _sum(most: int, widths: Sequence[int], heads: Sequence[int]) -> int:
    return sum(min(max(most, head), own) for own, head in zip(widths, heads, strict=True))


def _narrowest(shown: Mapping[str, Sequence[str]], width: int) -> int:
    """The columns of the narrowest cell that would be wrapped; as many as there are where none would."""
    wrapped = [
        most
        for most, (head, cells) in zip(_limits(shown, width), shown.items(), strict=True)
        if max(map(len, (head, *cells))) > most
    ]
    return min(wrapped, default=width)


def summary(results: Results, width: int | None = None) -> str:
    """The verdicts as a table of at most `width` columns, and below it everything that needs a reader's attention."""
    width = columns() if width is None else width
    blocks = [_table(results, width), _constants(results, width), *_attention(results, width)]
    closing = wrapped(headline(results), width, 0)
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
    shown: dict[str, list[str]] = {
        "Claim": [one_line(claim.id, 60) for claim in listed],
        "Verdict": [f"{VERDICTS[claim.verdict].symbol:<2} {claim.verdict}" for claim in listed],
        "Grade": [claim.judgement.grade or "–" for claim in listed],
        "Expected": [_expected(claim) for claim in listed],
        "Cases": [f"{claim.satisfied}/{len(claim.of_role('case'))}" for claim in listed],
        "Slack": [_worst(claim) for claim in listed],
        "Controls": ["{}/{} fired".format(*claim.fired) if claim.fired[1] else "–" for claim in listed],
    }
    verdicts = table(shown, width, dispensable=("Slack", "Grade", "Controls"))  # the report has them all
    return f"{verdicts}\n{told}" if told else verdicts


def _expected(claim: ClaimResult) -> str:
    return "DRIFT" if claim.drift else "yes" if claim.verdict == claim.claim.expected else "–"


def _worst(claim: ClaimResult) -> str:
    """The slack of the comparison that came nearest to failing, which the report names."""
    return "–" if claim.judgement.worst is None else digits(claim.judgement.worst.comparison.slack, 2)


def _constants(results: Results, width: int) -> str:
    found = [(claim.id, constant) for claim in results.claims for constant in claim.judgement.constants]
    shown = {
        "Constant of": [one_line(id, 60) for id, _ in found],
        "Name": [one_line(constant.name) for _, constant in found],
        "Claimed": [digits(constant.claimed, 6) for _, constant in found],
        "Admissible": [interval(constant.low, constant.high, constant.claimed) for _, constant in found],
    }
    return table(shown, width) if found else ""


def _attention(results: Results, width: int) -> list[str]:
    blocks = []
    troubled = [claim for claim in results.claims if claim.drift or claim.verdict == "broken"]
    for claim in troubled:
        expected = claim.claim.expected
        found = f"{claim.id} is {claim.verdict}" + (f", expected {expected}" if claim.drift else " as expected")
        reasons = claim.judgement.reasons
        told = f": {one_line(reasons[0], 400)}" if reasons else ""
        more = f" (and {plural(len(reasons) - 1, 'more reason')})" if len(reasons) > 1 else ""
        blocks.append(wrapped(("DRIFT  " if claim.drift else "BROKEN ") + found + told + more, width, 7))
    for notice in notices(results):
        if notice.kind == "drift":
            continue
        lines = [wrapped(notice.sentence, width, 2)]
        lines += [wrapped("  " + one_line(detail, 400), width, 4) for detail in notice.details[:_NAMED]]
        if len(notice.details) > _NAMED:
            lines.append(f"  and {len(notice.details) - _NAMED} more")
        blocks.append("\n".join(lines))
    return blocks


def wrapped(text: str, width: int, indent: int) -> str:
    """The text in lines of at most `width` columns, all but the first indented."""
    return textwrap.fill(text, width, subsequent_indent=" " * indent)
