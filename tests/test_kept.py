"""What a file of claims reaches, and a run that keeps what has not changed."""

import json
from pathlib import Path

import pytest

from eosbench.reach import LIBRARY, reach

ROOT = Path(__file__).parents[1]

CLAIM = """
from eosbench import Claim, Document, Source
{imports}
talk = Document("talk", "A talk")
{name} = Claim("toy/{name}", source=Source(talk, "slide 1"), printed="$x^2 > 0$", expected="holds")

@{name}.check(x=[1.0, 2.0], controls={{"sign": dict(sign=-1.0)}})
def test_{name}(evidence, x, sign=1.0):
    {body}
    evidence.at_least("x^2", sign * x * x, 0.5)
"""


def claim(name, imports="", body="pass"):
    return CLAIM.format(name=name, imports=imports, body=body)


def write(folder, texts):
    for name, text in texts.items():
        file = folder / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def reached(folder, file="claims/test_a.py"):
    found = reach(folder / file, folder)
    ours = {path.relative_to(folder).as_posix() for path in found.files if path.is_relative_to(folder)}
    return ours - {file}, {path.relative_to(LIBRARY).as_posix() for path in found.files if path.is_relative_to(LIBRARY)}


def package(tmp_path, statement):
    texts = {
        "claims/__init__": "",
        "claims/test_a": statement,
        "claims/setting": "from .deeper import x",
        "claims/deeper": "x = 1",
        "tools/__init__": "from tools._one import one\nfrom tools._two import two as second",
        "tools/_one": "one = 1\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import tools._two",
        "tools/_two": "two = 2",
        "tools/alone": "def f():\n    from tools import one",
    }
    write(tmp_path, texts)
    return reached(tmp_path)[0]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("from tools import one", {"tools/_one.py"}),
        ("from tools import second", {"tools/_two.py"}),
        ("from tools import nothing", {"tools/__init__.py", "tools/_one.py", "tools/_two.py"}),
        ("import tools\ntools.one", {"tools/_one.py"}),
        ("import tools as t\nt.second()", {"tools/_two.py"}),
        ("import tools\nprint(tools)", {f"tools/{name}.py" for name in ("__init__", "_one", "_two", "alone")}),
        ("import tools.alone", {"tools/alone.py", "tools/_one.py"}),
        ("from tools.alone import f", {"tools/alone.py", "tools/_one.py"}),
        ("from .setting import x", {"claims/setting.py", "claims/deeper.py"}),
        ("from . import setting", {"claims/setting.py", "claims/deeper.py"}),
        ("def f():\n    import tools._two", {"tools/_two.py"}),
        ("import os, json", set()),
    ],
)
def test_names_are_followed_to_their_homes(tmp_path, statement, expected):
    assert package(tmp_path, statement) == expected


def test_what_lies_beside_an_installed_eosbench_is_not_ours(tmp_path, monkeypatch):
    site, project = tmp_path / "site-packages", tmp_path / "project"
    texts = {
        "eosbench/__init__": "from eosbench.claim import Claim",
        "eosbench/claim": "import other",
        "eosbench/evidence": "from eosbench.claim import Claim",
        "other/__init__": "from other import x",
    }
    write(site, texts)
    write(project, {"claims/test_a": "from other import x\nfrom eosbench import Claim"})
    monkeypatch.setattr("eosbench.reach.LIBRARY", site / "eosbench")
    monkeypatch.setattr("eosbench.reach.EVIDENCE", site / "eosbench/evidence.py")
    found = reach(project / "claims/test_a.py", project).files
    assert {file.name for file in found} == {"test_a.py", "claim.py", "evidence.py"}


def test_a_package_that_takes_a_name_from_itself_is_followed_once(tmp_path):
    write(tmp_path, {"tools/__init__": "from tools import x", "claims/test_a": "from tools import x"})
    assert reached(tmp_path)[0] == {"tools/__init__.py"}


def test_what_the_claims_of_this_project_reach():
    scalar, digits = (reached(ROOT, f"claims/{file}")[1] for file in ("orbit/test_quartic.py", "edge/test_digits.py"))
    assert "probes/_sharpness.py" in digits - scalar
    assert {"evidence.py", "checker/two_cycle.py"} <= scalar & digits
    assert {"claims/conftest.py", "claims/edge/setting.py"} <= reached(ROOT, "claims/edge/test_digits.py")[0]
    assert {"jax", "optax"} <= set(reach(ROOT / "claims/edge/test_digits.py", ROOT).distributions)


