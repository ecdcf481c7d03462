"""What this machine offers to claims, and how to get what it lacks."""

import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import eosbench
from eosbench.compiled import SETTING, folder

_PACKAGES = ("jax", "jaxlib", "numpy", "scipy", "optax", "equinox", "diffrax", "pytest", "pytest-xdist")


def findings() -> Iterator[tuple[str, str]]:
    """(what, finding) for each thing that decides what runs here; imports JAX."""
    import jax

    yield "python", f"{platform.python_version()} at {sys.executable}"
    yield "eosbench", eosbench.__version__  # the metadata of an editable install may be of an older one
    for package in _PACKAGES:
        yield package, importlib.metadata.version(package)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield "cores", f"{cores} visible to this process, of {os.cpu_count()}; pytest claims/ -n {cores} uses them"
    yield "devices", ", ".join(sorted({device.device_kind for device in jax.devices()}))
    if jax.default_backend() == "cpu":
        yield "gpu", 'none; where there is one: pip install "eosbench[cuda]"'
    yield "precision", "float64 while claims run (the plugin switches it on); --claims-dtype float32 to try the other"
    cache = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    kept = f"{folder()}, while claims run; {SETTING}=off keeps none" if folder() else "off"
    yield "compilation cache", str(cache) if cache else f"{kept}; JAX_COMPILATION_CACHE_DIR is for all of JAX"
    yield "digits", "1,797 images, embedded (scikit-learn)"
    data = os.environ.get("EOSBENCH_DATA")
    if data is None:
        yield "other data", "EOSBENCH_DATA is not set; point it at a folder with CIFAR-10 and MNIST for what needs them"
    else:
        found = sorted(path.name for path in Path(data).iterdir()) if Path(data).is_dir() else None
        yield (
            "other data",
            f"{data}: {', '.join(found) or 'empty'}" if found is not None else f"{data}: no such folder",
        )
