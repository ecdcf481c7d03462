"""The core installs by itself; what the extra for claims brings is asked for in one sentence."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from eosbench.extras import CLAIMS, DASK, missing_claims, missing_dask

ROOT = Path(__file__).parents[1]
WITHOUT = "import sys; sys.modules |= dict.fromkeys({absent!r}); "


def python(program, absent, *arguments, cwd=ROOT):
    command = [sys.executable, "-c", WITHOUT.format(absent=absent) + program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


@pytest.mark.parametrize(("extra", "modules"), [("claims", CLAIMS), ("dask", DASK)])
def test_an_extra_is_what_the_project_says(extra, modules):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {re.match(r"[\w-]+", requirement)[0] for requirement in project["optional-dependencies"][extra]}
    owners = packages_distributions()
    assert {owners[module][0].lower() for module in modules} == named - {"pytest", "eosbench"}


def test_nothing_is_missing_here():
    assert missing_claims() is None
    assert missing_dask() is None


@pytest.mark.parametrize("absent", [CLAIMS, ("typer",)])
def test_the_command_says_which_extra_it_needs(absent):
    done = python("sys.argv = ['eosbench', 'list']; from eosbench.__main__ import main; main()", absent)
    assert done.returncode == 2
    assert done.stderr == (
        f"eosbench: claims and their reports need {', '.join(absent)}, not installed here; "
        'pip install "eosbench[claims]"\n'
    )


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("sys.argv = ['eosbench', 'run', '--dask', 'a']; from eosbench.__main__ import main; main()", 2),
        ("import pytest; sys.exit(pytest.main(['--claims-dask=a']))", pytest.ExitCode.USAGE_ERROR),
    ],
)
def test_a_run_on_a_cluster_says_which_extra_it_needs(program, status, tmp_path):
    done = python(program, DASK, cwd=tmp_path)
    sentence = 'a run on a Dask cluster needs distributed, not installed here; pip install "eosbench[dask]"'
    assert done.stderr.strip().endswith(sentence)
    assert done.returncode == status


def test_sharpness_is_measured_and_followed_without_the_extra():
    program = (
        "import eosbench, jax.numpy as jnp, optax; "
        "loss = lambda x: jnp.sum(jnp.arange(1.0, 4.0) * x**2) / 2; "
        "print(eosbench.sharpness(loss, jnp.ones(3)).values); "
        "probes = {'s': eosbench.Sharpness()}; "
        "print(eosbench.train(loss, jnp.ones(3), optax.sgd(0.1), 2, probes).probes['s'].values[-1])"
    )
    done = python(program, (*CLAIMS, "pytest"))
    assert done.stdout == "[3.]\n[3.]\n", done.stderr


def test_pytest_says_so_of_a_file_of_claims_and_leaves_other_files_alone(tmp_path):
    (tmp_path / "test_other.py").write_text("def test_it(): pass\n")
    run = "import pytest; sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', sys.argv[1]]))"
    # xdist is a plugin that pytest itself has loaded by then.
    absent = tuple(module for module in CLAIMS if module != "xdist")
    assert python(run, absent, "test_other.py", cwd=tmp_path).returncode == 0
    (tmp_path / "test_claim.py").write_text(
        "from eosbench import Claim, Document, Source\n"
        "one = Claim('toy/one', source=Source(Document('a', 'A'), '1'), printed='x', expected='holds')\n"
    )
    done = python(run, absent, "test_claim.py", cwd=tmp_path)
    assert 'not installed here; pip install "eosbench[claims]"' in done.stdout + done.stderr
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
