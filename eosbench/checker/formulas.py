"""Formulas as texts, such as "1/4*(x**2 - 1)**2": what they mean in any arithmetic, and what vanishes to the letter."""

import ast
import operator
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from eosbench.checker.steps import Refused

_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.MatMult: operator.matmul,
}
FUNCTIONS = ("exp", "log", "sin", "cos")


def parse(text: str) -> ast.expr:
    """The syntax tree of a formula in numbers, names, + - * / ** @, `.T` and functions of one argument.

    Raises:
        Refused: it is something else.
    """
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise Refused(f"{text[:60]!r} is no formula") from None
    for node in ast.walk(tree):
        known = (ast.BinOp, ast.UnaryOp, ast.Name, ast.Load, ast.operator, ast.USub, ast.Call, ast.Attribute)
        whole = isinstance(node, ast.Constant) and type(node.value) is int
        if not (isinstance(node, known) or whole):
            raise Refused(f"{text[:60]!r} holds what no formula has")
    return tree


def value(tree: ast.expr, names: Mapping[str, Any], number: Callable[[Any], Any] = Fraction) -> Any:
    """A formula in the arithmetic of what its names stand for, and of what `number` makes of whole numbers."""
    match tree:
        case ast.Constant():
            return number(tree.value)
        case ast.Name():
            if tree.id not in names:
                raise Refused(f"the name {tree.id!r} stands for nothing")
            return names[tree.id]
        case ast.UnaryOp():
            return -value(tree.operand, names, number)
        case ast.BinOp(op=ast.Pow()):
            power = value(tree.right, {})
            if not isinstance(power, Fraction) or power.denominator != 1 or not 0 <= power <= 64:
                raise Refused("a power that is no whole number up to 64")
            return _applied(operator.pow, value(tree.left, names, number), int(power))
        case ast.BinOp(op=ast.Div()):
            return _quotient(value(tree.left, names, number), value(tree.right, names, number))
        case ast.BinOp() if type(tree.op) in _OPERATORS:
            sides = (value(side, names, number) for side in (tree.left, tree.right))
            return _applied(_OPERATORS[type(tree.op)], *sides)
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
            return elementary(name, value(argument, names, number))
        case ast.Attribute(attr="T") if not isinstance(inner := value(tree.value, names, number), Fraction):
            return _applied(operator.attrgetter("T"), inner)
    raise Refused("a formula with an operation that it may not have")


def _quotient(a: Any, b: Any) -> Any:
    if isinstance(b, Fraction):
        if b == 0:
            raise Refused("a division by zero")
        return a * (1 / b)
    return _applied(operator.truediv, a, b)


def _applied(operation: Callable[..., Any], *arguments: Any) -> Any:
    """What an operation makes of its arguments, if their arithmetic has it."""
    try:
        return operation(*arguments)
    except (AttributeError, TypeError):
        raise Refused("a formula with an operation that has no meaning here") from None


_EXACT = {("exp", Fraction(0)): 1, ("log", Fraction(1)): 0, ("sin", Fraction(0)): 0, ("cos", Fraction(0)): 1}


def elementary(name: str, argument: Any) -> Any:
    """A function of ranges or Taylor polynomials, or of a rational number where its value is one too."""
    if not isinstance(argument, Fraction):
        return _applied(operator.methodcaller(name), argument)
    if (name, argument) not in _EXACT:
        raise Refused(f"{name} of {argument} is no rational number")
    return Fraction(_EXACT[name, argument])


def replaced(tree: ast.expr, name: str, by: ast.expr) -> str:
    """The formula with a name replaced, as a text to compare."""

    class Replace(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.AST:
            return by if node.id == name else node

    return ast.unparse(Replace().visit(ast.parse(ast.unparse(tree), mode="eval").body))


def is_square_that_vanishes(tree: ast.expr, at: str) -> bool:
    """Whether it reads (A - B)**2, and A at x = `at` is B to the letter.

    Then the function and its derivative 2 (A - B) A' vanish there, whatever the rounding of A.
    """
    match tree:
        case ast.BinOp(
            left=ast.BinOp(left=first, op=ast.Sub(), right=second), op=ast.Pow(), right=ast.Constant(value=2)
        ):
            there = parse(at)
            return replaced(first, "x", there) == replaced(second, "x", there)
    return False
