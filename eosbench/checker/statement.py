"""Whether two theorems are the same: entry by entry, numbers by their value, formulas by their syntax."""

import ast
from collections.abc import Mapping
from fractions import Fraction
from typing import Any


def same(found: Any, asked: Any, where: str = "") -> str:
    """Where two statements differ, in words; "" where they agree."""
    if isinstance(found, Mapping) and isinstance(asked, Mapping):
        for key in [*asked, *found]:
            if key not in found or key not in asked:
                return f"{where or 'it'} {'lacks' if key not in found else 'has'} {key!r}"
            if difference := same(found[key], asked[key], f"{where}.{key}" if where else str(key)):
                return difference
        return ""
    if isinstance(found, list | tuple) and isinstance(asked, list | tuple):
        if len(found) != len(asked):
            return f"{where} has {len(found)} entries, not {len(asked)}"
        pairs = enumerate(zip(found, asked, strict=True))
        return next(filter(None, (same(a, b, f"{where}[{i}]") for i, (a, b) in pairs)), "")
    return "" if _normal(found) == _normal(asked) else f"{where} is {str(found)[:60]}, not {str(asked)[:60]}"


def _normal(value: Any) -> Any:
    """A number as a fraction, a formula as its syntax tree, anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, int | str | Fraction):
        return repr(value)
    try:
        return Fraction(value)
    except (ValueError, ZeroDivisionError):
        pass
    try:
        return ast.dump(ast.parse(str(value), mode="eval"))
    except (SyntaxError, ValueError):
        return value
