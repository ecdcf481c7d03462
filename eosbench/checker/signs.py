"""What is positive, or not negative, to the letter of a formula."""

import ast
from collections.abc import Mapping


class Signs:
    """The signs that scalars are taken to have, 2 for positive, 1 for not negative, and names defined by formulas."""

    def __init__(self, scalars: Mapping[str, int], where: Mapping[str, ast.expr]) -> None:
        self._scalars, self._where = scalars, where

    def of(self, tree: ast.expr) -> int:
        """2 if a formula is positive for every value of its names, 1 if it is not negative, 0 if that is not plain."""
        match tree:
            case ast.Constant():
                return 2 if tree.value > 0 else 1 if tree.value == 0 else 0  # type: ignore[operator]
            case ast.Name() if tree.id in self._where:
                return self.of(self._where[tree.id])
            case ast.Name():
                return self._scalars.get(tree.id, 0)
            case ast.BinOp(op=ast.Add()):
                both = self.of(tree.left), self.of(tree.right)
                return max(both) if min(both) else 0
            case ast.BinOp(op=ast.Mult() | ast.Div()):
                return min(self.of(tree.left), self.of(tree.right))
            case ast.BinOp(op=ast.Pow(), right=ast.Constant(value=int(power))):
                return max(self.of(tree.left), 1 if power % 2 == 0 else 0)
            case ast.BinOp(left=ast.Attribute(value=first, attr="T"), op=ast.MatMult(), right=second):
                return 1 if ast.dump(first) == ast.dump(second) else 0  # vᵀv, which has to be a number besides
        return 0
