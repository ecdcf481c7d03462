"""Claims read from the syntax tree of claim files, without importing them and hence without JAX."""

import ast
import functools
import os
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from eosbench.claim import Claim, ClaimError, Document, Source

_PATTERNS = ("test_*.py", "*_test.py")
_NOT_ENTERED = (".*", "*.egg", "_darcs", "build", "CVS", "dist", "node_modules", "venv", "{arch}")  # as in pytest
_CONSTRUCTORS = {"Claim": Claim, "Document": Document, "Source": Source}


def claim_files(paths: Iterable[Path]) -> list[Path]:
    """The files among the paths, or below those that are directories, that state claims."""
    return [file for file in _python_files(paths) if states_claims(file)]


def unreadable(paths: Iterable[Path]) -> list[str]:
    """A sentence for each of these files of which cannot be known whether it states claims."""
    found = []
    for file in _python_files(paths):
        try:
            _tree(file)
        except SyntaxError as problem:
            found.append(f"{file}, line {problem.lineno}, cannot be parsed: {problem.msg}")
        except OSError as problem:
            found.append(f"{file} cannot be read: {problem.strerror}")
    return found


def states_claims(file: Path) -> bool:
    """Whether a Python file assigns a `Claim` of eosbench to a variable at module level."""
    try:
        return _assigns_claims(file.read_bytes())
    except (OSError, SyntaxError):
        return False  # pytest reports it, with the line


def read_claims(file: Path) -> list[Claim]:
    """The claims of a file, in its order and without their checks.

    Raises:
        ClaimError: if an argument of Claim, Document or Source is not a literal, or a claim is stated wrongly.
    """
    names: dict[str, Any] = {}
    try:
        for target, call in _assigned_calls(_tree(file)):
            if _constructor(call) in _CONSTRUCTORS:
                names[target] = _evaluate(call, names, file.parent)
    except (ClaimError, SyntaxError) as problem:
        raise ClaimError(f"{file}: {problem}") from None
    return [value for value in names.values() if isinstance(value, Claim)]


def house(file: Path) -> Path:
    """The folder of all claims that belong with those of a file: the outermost package it is in, or else its folder."""
    folder = file.parent
    while all((path / "__init__.py").is_file() for path in (folder, folder.parent)):
        folder = folder.parent
    return folder


def _python_files(paths: Iterable[Path]) -> list[Path]:
    return sorted({file for path in paths for file in _below(path)})


def _below(path: Path) -> Iterator[Path]:
    if path.suffix == ".py" and path.is_file():
        yield path
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not left_out(Path(folder, name))]
        yield from (Path(folder, name) for name in names if any(fnmatch(name, pattern) for pattern in _PATTERNS))


def left_out(folder: Path) -> bool:
    """Whether pytest does not look into a folder below the one that it is given."""
    return (folder / "pyvenv.cfg").exists() or any(fnmatch(folder.name, pattern) for pattern in _NOT_ENTERED)


@functools.cache  # pytest asks for the module, and again for each of its claims
def _assigns_claims(text: bytes) -> bool:
    return any(_constructor(call) == "Claim" for _, call in _assigned_calls(_parsed(text)))


def _tree(file: Path) -> ast.Module:
    return _parsed(file.read_bytes())


def _parsed(text: bytes) -> ast.Module:
    """The syntax tree, empty of a file without claims; what it imports from here under another name has its own."""
    tree = ast.parse(text if b"eosbench" in text and b"Claim" in text else b"")
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and "eosbench" in str(node.module)]
    aliases = {alias.asname: alias.name for node in imports for alias in node.names if alias.name in _CONSTRUCTORS}
    for node in ast.walk(tree) if any(aliases) else ():
        if isinstance(node, ast.Name):
            node.id = aliases.get(node.id, node.id)
    return tree


def _assigned_calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and isinstance(statement.value, ast.Call):
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            yield (target.id if isinstance(target, ast.Name) else ast.dump(target)), statement.value


def _constructor(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _evaluate(node: ast.expr, names: dict[str, Any], folder: Path) -> Any:
    """A literal, a name assigned before, or a call of Claim, Document or Source with such arguments."""
    if isinstance(node, ast.Call) and _constructor(node) in _CONSTRUCTORS:
        arguments = [_evaluate(argument, names, folder) for argument in node.args]
        keywords = {str(keyword.arg): _evaluate(keyword.value, names, folder) for keyword in node.keywords}
        make: Any = _CONSTRUCTORS[_constructor(node)]
        if make is Source:  # by itself it takes this module for the one that states the claim
            keywords.setdefault("folder", folder)
        try:
            return make(*arguments, **keywords)
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
