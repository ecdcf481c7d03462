"""One case in full, for a terminal."""

from typing import Any

from tabulate import tabulate

from eosbench.report.notation import digits
from eosbench.report.results import Results


def explained(results: Results) -> str:
    """Every case of the results that ran: its hypotheses, comparisons and reading."""
    blocks = [_case(case) for case in results.cases if case["status"] != "deselected"]
    return "\n\n".join(blocks)


def _case(case: dict[str, Any]) -> str:
    head = f"{case['claim']} · {case['nodeid']}\n{case['role']}, {case['reading'] or case['status']}"
    lines = [f"{head}, {case['seconds']:.2f} s" + (f": {case['message']}" if case["message"] else "")]
    lines += [
        f"  requires  {record['name']}: {'met' if record['met'] else 'NOT MET'}"
        for record in case["records"]
        if record["kind"] == "requires"
    ]
    rows = [
        (
            record["name"],
            record["kind"],
            *(digits(record[key], 8) for key in ("measured", "predicted")),
            *(digits(record[key], 3) for key in ("tolerance", "margin", "uncertainty")),
            record["reading"],
        )
        for record in case["records"]
        if record["kind"] != "requires"
    ]
    headers = ("compared", "kind", "measured", "predicted", "tolerance", "margin", "uncertainty", "reading")
    table = tabulate(rows, headers=headers, disable_numparse=True, maxcolwidths=[28, *[None] * 7]) if rows else ""
    return "\n".join([*lines, table])
