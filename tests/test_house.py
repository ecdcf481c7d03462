"""How claims are kept: a folder for each topic, a file for each experiment, each claim directly above its checks."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from eosbench.catalogue import claim_files, read_claims
from eosbench.documents import section_of

CLAIMS = Path(__file__).parents[1] / "claims"
FILES = [str(path.relative_to(CLAIMS)) for path in claim_files([CLAIMS])]
OWN = "eosbench-statements"
LONGEST_STATEMENT = 28  # lines from a claim to its first check


def called(node, name):
    """The call in an assignment of what is called so, if it is one."""
    call = getattr(node, "value", None)
    return call if isinstance(call, ast.Call) and getattr(call.func, "id", "") == name else None


def claims_checked(node):
    """The names of the claims that a function checks."""
    decorators = [entry.func for entry in getattr(node, "decorator_list", []) if isinstance(entry, ast.Call)]
    return {
        ast.unparse(entry.value) for entry in decorators if getattr(entry, "attr", "") in ("check", "counterexample")
    }


@pytest.mark.parametrize("file", FILES)
def test_an_experiment_stands_in_the_folder_of_its_topic(file):
    folder, name = Path(file).parts
    assert name.startswith("test_")
    assert {claim.topic.replace("-", "_") for claim in read_claims(CLAIMS / file)} == {folder}


@pytest.mark.parametrize("file", FILES)
def test_a_claim_stands_directly_above_its_checks_under_its_name(file):
    body = ast.parse((CLAIMS / file).read_text()).body
    stated = None
    for node, following in zip(body, [*body[1:], None], strict=True):
        if call := called(node, "Claim"):
            (target,), id = node.targets, ast.literal_eval(call.args[0])
            stated = target.id
            assert stated == id.partition("/")[2].replace("-", "_")
            if not any(keyword.arg == "out_of_scope" for keyword in call.keywords):
                assert claims_checked(following) == {stated}, f"{id} is not directly above its checks"
                assert following.decorator_list[0].lineno - node.lineno < LONGEST_STATEMENT
        assert claims_checked(node) <= {stated}, f"a check of another claim stands below {stated}"


def test_every_document_is_described_once_and_cited():
    cited = {claim.source.document.key for file in FILES for claim in read_claims(CLAIMS / file)}
    assert cited == set(tomllib.loads((CLAIMS / "documents.toml").read_text()))
    own = [file for file in FILES if "Document(" in (CLAIMS / file).read_text()]
    assert not own, f"describe the document in claims/documents.toml, and name it by its key in {', '.join(own)}"


DOCUMENTS = {claim.source.document.key: claim.source.document for file in FILES for claim in read_claims(CLAIMS / file)}


@pytest.mark.parametrize("file", FILES)
def test_every_claim_is_in_a_section_of_its_document(file):
    for claim in read_claims(CLAIMS / file):
        contents = claim.source.document.contents
        assert section_of(claim.source.place, contents), (
            f"{claim.id}: {claim.source.place!r} begins with none of {contents}, the contents that "
            f"claims/documents.toml gives {claim.source.document.key}; add it there"
        )


@pytest.mark.parametrize("key", DOCUMENTS)
def test_every_section_of_a_document_has_a_claim_or_says_why_not(key):
    stated = [claim for file in FILES for claim in read_claims(CLAIMS / file) if claim.source.document.key == key]
    document = DOCUMENTS[key]
    places = [claim.source.place for claim in stated] + [entry.place for entry in document.not_encoded]
    assert [
        section for section in document.contents if section not in {section_of(p, document.contents) for p in places}
    ] == []


def test_what_the_project_states_itself_is_printed_on_its_page():
    """A claim of `eosbench-statements` quotes docs/statements.md, to the letter but for the breaks of lines."""
    page = " ".join((CLAIMS.parent / "docs" / "statements.md").read_text(encoding="utf-8").split())
    own = [claim for file in FILES for claim in read_claims(CLAIMS / file) if claim.source.document.key == OWN]
    assert own
    missing = [claim.id for claim in own if " ".join(claim.printed.split()) not in page or f"`{claim.id}`" not in page]
    assert not missing, f"print id and statement of {', '.join(missing)} in docs/statements.md, to the letter"


def test_the_claims_named_in_a_reason_exist():
    ids = {claim.id for file in FILES for claim in read_claims(CLAIMS / file)}
    reasons = [entry.why for document in DOCUMENTS.values() for entry in document.not_encoded]
    named = {id for why in reasons for id in re.findall(r"[a-z][a-z-]+/[a-z0-9-]{3,}", re.sub(r"\$.*?\$", "", why))}
    assert named
    assert named <= ids


def test_every_folder_is_a_package_that_says_what_it_holds():
    folders = {path.parent for path in CLAIMS.rglob("*.py")}
    for folder in folders:
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))


@pytest.mark.parametrize("mode", ["prepend", "importlib"])
@pytest.mark.parametrize(("copied", "file"), [("", "linear/test_identities.py"), ("linear", "test_identities.py")])
def test_a_copy_elsewhere_is_collected(copied, file, mode, tmp_path):
    """Of the whole house, or of one topic with the documents beside it; where nothing configures pytest."""
    shutil.copytree(CLAIMS / copied, tmp_path / "mine", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CLAIMS / "documents.toml", tmp_path)
    chosen = [f"mine/{file}", "--collect-only", "-q", f"--import-mode={mode}", "-p", "no:cacheprovider"]
    done = subprocess.run([sys.executable, "-m", "pytest", *chosen], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert f"mine/{file}::test_the_gram_matrix_of_the_derivatives[start=symmetric]" in done.stdout


def test_nothing_is_left_to_be_filled_in():
    files = [*CLAIMS.rglob("*.py"), CLAIMS / "documents.toml"]
    left = [str(file.relative_to(CLAIMS)) for file in files if "TODO" in file.read_text(encoding="utf-8")]
    assert not left, f"fill in each TODO of {', '.join(left)}"


def test_no_merge_was_left_half_done():
    pages = [*CLAIMS.parent.glob("*.md"), *CLAIMS.parent.glob("docs/**/*.md")]
    left = [str(page) for page in pages if re.search(r"^(<{7}|>{7}) ", page.read_text(encoding="utf-8"), re.MULTILINE)]
    assert left == []
