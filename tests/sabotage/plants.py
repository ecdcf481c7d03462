"""The table of planted errors, and what happens when one is planted."""

import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLES = Path(__file__).parent
COPIED = ("eosbench", "claims", "tests", "docs", "pyproject.toml", "README.md", "tox.ini")


@dataclass(frozen=True)
class Plant:
    """A text of the project in place of another.

    Attributes:
        error: what is wrong with it, in words.
        file: where, from the root of the project.
        right: the text that stands there, exactly once.
        wrong: the text in its place.
        noticed_by: the arguments of the pytest run that has to fail.
        claim: the claim whose checks have to notice it, if it is one of a claim.
        size: by which part a number of the statement is off, 0.02 for 2 %, where the error is one of a number.
    """

    error: str
    file: str
    right: str
    wrong: str
    noticed_by: str
    claim: str | None = None
    size: float | None = None


def plants() -> list[Plant]:
    """All of them, from the tables beside this file."""
    tables = sorted(TABLES.glob("*.toml"))
    return [Plant(**row) for table in tables for row in tomllib.loads(table.read_text(encoding="utf-8"))["plant"]]


def planted(plant: Plant, folder: Path) -> Path:
    """A copy of the project with the error in it.

    Raises:
        ValueError: the text is not there, or more than once.
    """
    copy = folder / "project"
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "results", "*.png")
            shutil.copytree(source, copy / name, ignore=ignored)
        else:
            shutil.copy(source, copy / name)
    file = copy / plant.file
    text = file.read_text(encoding="utf-8")
    if text.count(plant.right) != 1:
        raise ValueError(
            f"{plant.right!r} stands {text.count(plant.right)} times in {plant.file}, where {plant.error!r} is to be "
            "planted: it must stand there once."
        )
    file.write_text(text.replace(plant.right, plant.wrong), encoding="utf-8")
    return copy


def run(plant: Plant, folder: Path, compiled: Path, timeout: float = 1800) -> tuple[int, str]:
    """The exit status of the run that has to notice the error, and the end of what it printed.

    Most of what it compiles has no error in it: JAX keeps that in the folder `compiled`, for the next error.
    """
    copy = planted(plant, folder)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *plant.noticed_by.split()]
    environment = {
        "JAX_COMPILATION_CACHE_DIR": str(compiled),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        **os.environ,
        "PYTHONPATH": str(copy),
    }
    done = subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL
    )
    return done.returncode, (done.stdout + done.stderr)[-3000:]


def is_noticed(status: int) -> bool:
    """Whether tests failed; a run that could not begin, or found no test, noticed nothing."""
    return status == 1
