"""Certificates as data: what a prover hands to a checker, in JSON."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

FORMAT = "eosbench-certificate/1"


def texts(numbers: Iterable[Fraction]) -> list[str]:
    """Rational numbers as texts, exactly."""
    return [str(number) for number in numbers]


def certificate(kind: str, theorem: Mapping[str, Any], proof: Mapping[str, Any]) -> dict[str, Any]:
    """A theorem and its proof: what is stated, and what helps to check it."""
    return {"format": FORMAT, "kind": kind, "theorem": dict(theorem), "proof": dict(proof)}
