"""Imports run one way, and never in a circle: read from the syntax trees of the package and of the claims."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import eosbench

ROOT = Path(__file__).parents[1]

# A house of two towers, under one roof and on one ground. A room is a module of `eosbench`, a package in it, or the
# claims. It may import any room of a line below its own, none beside it, and none of the other tower.
ROOF = ["__main__", "claims cli", "own_loss"]
THEORY = ["probes", "dynamics problems proof", "curvature distributed"]
JUDGEMENT = [
    "pytest_plugin",
    "report",
    "scaffold",
    "catalogue evidence verdict",
    "records",
    "claim",
    "doctor",
    "checker compiled documents extras raised reach strict_json",
]
GROUND = ["eosbench"]  # the __init__: a name that is taken from it counts as taken from its home

# These need Python alone: claims are listed, and verdicts reached, without JAX, NumPy or pytest.
PLAIN = {
    "eosbench",
    "catalogue",
    "claim",
    "documents",
    "extras",
    "reach",
    "records",
    "scaffold",
    "strict_json",
    "verdict",
}


def table() -> dict[str, set[str]]:
    """The rooms that each room may import."""
    below: dict[str, set[str]] = {}
    for tower in (THEORY, JUDGEMENT):
        known: set[str] = set()
        for line in reversed([*ROOF, *tower, *GROUND]):
            for name in line.split():
                below[name] = below.get(name, set()) | known
            known = known.union(line.split())
    return below


@cache
def sources() -> dict[str, ast.Module]:
    """The syntax tree of every module, by its dotted name."""
    found = {}
    for file in [*(ROOT / "eosbench").rglob("*.py"), *(ROOT / "claims").rglob("*.py")]:
        parts = file.relative_to(ROOT).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = ast.parse(file.read_bytes())
    return found


@cache
def imported(module: str, tree: ast.Module, package: bool) -> list[tuple[int, str]]:
    """(line, what is imported), inside functions as well; what only type checkers see does not count."""
    found = []
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and dotted(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")
            start = parts[: len(parts) - node.level + package] if node.level else []
            base = ".".join([*start, *filter(None, [node.module])])
            found += [(node.lineno, f"{base}.{alias.name}") for alias in node.names]
        elif isinstance(node, ast.Call) and dotted(node.func).endswith("import_module"):
            found += [(node.lineno, str(name.value)) for name in node.args if isinstance(name, ast.Constant)]
        elif isinstance(node, ast.Attribute) and dotted(node).startswith("eosbench."):
            found += [(node.lineno, dotted(node))]
    return found


def dotted(node: ast.expr) -> str:
    """`a.b.c` as text, "" for anything else."""
    if isinstance(node, ast.Attribute) and (before := dotted(node.value)):
        return f"{before}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def imports(trees: dict[str, ast.Module]) -> list[tuple[str, int, str]]:
    """(module, line, what it imports there) for all of them."""
    packages = {module.rpartition(".")[0] for module in trees}
    return [(module, *found) for module, tree in trees.items() for found in imported(module, tree, module in packages)]


def home(name: str, trees: dict[str, ast.Module]) -> str | None:
    """The module of this project that holds what has this dotted name, if any does."""
    first, _, rest = name.partition(".")
    if first == "eosbench" and rest in eosbench._HOME:
        return eosbench._HOME[rest]
    while name not in trees and name:
        name = name.rpartition(".")[0]
    return name or None


def room(module: str) -> str:
    return "claims" if module.startswith("claims.") else module.split(".")[:2][-1]


def upward(trees: dict[str, ast.Module]) -> list[str]:
    """A sentence for each import that the table does not allow."""
    allowed = table()
    return [
        f"{module}, line {line}, imports {target}, which does not stand below it"
        for module, line, name in imports(trees)
        if (target := home(name, trees)) and room(target) not in {room(module), *allowed.get(room(module), ())}
    ]


def circle(trees: dict[str, ast.Module]) -> list[str]:
    """Modules each of which imports the next, if there are such."""
    graph = TopologicalSorter[str]()
    for module, _, name in imports(trees):
        if target := home(name, trees):
            graph.add(module, target)
    try:
        graph.prepare()
    except CycleError as found:
        return found.args[1]
    return []


def test_every_room_has_its_place():
    lines = [*ROOF, *THEORY, *JUDGEMENT, *GROUND]
    assert sorted(" ".join(lines).split()) == sorted({room(module) for module in sources()})


def test_no_import_goes_up_or_into_the_other_tower():
    assert upward(sources()) == []


def test_no_imports_form_a_circle():
    assert circle(sources()) == []


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("eosbench.curvature._lanczos", "from eosbench.claim import Claim"),
        ("eosbench.curvature._lanczos", "from eosbench import Claim"),
        ("eosbench.curvature._lanczos", "import eosbench\ndef f() -> eosbench.Claim: ..."),
        ("eosbench.curvature._lanczos", "from ..dynamics import train"),
        ("eosbench.curvature", "from ..dynamics.training import train"),
        ("eosbench.dynamics._flows", "from eosbench import problems"),
        ("eosbench.problems._scalar", "import eosbench.proof._trap as trap"),
        ("eosbench.verdict", "def f():\n    from eosbench.report import read"),
        ("eosbench.verdict", "from eosbench.evidence import Evidence"),
        ("eosbench.claim", "from . import evidence"),
        ("eosbench.report.html", "from eosbench.curvature import solve"),
        ("eosbench.recorder", "import importlib\nimportlib.import_module('eosbench.pytest_plugin')"),
        ("eosbench.pytest_plugin", "from eosbench.cli import app"),
        ("eosbench.cli", "import claims.test_orbit"),
        ("claims.test_orbit", "from eosbench.cli import app"),
    ],
)
def test_an_import_that_goes_up_is_seen(module, text):
    seen = {*upward(sources() | {module: ast.parse(text)})} - {*upward(sources())}
    assert {sentence.partition(", line ")[0] for sentence in seen} == {module}


@pytest.mark.parametrize(
    "text",
    [
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from eosbench.report import Results",
        "import eosbench\neosbench.__version__",
        "from eosbench import ClaimError, claim",
        "from .claim import Claim",
    ],
)
def test_an_import_that_goes_down_or_is_for_type_checkers_alone_is_none(text):
    assert {*upward(sources() | {"eosbench.verdict": ast.parse(text)})} <= {*upward(sources())}


@pytest.mark.parametrize("text", ["from eosbench.report import write", "def f():\n    from . import html"])
def test_a_circle_is_seen(text):
    assert "eosbench.report.formula" in circle(sources() | {"eosbench.report.formula": ast.parse(text)})


def test_what_is_to_be_plain_imports_the_standard_library_alone():
    trees = sources()
    plain = {module for module in trees if room(module) in PLAIN}
    assert {room(module) for module in plain} == PLAIN
    names = {name for module, _, name in imports(trees) if module in plain}
    assert {home(name, trees) for name in names} - {None} <= plain
    assert {name.partition(".")[0] for name in names} - {"eosbench"} <= sys.stdlib_module_names
    program = f"import sys; before = {{*sys.modules}}; import {', '.join(plain)}; print(*{{*sys.modules}} - before)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded - {"eosbench"} <= sys.stdlib_module_names
