"""Where the programs that claims compile are kept from run to run, so that a second run loads them."""

import os
from pathlib import Path

SETTING = "EOSBENCH_COMPILED"


def folder() -> Path | None:
    """A folder in the user's cache, or None where $EOSBENCH_COMPILED is "off" or there is no home to have it in."""
    if os.environ.get(SETTING) == "off":
        return None
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "eosbench" / "compiled"
    except RuntimeError:
        return None


def keep_compiled() -> None:
    """Have JAX keep its programs in the folder, unless the user told it where to, or that it is to keep none.

    Call it before JAX compiles anything, for then JAX decides. It knows a program by its text, the versions of JAX
    and the machine's features, so that what is loaded is what would be compiled; what it cannot load or write it
    compiles, with a warning.
    """
    import jax

    place, told = folder(), jax.config
    if place is None or told.jax_compilation_cache_dir or not told.jax_enable_compilation_cache:  # type: ignore[attr-defined]
        return
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        mine = place.stat().st_uid == os.getuid()  # a program that somebody else put there would be run
    except OSError:
        return
    if not mine or not os.access(place, os.W_OK):
        return
    jax.config.update("jax_compilation_cache_dir", str(place))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # claims compile many small ones
