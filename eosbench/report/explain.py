"""One case in full, for a terminal."""

from typing import Any

from eosbench.report.notation import digits, one_line
from eosbench.report.results import Results
from eosbench.report.terminal import table, wrapped

_DIGITS = {"measured": 8, "predicted": 8, "tolerance": 3, "margin": 3, "uncertainty": 3}


def explained(results: Results, width: int) -> str:
    """Every case of the results that ran: its hypotheses, comparisons and reading."""
    return "\n\n".join(_case(case, width) for case in results.cases if case["status"] != "deselected")


def _case(case: dict[str, Any], width: int) -> str:
    attempt = f", attempt {case['attempts']}" if case["attempts"] > 1 else ""
    told = f"{attempt}, {case['seconds']:.2f} s" + (f": {case['message']}" if case["message"] else "")
    lines = [
        f"{case['claim']} · {case['nodeid']}",
        wrapped(f"{case['role']}, {case['reading'] or case['status']}{told}", width, 2),
    ]
    requires = [record for record in case["records"] if record["kind"] == "requires"]
    lines += [
        wrapped(f"  requires  {record['name']}: {'met' if record['met'] else 'NOT MET'}", width, 4)
        for record in requires
    ]
    compared = [record for record in case["records"] if record["kind"] != "requires"]
    return "\n".join([*lines, _comparisons(compared, width)]) if compared else "\n".join(lines)


def _comparisons(records: list[dict[str, Any]], width: int) -> str:
    """As a table, or in a narrow terminal one after the other."""
    numbers = {name: [digits(record[name], n) for record in records] for name, n in _DIGITS.items()}
    found = table(
        {
            "compared": [one_line(record["name"]) for record in records],
            "kind": [record["kind"] for record in records],
            **numbers,
            "reading": [record["reading"] for record in records],
        },
        width,
    )
    if max(map(len, found.splitlines())) <= width:
        return found
    return "\n".join(
        wrapped(
            f"  {record['name']} ({record['kind']}): {record['reading']}; "
            + ", ".join(f"{name} {shown[i]}" for name, shown in numbers.items()),
            width,
            4,
        )
        for i, record in enumerate(records)
    )
