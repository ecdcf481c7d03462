"""What has to be the same in every process that runs cases: what computes, and the text of what is computed."""

import hashlib
import importlib.metadata
import json
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import eosbench
from eosbench.pytest_plugin.recorder import device, machine

PACKAGES = (
    "jax",
    "jaxlib",
    "numpy",
    "scipy",
    "optax",
    "equinox",
    "diffrax",
    "matfree",
    "python-flint",
    "scikit-learn",
    "pytest",
    "distributed",
)
MOST_TOLD = 3  # differences in one sentence


class Facts(NamedTuple):
    """What a process has, as plain JSON.

    Attributes:
        versions: of Python, eosbench and the packages that compute, by name; "none" where there is none.
        texts: a digest of each file, by its path, "none" where there is none; those of eosbench by their path in it.
        device: that on which JAX computes; empty of a process that computes nothing.
        machine: that on which it runs, which may be another one.
    """

    versions: dict[str, str]
    texts: dict[str, str]
    device: dict[str, str]
    machine: dict[str, Any]


def facts(files: Iterable[str], computes: bool = True) -> Facts:
    """What this process has: versions, the texts of eosbench and of these files, and, where it computes, a device."""
    package = Path(eosbench.__file__).parent
    own = {f"eosbench/{path.relative_to(package).as_posix()}": path for path in sorted(package.rglob("*.py"))}
    return Facts(
        versions={
            "python": platform.python_version(),
            "eosbench": eosbench.__version__,
            **{name: _version(name) for name in PACKAGES},
        },
        texts={name: _digest(path) for name, path in (own | {file: Path(file) for file in files}).items()},
        device=device() if computes else {},
        machine=machine(),
    )


def difference(wanted: Facts, found: Facts, where: str) -> str | None:
    """The sentence that tells in what a worker is not as it has to be, if it is not."""
    there = found.versions | found.device
    told = [
        f"{name} {there.get(name, 'none')} in place of {here}"
        for name, here in (wanted.versions | wanted.device).items()
        if there.get(name, "none") != here
    ]
    for file in wanted.texts | found.texts:
        text = found.texts.get(file, "none")
        if text != wanted.texts.get(file, "none"):
            told.append(f"no {file}" if text == "none" else f"another text of {file}")
    if not told:
        return None
    more = f" and {len(told) - MOST_TOLD} more" if len(told) > MOST_TOLD else ""
    return (
        f"{where} is not as the rest of this run: it has {', '.join(told[:MOST_TOLD])}{more}; "
        "make it the same there, or take the worker out of the cluster"
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return "none"


if __name__ == "__main__":
    print(json.dumps(facts(json.load(sys.stdin))))