def test_the_digest_is_of_contents_versions_and_options(tmp_path, monkeypatch):
    package(tmp_path, "from tools import one\nimport jax")
    found = reach(tmp_path / "claims/test_a.py", tmp_path)
    told = {found.digest(tmp_path, *options) for options in ((), ("float32",), ("float64",))}
    monkeypatch.setattr("eosbench.reach._version", lambda name: "0")
    assert len(told | {found.digest(tmp_path)}) == 4


@pytest.fixture
def project(pytester):
    texts = {
        "claims/__init__": "",
        "claims/setting": "power = 2",
        "claims/test_a": claim("a"),
        "claims/test_b": claim("b", "from .setting import power", "assert power"),
    }
    write(pytester.path, texts)
    return pytester


def run(project, *arguments):
    """The ids that ran again, the claims' verdicts, and those that were kept."""
    done = project.runpytest_subprocess("claims", "-p", "no:cacheprovider", "-q", *arguments)
    lines = [json.loads(line) for line in (project.path / "claims-report/evidence.jsonl").read_text().splitlines()]
    started = {line["nodeid"].split("::")[0] for line in lines if line["type"] == "started"}
    claims = json.loads((project.path / "claims-report/claims.json").read_text())
    assert claims["complete"]
    kept = {line["id"] for line in lines if line["type"] == "claim" and line["kept"]}
    return done, started, {claim["id"]: claim["verdict"] for claim in claims["claims"]}, kept


HOLD = {"toy/a": "holds", "toy/b": "holds"}


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["serial", "n2"])
def test_only_what_changed_runs_again(project, workers):
    first = run(project, *workers)
    assert (first[1], first[2], first[3]) == ({"claims/test_a.py", "claims/test_b.py"}, HOLD, set())
    before = json.loads((project.path / "claims-report/claims.json").read_text())["cases"]

    done, started, verdicts, kept = run(project, *workers, "--claims-changed")
    assert (done.ret, started, verdicts, kept) == (0, set(), HOLD, set(HOLD))
    done.stdout.fnmatch_lines(["*2 claims were kept from the run of 20*"])
    assert json.loads((project.path / "claims-report/claims.json").read_text())["cases"] == before

    (project.path / "claims/setting.py").write_text("power = 3")
    done, started, verdicts, kept = run(project, *workers, "--claims-changed")
    assert (done.ret, started, verdicts, kept) == (0, {"claims/test_b.py"}, HOLD, {"toy/a"})
    assert run(project, *workers)[3] == set()  # without the option all run


def test_what_is_new_runs_and_what_is_gone_is_gone(project):
    run(project)
    write(project.path, {"claims/test_c": claim("c")})
    (project.path / "claims/test_b.py").unlink()
    _, started, verdicts, kept = run(project, "--claims-changed")
    assert (started, verdicts, kept) == ({"claims/test_c.py"}, {"toy/a": "holds", "toy/c": "holds"}, {"toy/a"})


def test_a_case_that_ended_in_an_error_runs_again(project):
    write(project.path, {"claims/test_a": claim("a", body="assert False")})
    assert run(project)[2]["toy/a"] == "broken"
    assert run(project, "--claims-changed")[1] == {"claims/test_a.py"}


def test_without_a_full_report_that_ended_all_run(project):
    assert run(project, "--claims-changed")[1] == {"claims/test_a.py", "claims/test_b.py"}
    evidence = project.path / "claims-report/evidence.jsonl"
    evidence.write_text("\n".join(evidence.read_text().splitlines()[:-1]) + "\n")
    assert run(project, "--claims-changed")[1] == {"claims/test_a.py", "claims/test_b.py"}
    assert run(project, "--claims-changed", "--claims-dtype", "float32")[1] == {"claims/test_a.py", "claims/test_b.py"}


PROVED = """identity = Identity([("square", "(a + 1)**2", "=", "a**2 + 2*a + 1")], scalars="a")
    evidence.proved("square", prove_identity(identity), identity.theorem)"""


def test_a_certificate_is_kept_with_the_claim_that_it_proves(project):
    imports = "from eosbench.proof import Identity, prove_identity"
    write(project.path, {"claims/test_a": claim("a", imports, PROVED)})
    run(project)
    certificates = project.path / "claims-report/certificates"
    before = {file.name: file.read_bytes() for file in certificates.rglob("*.json")}
    assert before
    assert run(project, "--claims-changed")[3] == set(HOLD)
    assert {file.name: file.read_bytes() for file in certificates.rglob("*.json")} == before
    next(certificates.rglob("*.json")).unlink()
    assert run(project, "--claims-changed")[1] == {"claims/test_a.py"}
