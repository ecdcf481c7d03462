"""Double precision, decided once before any test module is imported, as the plugin does it for claims."""

import jax

pytest_plugins = ["pytester"]

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_default_matmul_precision", "highest")
