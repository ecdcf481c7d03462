"""Double precision, decided once before any test module is imported, as the plugin does it for claims."""

import os
import sys
import traceback
from collections.abc import Callable, Generator
from pathlib import Path

# Each worker has a core. With a thread for each core in each worker, BLAS waits for itself: forty times as long for the
# eigenvalues of a matrix of 300 rows. It reads this when NumPy is imported; what tests start inherits it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ["EOSBENCH_COMPILED"] = "off"  # claims of the tests leave nothing in the user's cache

import jax
import optax
import pytest

pytest_plugins = ["pytester"]

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_default_matmul_precision", "highest")

_lowered: list[str] = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, _, **__: _lowered.append(event) if event.endswith("jaxpr_to_mlir_module_duration") else None
)


@pytest.fixture(autouse=True, scope="module")
def forget_what_was_compiled() -> Generator[None]:
    """Each program that JAX keeps holds some of the memory maps that the system grants a process, and they run out."""
    yield
    jax.clear_caches()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    """Under JAX_NUMPY_DTYPE_PROMOTION=strict, skip what optax cannot do: its own code multiplies floats by counts."""
    try:
        return (yield)
    except Exception as error:
        if where := _promoted_in_optax(error):
            pytest.skip(f"optax promotes dtypes in its own code, in {where}, which strict promotion forbids.")
        raise


pytest_runtest_setup = pytest_runtest_call


def _promoted_in_optax(error: BaseException | None) -> str | None:
    """The function of optax that mixed dtypes, if that is what led to an error."""
    while error is not None:
        if type(error).__name__ == "TypePromotionError":
            frames = traceback.extract_tb(error.__traceback__)
            calls = [frame for frame in frames if "jax" not in Path(frame.filename).parts]
            last = calls[-1]
            inside = Path(last.filename).is_relative_to(Path(optax.__file__).parent)
            return f"{last.name} of {Path(last.filename).name}" if inside else None
        error = error.__cause__ or error.__context__
    return None


@pytest.fixture(autouse=True)
def claims_are_forgotten() -> Generator[None]:
    """What a test imports of the project's claims is not in the way of tests that write a folder of this name."""
    had = "claims" in sys.modules
    yield
    if not had:
        for name in [name for name in sys.modules if name.partition(".")[0] == "claims"]:
            del sys.modules[name]


@pytest.fixture
def compilations() -> Callable[[], int]:
    """How many programs JAX has made ready for its compiler since the last call, or since the test began."""
    _lowered.clear()

    def count() -> int:
        found = len(_lowered)
        _lowered.clear()
        return found

    return count
