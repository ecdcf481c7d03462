"""The checkers share nothing with the provers, and need neither JAX nor Arb."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import eosbench.checker

FOLDER = Path(eosbench.checker.__file__).parent
BLOCKED = ("jax", "flint", "equinox", "mpmath", "scipy", "eosbench.proof", "eosbench.problems", "eosbench.dynamics")


def imported(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_a_checker_imports_the_standard_library_numpy_and_other_checkers():
    files = list(FOLDER.glob("*.py"))
    assert len(files) > 10
    for file in files:
        for name in imported(file):
            own = name == "numpy" or name.startswith("eosbench.checker")
            assert own or name.partition(".")[0] in sys.stdlib_module_names, (file.name, name)


def test_no_prover_imports_a_checker():
    for file in (FOLDER.parent / "proof").glob("*.py"):
        assert not any("checker" in name for name in imported(file))


def test_the_command_that_verifies_loads_no_prover(tmp_path):
    program = (
        "import sys\n"
        f"for name in {BLOCKED!r}: sys.modules[name] = None\n"
        "from eosbench.cli import app\n"
        f"app(['verify', {str(tmp_path / 'evidence.jsonl')!r}])\n"
    )
    (tmp_path / "evidence.jsonl").write_text('{"type": "run", "schema": "eosbench-evidence/1"}\n')
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "0 certificates of 0 claims: all accepted.\n", done.stderr
    assert done.returncode == 0


def test_the_page_on_certificates_has_every_kind_and_its_entries():
    """The entries that each checker reads, from its calls of the readers."""
    page = (FOLDER.parents[1] / "docs" / "certificates.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| `")]
    assert {row[0].strip("`") for row in rows} == set(eosbench.checker.CHECKERS)
    for kind, _, *told in rows:
        documented = {word for cell in told for word in re.findall(r"`(\w+)`", cell)}
        program = (FOLDER / f"{kind.strip('`').replace('-', '_')}.py").read_text(encoding="utf-8")
        if kind == "`trap`":
            program += 'theorem.interval("eta") theorem.text("unit") proof.list("boxes") fields.interval("eta")'
        read = set(re.findall(r"\.(?:take|text|fraction|interval|intervals|points|parts|list)\(\"(\w+)\"", program)) - {
            "point"
        }
        assert read <= documented
        assert documented - read <= {"lower", "upper", "positive", "nonnegative", "remainder", "excess", "point"}
