"""Equations and inequalities between polynomials in numbers and in matrices of any size, expanded word by word.

A statement may rest on equations that are `given`. Its proof then has a remainder, a formula in which `given1` stands
for the first of them, left minus right, and so on: the two sides differ by the remainder, and with zero in the place of
what is given the remainder is zero. A statement with >= or > has an excess besides, which is a sum of products of what
is not negative to the letter: squares, vᵀv, and scalars that the theorem takes to be so.
"""

import ast
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from eosbench.checker.formulas import parse, value
from eosbench.checker.signs import Signs
from eosbench.checker.steps import Fields, Refused, Steps
from eosbench.checker.words import ONE, Alphabet, Sum


def check_identity(theorem: Fields, proof: Fields, steps: Steps) -> None:
    """Check a certificate of kind "identity"."""
    alphabet = _alphabet(theorem)
    signs: dict[str, int] = {}
    for sign, name in ((2, "positive"), (1, "nonnegative")):
        signs |= {_name(scalar, name): sign for scalar in theorem.list(name)}
    if unknown := [name for name in signs if name not in alphabet.scalars()]:
        raise Refused(f"the sign of {unknown[0]!r} is given, which is no scalar")
    names: dict[str, Any] = {name: alphabet.letter(name) for name in alphabet.names()}
    trees: dict[str, ast.expr] = {}
    for entry in theorem.list("where"):
        name, formula = _texts(entry, 2, "a definition")
        if _name(name, "a definition") in names:
            raise Refused(f"the name {name!r} is defined twice")
        trees[name] = parse(formula)
        names[name] = _sum(value(trees[name], names), alphabet)
    given = {}
    for number, entry in enumerate(theorem.list("given"), start=1):
        left, right = _texts(entry, 2, "what is given")
        given[f"given{number}"] = _difference(left, right, names, alphabet)
    remainders, excesses = (_formulas(proof.take(name), name) for name in ("remainder", "excess"))
    structure = Signs(signs, trees)
    for entry in theorem.list("statements"):
        name, left, relation, right = _texts(entry, 4, "a statement")
        difference = _difference(left, right, names, alphabet)
        if relation in (">=", ">"):
            tree = parse(_pop(excesses, name, "excess"))
            excess = _sum(value(tree, names), alphabet)
            steps.hold(excess.shape == (ONE, ONE), f"the excess of {name!r} is no number")
            least = {">=": 1, ">": 2}[relation]
            steps.hold(structure.of(tree) >= least, f"the excess of {name!r} is not {relation} 0 to the letter")
            difference = difference - excess
        elif relation != "=":
            raise Refused(f"the relation {relation!r} of {name!r} is none of =, >= and >")
        if name in remainders:
            tree = parse(remainders.pop(name))
            nothing = {key: element * Fraction(0) for key, element in given.items()}
            without = _sum(value(tree, names | nothing), alphabet)
            steps.hold(without.is_zero, f"the remainder of {name!r} does not vanish with what is given")
            difference = difference - _sum(value(tree, names | given), alphabet)
        steps.hold(difference.is_zero, f"the two sides of {name!r} differ by {_shown(difference)}")
        steps.count("statements")
    if steps.counts.get("statements", 0) == 0:
        raise Refused("nothing is stated")
    if left_over := [*remainders, *excesses]:
        raise Refused(f"the proof has a formula for {left_over[0]!r}, which is not stated so")


def _alphabet(theorem: Fields) -> Alphabet:
    scalars = [_name(scalar, "a scalar") for scalar in theorem.list("scalars")]
    matrices, symmetric = {}, set()
    found = theorem.take("matrices")
    if not isinstance(found, Mapping):
        raise Refused("the matrices are no object")
    for name, entry in found.items():
        rows, columns, *more = _texts(entry, None, f"the shape of {name!r}")
        if more not in ([], ["symmetric"]) or (more and rows != columns):
            raise Refused(f'the shape of {name!r} is not [rows, columns], with "symmetric" where it is square')
        matrices[_name(name, "a matrix")] = (rows, columns)
        symmetric |= {name} if more or (rows, columns) == (ONE, ONE) else set()
    if len({*scalars, *matrices}) < len(scalars) + len(matrices):
        raise Refused("a name stands for two things")
    return Alphabet(scalars, matrices, symmetric)


def _difference(left: str, right: str, names: Mapping[str, Any], alphabet: Alphabet) -> Sum:
    first, second = (value(parse(side), names) for side in (left, right))
    if isinstance(second, Fraction) and second == 0 and isinstance(first, Sum):
        return first  # zero of any shape
    return _sum(first, alphabet) - _sum(second, alphabet)


def _sum(found: Any, alphabet: Alphabet) -> Sum:
    return found if isinstance(found, Sum) else Sum(alphabet, (ONE, ONE), {((), ()): Fraction(found)})


def _texts(entry: Any, number: int | None, what: str) -> list[str]:
    right = isinstance(entry, list | tuple) and all(isinstance(text, str) for text in entry)
    if not right or len(entry) != (number or max(2, len(entry))):
        raise Refused(f"{what} is no list of {number or 'two or more'} texts")
    return list(entry)


def _name(found: Any, what: str) -> str:
    if not isinstance(found, str) or not found.isidentifier() or found.startswith("given"):
        raise Refused(f"{what} is {found!r}, which is no name")
    return found


def _formulas(found: Any, what: str) -> dict[str, str]:
    if not isinstance(found, Mapping) or not all(isinstance(text, str) for text in found.values()):
        raise Refused(f"the entry {what!r} of the proof is no object of formulas")
    return dict(found)


def _pop(formulas: dict[str, str], name: str, what: str) -> str:
    if name not in formulas:
        raise Refused(f"the proof has no {what} for {name!r}")
    return formulas.pop(name)


def _shown(found: Sum) -> str:
    """The first term of a sum, for a reader."""
    if found.is_zero:
        return "nothing"
    (numbers, word), factor = next(iter(sorted(found.terms.items())))
    letters = [name + (".T" if turned else "") for part in (*numbers, word) for name, turned in part]
    return f"{'*'.join([str(factor), *letters])}{' and more' if len(found.terms) > 1 else ''}"
