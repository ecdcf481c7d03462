"""What a file of claims rests on: the modules that it reaches by its imports, and a digest of them.

Read from the syntax trees, so that nothing is imported. A name that a package's `__init__` takes from a module reaches
that module and not the package: a new probe changes nothing for claims that use another one. What is looked up at run
time, by `importlib` or `getattr` on a module, is not seen.
"""

import ast
import hashlib
import importlib.metadata
import platform
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

LIBRARY = Path(__file__).parent
EVIDENCE = LIBRARY / "evidence.py"
"""What every claim rests on, although it is a fixture that hands it over and no import."""


class Reach(NamedTuple):
    """The files that a file reaches, itself among them, and the other distributions that any of these imports."""

    files: tuple[Path, ...]
    distributions: tuple[str, ...]

    def digest(self, root: Path, *options: str) -> str:
        """SHA-256 of the files, by their names seen from the root, of the versions, and of options of the run."""
        found = hashlib.sha256()
        versions = [f"python {platform.python_version()}"]
        versions += [f"{name} {_version(name)}" for name in self.distributions]
        for text in (*versions, *options):
            found.update(text.encode() + b"\0")
        for file in self.files:
            place = root if file.is_relative_to(root) else LIBRARY.parent
            found.update(file.relative_to(place).as_posix().encode() + b"\0" + hashlib.sha256(_bytes(file)).digest())
        return found.hexdigest()


def reach(file: Path, root: Path) -> Reach:
    """What a file of claims reaches, where modules are found below `root` and in eosbench.

    The `conftest.py` of each folder between the two counts too.
    """
    folders = [folder for folder in file.parents if folder.is_relative_to(root)]
    waiting = {file, EVIDENCE, *(path for path in (folder / "conftest.py" for folder in folders) if path.is_file())}
    roots, files, others = (root, LIBRARY.parent), set[Path](), set[str]()
    while waiting:
        module = waiting.pop()
        files.add(module)
        modules, names = _imports(module, roots)
        others |= names
        waiting |= modules - files
    distributions = {name for other in others for name in _distributions().get(other, ())}
    return Reach(tuple(sorted(files)), tuple(sorted(distributions)))


@cache
def _distributions() -> Mapping[str, list[str]]:
    """The distributions that a module may come from, by its first name."""
    return importlib.metadata.packages_distributions()


@cache
def _version(distribution: str) -> str:
    return importlib.metadata.version(distribution)


@cache
def _bytes(file: Path) -> bytes:
    return file.read_bytes()


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(_bytes(file))


@cache
def _imports(file: Path, roots: tuple[Path, ...]) -> tuple[frozenset[Path], frozenset[str]]:
    """The modules of ours that a file imports, at home, and the first names of others."""
    modules, others = set[Path](), set[str]()
    for base, name in _taken(file, roots):
        found = _home(base, name, roots)
        modules |= found
        first = base.partition(".")[0]
        if not found and first not in sys.stdlib_module_names:
            others.add(first)
    return frozenset(modules), frozenset(others)


def _taken(file: Path, roots: tuple[Path, ...]) -> Iterator[tuple[str, str]]:
    """(module, what is taken from it) for each import of a file; what only type checkers see does not count."""
    waiting: list[ast.AST] = [_tree(file)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and any(_dotted(part).endswith("TYPE_CHECKING") for part in ast.walk(node.test)):
            waiting += node.orelse
            continue
        waiting += (child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr))
        if isinstance(node, ast.ImportFrom):
            base = _base(file, node, roots)
            yield from ((base, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name
                yield from ((alias.name, name) for name in _attributes(file).get(bound, [""]))


@cache
def _attributes(file: Path) -> Mapping[str, list[str]]:
    """The names that are taken from a module as attributes of what it is bound to, by that."""
    taken: dict[str, list[str]] = {}
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.Attribute) and (value := _dotted(node.value)):
            taken.setdefault(value, []).append(node.attr)
    return taken


def _dotted(node: ast.AST) -> str:
    """A name or an attribute of one, as it is written; nothing of another expression."""
    if isinstance(node, ast.Attribute) and (value := _dotted(node.value)):
        return f"{value}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _base(file: Path, node: ast.ImportFrom, roots: tuple[Path, ...]) -> str:
    """The absolute name of the module that an import takes from."""
    if not node.level:
        return node.module or ""
    folder = file.parents[node.level - 1]
    root = next((root for root in roots if folder.is_relative_to(root)), folder)
    return ".".join([*folder.relative_to(root).parts, *filter(None, [node.module])])


@cache
def _home(base: str, name: str, roots: tuple[Path, ...]) -> frozenset[Path]:
    """The files that a name taken from a module may come from; none where the module is not ours.

    That is the submodule of this name, or the module from which an `__init__` takes it, or the module itself. Of a
    package that is taken whole it is all that is in it.
    """
    whole, module = _file(f"{base}.{name}" if name else base, roots), _file(base, roots)
    if whole is not None:
        return frozenset(whole.parent.rglob("*.py") if whole.name == "__init__.py" else [whole])
    if module is None:
        return frozenset()
    if module.name == "__init__.py":
        for node in ast.walk(_tree(module)):
            if isinstance(node, ast.ImportFrom) and name in {alias.asname or alias.name for alias in node.names}:
                base_of_name = _base(module, node, roots)
                return _home(base_of_name, name, roots) if base_of_name != base else frozenset([module])
    return frozenset([module])


@cache
def _file(module: str, roots: tuple[Path, ...]) -> Path | None:
    """The file of a module of ours, by its dotted name; where eosbench is installed, its neighbours are not ours."""
    for root in roots:
        if root == LIBRARY.parent != roots[0] and module.partition(".")[0] != LIBRARY.name:
            continue
        place = root.joinpath(*module.split("."))
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                return file
    return None
