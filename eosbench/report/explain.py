"""One case in full, for a terminal."""

from collections.abc import Sequence

from eosbench.records import CaseRecord, Comparison
from eosbench.report.notation import digits, one_line
from eosbench.report.results import Results
from eosbench.report.terminal import table, wrapped

_DIGITS = {"measured": 8, "predicted": 8, "tolerance": 3, "margin": 3, "uncertainty": 3}


def explained(results: Results, width: int) -> str:
    """Every case of the results that ran: its hypotheses, comparisons and reading."""
    return "\n\n".join(_case(case, width) for case in results.cases if case.status != "deselected")


def _case(case: CaseRecord, width: int) -> str:
    attempt = f", attempt {case.attempts}" if case.attempts > 1 else ""
    told = f"{attempt}, {case.seconds:.2f} s" + (f": {case.message}" if case.message else "")
    lines = [
        f"{case.claim} · {case.nodeid}",
        wrapped(f"{case.role}, {case.reading or case.status}{told}", width, 2),
        *(
            wrapped(f"  requires  {hypothesis.name}: {'met' if hypothesis.met else 'NOT MET'}", width, 4)
            for hypothesis in case.hypotheses
        ),
    ]
    return "\n".join([*lines, _comparisons(case.comparisons, width)] if case.comparisons else lines)


def _comparisons(comparisons: Sequence[Comparison], width: int) -> str:
    """As a table, or in a narrow terminal one after the other."""
    numbers = {name: [digits(getattr(c, name), n) for c in comparisons] for name, n in _DIGITS.items()}
    tabulated = table(
        {
            "compared": [one_line(c.name) for c in comparisons],
            "kind": [c.kind for c in comparisons],
            **numbers,
            "reading": [c.reading for c in comparisons],
        },
        width,
    )
    if max(map(len, tabulated.splitlines())) <= width:
        return tabulated
    return "\n".join(
        wrapped(
            f"  {c.name} ({c.kind}): {c.reading}; "
            + ", ".join(f"{name} {shown[i]}" for name, shown in numbers.items()),
            width,
            4,
        )
        for i, c in enumerate(comparisons)
    )
