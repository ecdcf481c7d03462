"""Checkers of certificates, which share nothing with the provers: a certificate is data, and is accepted or not.

A certificate is a JSON object with the entries `format`, `kind`, `theorem` and `proof`. The theorem is the statement:
the loss as a formula, the range of parameters. The proof is what helps to check it: boxes, cells, identities. Every
inequality is computed again from the theorem's formulas, in whole numbers rounded outward or in exact rational ones.
Nothing here needs JAX, Arb or a library of intervals.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from eosbench.checker.basin import check_basin
from eosbench.checker.existence import check_existence
from eosbench.checker.identity import check_identity
from eosbench.checker.logistic_cycle import check_logistic_cycle
from eosbench.checker.minimum import check_minimum
from eosbench.checker.statement import same
from eosbench.checker.steps import Fields, Refused, Steps
from eosbench.checker.trap import check_trap
from eosbench.checker.two_cycle import check_two_cycle

FORMAT = "eosbench-certificate/1"

CHECKERS: dict[str, Callable[[Fields, Fields, Steps], None]] = {
    "basin": check_basin,
    "existence": check_existence,
    "identity": check_identity,
    "logistic-cycle": check_logistic_cycle,
    "minimum": check_minimum,
    "trap": check_trap,
    "two-cycle": check_two_cycle,
}
"""The checker of each kind of certificate."""


@dataclass(frozen=True)
class Checked:
    """What a checker says: accepted, or the reason why not, and how much was checked until then."""

    accepted: bool
    reason: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)


def check(certificate: Any, theorem: Mapping[str, Any]) -> Checked:
    """Whether a certificate proves this theorem, which has the entry `kind` and those of the certificate's theorem."""
    steps = Steps()
    try:
        whole = Fields(certificate, "the certificate")
        if whole.take("format") != FORMAT:
            raise Refused(f"the certificate is not of the format {FORMAT}")
        kind, stated = whole.text("kind"), whole.take("theorem")
        if kind not in CHECKERS:
            raise Refused(f"there is no checker of the kind {kind!r}")
        if difference := same({"kind": kind, **stated} if isinstance(stated, Mapping) else stated, dict(theorem)):
            raise Refused(f"the certificate states another theorem: {difference}")
        parts = Fields(stated, "the theorem"), Fields(whole.take("proof"), "the proof")
        CHECKERS[kind](*parts, steps)
        for fields in (*parts, whole):
            fields.close()
    except Refused as problem:
        return Checked(False, str(problem), steps.counts)
    except RecursionError:
        return Checked(False, "a formula is nested too deeply", steps.counts)
    return Checked(True, "", steps.counts)
