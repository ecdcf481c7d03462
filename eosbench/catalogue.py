"""Claims read from the syntax tree of claim files, without importing them and hence without JAX."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from eosbench.claim import Claim, ClaimError, Document, Source

_PATTERNS = ("test_*.py", "*_test.py")
_CONSTRUCTORS = {"Claim": Claim, "Document": Document, "Source": Source}


def claim_files(paths: Iterable[Path]) -> list[Path]:
    """The files among the paths, or below those that are directories, that state claims."""
    found = {file for path in paths for file in _python_files(path) if states_claims(file)}
    return sorted(found)


def states_claims(file: Path) -> bool:
    """Whether a Python file constructs a `Claim` of eosbench at module level."""
    text = file.read_bytes()
    if b"eosbench" not in text or b"Claim" not in text:
        return False
    try:
        return any(_constructor(call) == "Claim" for _, call in _assigned_calls(ast.parse(text)))
    except SyntaxError:
        return False  # pytest reports it, with the line


def read_claims(file: Path) -> list[Claim]:
    """The claims of a file, in its order and without their checks.

    Raises:
        ClaimError: if an argument of Claim, Document or Source is not a literal, or a claim is stated wrongly.
    """
    names: dict[str, Any] = {}
    try:
        for target, call in _assigned_calls(ast.parse(file.read_bytes())):
            if _constructor(call) in _CONSTRUCTORS:
                names[target] = _evaluate(call, names)
    except (ClaimError, SyntaxError) as problem:
        raise ClaimError(f"{file}: {problem}") from None
    return [value for value in names.values() if isinstance(value, Claim)]


def _python_files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        for pattern in _PATTERNS:
            yield from path.rglob(pattern)
    elif path.suffix == ".py" and path.is_file():
        yield path


def _assigned_calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call):
            target = statement.targets[0]
            yield (target.id if isinstance(target, ast.Name) else ast.dump(target)), statement.value


def _constructor(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _evaluate(node: ast.expr, names: dict[str, Any]) -> Any:
    """A literal, a name assigned before, or a call of Claim, Document or Source with such arguments."""
    if isinstance(node, ast.Call) and _constructor(node) in _CONSTRUCTORS:
        keywords = {str(keyword.arg): _evaluate(keyword.value, names) for keyword in node.keywords}
        make: Any = _CONSTRUCTORS[_constructor(node)]
        try:
            return make(*(_evaluate(argument, names) for argument in node.args), **keywords)
        except TypeError as problem:
            raise ClaimError(f"line {node.lineno}: {problem}; see the signature of {_constructor(node)}") from None
    if isinstance(node, ast.Name) and node.id in names:
        return names[node.id]
    try:
        return ast.literal_eval(node)
    except ValueError:
        text = ast.unparse(node)
        raise ClaimError(
            f"line {node.lineno}: {text!r} is not a literal; write it out, so that it can be listed"
        ) from None
