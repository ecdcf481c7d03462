"""Equations and inequalities between polynomials in numbers and matrices, with every entry a variable (python-flint).

The prover expands both sides at a small size, as polynomials in the entries. That they agree in every dimension is for
the checker to show, which knows words of matrices and no entries.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flint import fmpq, fmpq_mpoly_ctx

from eosbench.proof._data import certificate

SIZE = 2  # of every space but that of dimension one

Statement = tuple[str, str, str, str]
"""A name, the left side, one of =, >= and >, the right side."""


@dataclass(frozen=True)
class Identity:
    """A theorem about polynomials, and what helps to prove it.

    Attributes:
        statements: what holds.
        scalars: names of numbers, separated by blanks.
        matrices: name -> (rows, columns), spaces by their names, that of dimension one being "1"; and "symmetric".
        where: name -> formula, in the order in which they are defined.
        given: equations that are taken to hold, left and right.
        positive, nonnegative: scalars that are taken to be so.
        remainder: statement -> a formula in given1, given2 ..., by which its sides differ.
        excess: statement -> a formula that is not negative to the letter, by which its left side is larger.
    """

    statements: Sequence[Statement]
    scalars: str = ""
    matrices: Mapping[str, Sequence[str]] | None = None
    where: Mapping[str, str] | None = None
    given: Sequence[tuple[str, str]] = ()
    positive: str = ""
    nonnegative: str = ""
    remainder: Mapping[str, str] | None = None
    excess: Mapping[str, str] | None = None

    @property
    def theorem(self) -> dict[str, Any]:
        """What is stated, as a certificate states it."""
        return {
            "kind": "identity",
            "scalars": self.scalars.split(),
            "matrices": {name: list(shape) for name, shape in (self.matrices or {}).items()},
            "where": [list(definition) for definition in (self.where or {}).items()],
            "given": [list(equation) for equation in self.given],
            "positive": self.positive.split(),
            "nonnegative": self.nonnegative.split(),
            "statements": [list(statement) for statement in self.statements],
        }


@dataclass(frozen=True)
class IdentityCertificate:
    """The statements of an identity; `failed` are the names of those that do not hold at a small size."""

    identity: Identity
    failed: tuple[str, ...]

    @property
    def verified(self) -> bool:
        """Whether every statement holds."""
        return bool(self.identity.statements) and not self.failed

    def data(self) -> dict[str, Any]:
        """The certificate for a checker."""
        theorem = self.identity.theorem
        proof = {"remainder": dict(self.identity.remainder or {}), "excess": dict(self.identity.excess or {})}
        return certificate(theorem.pop("kind"), theorem, proof)

    def describe(self) -> dict[str, float | int | str]:
        """The statements by name, and which of them fail."""
        return {
            "statements": "; ".join(name for name, *_ in self.identity.statements),
            "count": len(self.identity.statements),
            "failed": "; ".join(self.failed) or "none",
        }


def prove_identity(identity: Identity) -> IdentityCertificate:
    """Expand both sides of every statement, in exact rational arithmetic."""
    names = _letters(identity)
    for name, formula in (identity.where or {}).items():
        names[name] = _evaluated(formula, names)
    given = {f"given{k}": _difference(left, right, names) for k, (left, right) in enumerate(identity.given, start=1)}
    nothing = {name: matrix * 0 for name, matrix in given.items()}
    failed = []
    for name, left, relation, right in identity.statements:
        rest = _difference(left, right, names)
        if relation != "=":
            rest = rest - _evaluated((identity.excess or {})[name], names)
        vanishes = True
        if remainder := (identity.remainder or {}).get(name):
            rest, vanishes = rest - _evaluated(remainder, names | given), _evaluated(remainder, names | nothing).is_zero
        if not (rest.is_zero and vanishes):
            failed.append(name)
    return IdentityCertificate(identity, tuple(failed))


class _Matrix:
    """A matrix of polynomials, as rows."""

    def __init__(self, rows: list[list[Any]]) -> None:
        self.rows = rows

    @property
    def T(self) -> "_Matrix":  # noqa: N802 - as formulas write it
        return _Matrix([list(column) for column in zip(*self.rows, strict=True)])

    @property
    def is_zero(self) -> bool:
        return all(entry == 0 for row in self.rows for entry in row)

    def __neg__(self) -> "_Matrix":
        return self * -1

    def __add__(self, other: Any) -> "_Matrix":
        if not isinstance(other, _Matrix):
            other = _Matrix([[other]])
        return _Matrix(
            [[a + b for a, b in zip(*rows, strict=True)] for rows in zip(self.rows, other.rows, strict=True)]
        )

    __radd__ = __add__

    def __sub__(self, other: Any) -> "_Matrix":
        return self + -other

    def __rsub__(self, other: Any) -> "_Matrix":
        return -self + other

    def __mul__(self, other: Any) -> "_Matrix":
        if isinstance(other, _Matrix) and len(other.rows) * len(other.rows[0]) > 1:
            return other * self
        factor = other.rows[0][0] if isinstance(other, _Matrix) else other
        return _Matrix([[entry * factor for entry in row] for row in self.rows])

    __rmul__ = __mul__

    def __truediv__(self, other: fmpq) -> "_Matrix":
        return self * (1 / other)

    def __matmul__(self, other: "_Matrix") -> "_Matrix":
        columns = list(zip(*other.rows, strict=True))
        return _Matrix(
            [[sum(a * b for a, b in zip(row, column, strict=True)) for column in columns] for row in self.rows]
        )

    def __pow__(self, power: int) -> "_Matrix":
        return _Matrix([[self.rows[0][0] ** power]])


def _difference(left: str, right: str, names: Mapping[str, _Matrix]) -> _Matrix:
    """Left minus right, where 0 is that of any shape."""
    first, second = _evaluated(left, names), _evaluated(right, names)
    return first if second.is_zero else first - second


def _letters(identity: Identity) -> dict[str, _Matrix]:
    """Every scalar and matrix with its entries as variables of one ring."""
    shapes: dict[str, Sequence[str]] = dict.fromkeys(identity.scalars.split(), ("1", "1"))
    shapes |= identity.matrices or {}
    entries: dict[str, list[list[str]]] = {}
    for name, (rows, columns, *symmetric) in shapes.items():
        grid = [[f"{name}_{i}_{j}" for j in _indices(columns)] for i in _indices(rows)]
        for i, j in itertools.product(range(len(grid)), repeat=2) if symmetric else ():
            grid[i][j] = f"{name}_{min(i, j)}_{max(i, j)}"
        entries[name] = grid
    variables = sorted({entry for grid in entries.values() for row in grid for entry in row})
    generators = dict(zip(variables, fmpq_mpoly_ctx.get(variables).gens(), strict=True))
    return {name: _Matrix([[generators[entry] for entry in row] for row in grid]) for name, grid in entries.items()}


def _indices(space: str) -> range:
    return range(1 if space == "1" else SIZE)


def _evaluated(formula: str, names: Mapping[str, _Matrix]) -> _Matrix:
    """A formula, as Python reads it; its whole numbers are rational ones, except for powers."""
    exact = re.sub(r"(?<![\w.])(?<!\*\*)(\d+)", r"rational(\1)", formula)
    found = eval(exact, {"__builtins__": {}, "rational": fmpq}, dict(names))
    return found if isinstance(found, _Matrix) else _Matrix([[found]])
