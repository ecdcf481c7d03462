"""What is public: one face, documented, and the same for type checkers and at runtime."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import eosbench

ROOT = Path(__file__).parents[1]
FACES = [f"eosbench.{name}" for name in eosbench._PACKAGES]


def exported(module):
    """The names that a package re-exports by `import name as name`."""
    tree = ast.parse(Path(importlib.import_module(module).__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {alias.asname: node.module for node in imports for alias in node.names if alias.asname == alias.name}


def test_type_checkers_are_told_what_there_is_at_runtime():
    assert exported("eosbench") == eosbench._HOME | dict.fromkeys(eosbench._PACKAGES, "eosbench")
    assert all(getattr(eosbench, name) is not None for name in eosbench.__all__)


def test_the_modules_behind_a_face_are_private_and_users_are_shown_none_of_them():
    for face in FACES:
        home = Path(importlib.import_module(face).__file__).parent
        assert [file.name for file in home.glob("*.py") if not file.name.startswith("_")] == []
    shown = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "claims").rglob("*.py")]
    private = re.compile(r"import_?.*\beosbench\.\w+\._\w+|from eosbench\.\w+\._\w+")
    assert [file.name for file in shown if private.search(file.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("name", eosbench._PACKAGES)
def test_a_package_is_there_after_import_eosbench_and_loaded_by_its_first_use_alone(name):
    assert name in dir(eosbench)
    program = f"import sys, eosbench; before = 'jax' in sys.modules; print(before, eosbench.{name}.__name__)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", f"eosbench.{name}"]


def test_a_name_that_there_is_not_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'sharpnes'"):
        eosbench.sharpnes  # noqa: B018


@pytest.mark.parametrize("module", FACES)
def test_every_exported_name_is_in_the_reference_and_has_a_docstring(module):
    reference = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    section = reference.partition(f"## `{module}`")[2].partition("\n## ")[0]
    names = exported(module)
    assert names
    assert [name for name in names if f"| `{name}` |" not in section] == []
    home = importlib.import_module(module)
    assert [name for name in names if callable(getattr(home, name)) and not inspect.getdoc(getattr(home, name))] == []


def test_the_reference_names_nothing_that_there_is_not():
    reference = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    for section in reference.split("\n## ")[1:]:
        module = section.split("`")[1]
        rows = {line.split("`")[1] for line in section.splitlines() if line.startswith("| `")}
        assert rows == (set(eosbench._HOME) if module == "eosbench" else set(exported(module)))
