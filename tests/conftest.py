"""Double precision, decided once before any test module is imported, as the plugin does it for claims."""

from collections.abc import Callable

import jax
import pytest

pytest_plugins = ["pytester"]

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_default_matmul_precision", "highest")

_lowered: list[str] = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, _, **__: _lowered.append(event) if event.endswith("jaxpr_to_mlir_module_duration") else None
)


@pytest.fixture
def compilations() -> Callable[[], int]:
    """How many programs JAX has made ready for its compiler since the last call, or since the test began."""
    _lowered.clear()

    def count() -> int:
        found = len(_lowered)
        _lowered.clear()
        return found

    return count
