"""How verdicts, numbers and foreign text are written, the same in every form of the report."""

import math
import re
from typing import Any

from eosbench.records import CaseRecord, Comparison, number

# Control characters (a terminal obeys them), and the marks that reverse the direction of the text that follows.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

_GREEK = dict(zip(["alpha", "beta", "gamma", "delta", "epsilon", "eta", "theta", "lambda"], "αβγδεηθλ", strict=True))
_SPELLED = re.compile(rf"(?<![A-Za-z_$\\])({'|'.join(_GREEK)})(?![A-Za-z]|_[A-Za-z])")


def digits(value: Any, significant: int = 3) -> str:
    """A number for a reader: `significant` digits, short exponents (`1.2e-8`), a dash where there is none."""
    if value is None:
        return "–"
    x = number(value)
    if not math.isfinite(x):
        return str(x)
    mantissa, e, exponent = f"{x:.{significant}g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if e else mantissa


def comparison(record: Comparison) -> str:
    """A recorded comparison in words: `distance to the orbit: 0.17861, not ≤ 1e-8`."""
    tolerance = f" ± {digits(record.tolerance, 2)}" if record.tolerance else ""
    negation = {"violated": "not ", "indeterminate": "perhaps "}.get(record.reading, "")
    measured, predicted = digits(record.measured, 6), digits(record.predicted, 6)
    return f"{record.name}: {measured}, {negation}{record.sign} {predicted}{tolerance}"


def bound(record: Comparison) -> str:
    """What a fraction of runs shows: `14 of 15: at least 72 % (95 %)`, rounded down; nothing for other comparisons."""
    if record.kind != "fraction":
        return ""
    k, n, low, confidence = (number(record.detail.get(key)) for key in ("k", "n", "lower bound", "confidence"))
    if not all(map(math.isfinite, (k, n, low, confidence))):
        return ""
    return f"{k:.0f} of {n:.0f}: at least {math.floor(100 * low)} % ({digits(100 * confidence)} %)"


def interval(low: Any, high: Any, claimed: Any) -> str:
    """`[low, high]` with just as many digits as show where the ends differ from each other and from `claimed`."""
    a, b, c = number(low), number(high), number(claimed)
    if a > b:
        return "empty"
    if not (math.isfinite(a) and math.isfinite(b)):
        return f"[{digits(a)}, {digits(b)}]"
    spread = max(b - a, abs(a - c) if math.isfinite(c) else 0.0)
    size = max(abs(a), abs(b))
    needed = 3 if spread == 0 or size == 0 else 2 + math.ceil(math.log10(size / spread))
    shown = min(max(needed, 3), 12)
    return f"[{digits(a, shown)}, {digits(b, shown)}]"


def printable(text: Any) -> str:
    """Foreign text without control characters and direction marks."""
    return _UNPRINTABLE.sub("", str(text))


def one_line(text: Any, limit: int = 300) -> str:
    """Foreign text on one line, without control characters and direction marks, cut at `limit` characters."""
    return clip(" ".join(printable(text).split()), limit)


def symbolic(text: str) -> str:
    """A name with signs for what it writes out, Greek letters and relations, as in `eta <= 1`; not in formulas."""
    if "$" in text:
        return text
    return _SPELLED.sub(lambda match: _GREEK[match[1]], text.replace("<=", "≤").replace(">=", "≥"))


def case_name(case: CaseRecord) -> str:
    """What a case is called: `eta=1.04167` (its id has all digits), or its check in words if it has no parameters."""
    name = case.case or case.check.removeprefix("test_").replace("_", " ")
    return re.sub(r"-?\d+\.\d{7,}(?:e[+-]?\d+)?", lambda match: digits(match[0], 6), name)


def clip(text: Any, limit: int) -> str:
    """The first `limit` characters, and how many were left out."""
    text = str(text)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit:,} more characters)"


def authors(joined: str) -> str:
    """`A, B and C` for the `A and B and C` of BibTeX."""
    *others, last = joined.split(" and ")
    return f"{', '.join(others)} and {last}" if others else last


def plural(n: int, noun: str) -> str:
    """`1 case`, `2 cases`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
