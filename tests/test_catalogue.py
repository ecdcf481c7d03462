"""Claims are listed from their syntax trees, in an instant and without what their files import."""

import importlib
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from eosbench.catalogue import claim_files, read_claims, states_claims, unreadable
from eosbench.claim import ClaimError

CLAIMS = Path(__file__).parents[1] / "claims"

FILE = """
import a_module_that_does_not_exist
import eosbench
from eosbench import Claim, Document, Source

talk = Document("talk", title="A talk")
one = Claim("toy/one", source=Source(talk, "slide 1"), printed=r"$x$ " "and y", expected="holds")
two = eosbench.Claim(
    "toy/two", source=Source(talk, place="slide 2"), printed="p", corrected="q", expected="corrected",
    severity="slip", why="w",
)
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "test_toy.py"
    path.write_text(FILE)
    return path


def test_claims_are_read_without_importing_their_file(file):
    one, two = read_claims(file)
    assert (one.id, one.printed, one.source.document.title, one.source.place) == (
        "toy/one",
        "$x$ and y",
        "A talk",
        "slide 1",
    )
    assert (two.id, two.corrected, two.expected) == ("toy/two", "q", "corrected")
    assert (two.severity, two.why) == ("slip", "w")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('c = Claim("toy/c", source=Source(talk, "s"), printed=f"{1}", expected="holds")', "is not a literal"),
        ('c = Claim("toy/c", source=Source(paper, "s"), printed="p", expected="holds")', "'paper' is not a literal"),
        ('c = Claim("toy/c", source=Source(talk, "s"), printed="p")', "missing 1 required keyword-only argument"),
        ('c = Claim("toy/c", source=Source(talk, "s"), printed="p", expected="perhaps")', "is no verdict"),
        ("c = Claim(", "never closed"),
    ],
)
def test_what_cannot_be_listed_is_said_in_one_sentence(file, line, sentence):
    file.write_text(FILE + line)
    with pytest.raises(ClaimError, match=sentence) as raised:
        read_claims(file)
    assert str(file) in str(raised.value)


def test_only_files_that_state_claims_are_found(file):
    (file.parent / "test_other.py").write_text(
        "from eosbench import Claim\ndef test_it():\n    Claim('not at module level')"
    )
    (file.parent / "test_broken.py").write_text("from eosbench import Claim\ndef (:")
    (file.parent / "helper.py").write_text(FILE)
    assert claim_files([file.parent]) == [file]
    assert claim_files([file, file.parent]) == [file]
    assert states_claims(file.parent / "helper.py")


@pytest.mark.parametrize(
    "stating",
    [
        'from eosbench import Claim, Document, Source\nclaim: Claim = Claim',
        'from eosbench import Claim as Statement, Document, Source\nclaim = Statement',
        'import eosbench as e\nfrom eosbench.claim import Document, Source\nclaim = e.Claim',
    ],
)  # fmt: skip
def test_a_claim_may_be_annotated_and_its_class_have_another_name(tmp_path, stating):
    path = tmp_path / "test_toy.py"
    path.write_text(f'{stating}("toy/one", source=Source(Document("d", "D"), "s"), printed="p", expected="holds")\n')
    assert states_claims(path)
    assert [claim.id for claim in read_claims(path)] == ["toy/one"]


def test_directories_that_pytest_does_not_enter_are_not_searched(file):
    for name in (".venv", ".tox", "build", "node_modules", "of-python"):
        (file.parent / name).mkdir()
        (file.parent / name / "test_toy.py").write_text(FILE)
    (file.parent / "of-python" / "pyvenv.cfg").touch()
    (file.parent / "below").mkdir()
    (file.parent / "below" / "toy_test.py").write_text(FILE)
    assert claim_files([file.parent]) == [file.parent / "below" / "toy_test.py", file]
    assert claim_files([file.parent / ".venv"]) == [file.parent / ".venv" / "test_toy.py"]


def test_a_file_that_cannot_be_read_states_no_claims_and_is_told(file):
    (file.parent / "test_gone.py").symlink_to("nowhere.py")
    (file.parent / "test_broken.py").write_text("from eosbench import Claim\ndef (:")
    (file.parent / "test_other.py").write_text("def (:")
    assert claim_files([file.parent]) == [file]
    assert [sentence.removeprefix(f"{file.parent}/") for sentence in unreadable([file.parent])] == [
        "test_broken.py, line 2, cannot be parsed: invalid syntax",
        "test_gone.py cannot be read: No such file or directory",
    ]


def test_the_catalogue_agrees_with_what_pytest_would_import(monkeypatch):
    monkeypatch.syspath_prepend(CLAIMS.parent)
    for path in claim_files([CLAIMS]):
        module = importlib.import_module(".".join(path.relative_to(CLAIMS.parent).with_suffix("").parts))
        for listed in read_claims(path):
            (imported,) = [value for value in vars(module).values() if getattr(value, "id", None) == listed.id]
            imported.validate()
            for name in ("source", "printed", "corrected", "expected", "severity", "why", "experiment", "out_of_scope"):
                assert getattr(listed, name) == getattr(imported, name)


LISTING = """
import sys
from eosbench.cli import app
app(["list", "--claims", sys.argv[1]], standalone_mode=False)
print(*sys.modules, file=sys.stderr)
"""


def test_listing_loads_two_of_the_dependencies_and_a_few_modules():
    """What it costs, as counts; how long it takes is measured in benchmarks/suite/listing.py."""
    done = subprocess.run([sys.executable, "-c", LISTING, str(CLAIMS)], capture_output=True, text=True, check=True)
    assert "orbit/quartic" in done.stdout
    loaded = set(done.stderr.split())
    project = tomllib.loads((CLAIMS.parent / "pyproject.toml").read_text())["project"]
    requirements = [*project["dependencies"], *project["optional-dependencies"]["claims"]]
    dependencies = {re.match(r"[\w-]+", requirement)[0] for requirement in requirements}
    packages = {name.partition(".")[0] for name in loaded}
    owners = packages_distributions()
    distributions = {owner.lower().replace("_", "-") for package in packages for owner in owners.get(package, [])}
    assert dependencies & distributions == {"tabulate", "typer"}
    assert len([name for name in loaded if name.startswith("eosbench.")]) < 20
    assert len(loaded) < 400  # of which 280 are in use; NumPy alone would bring 140
