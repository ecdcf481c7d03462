"""What an installation of the core alone lacks, told in one sentence with the command that installs it."""

from collections.abc import Iterable
from importlib.util import find_spec

CLAIMS = ("flint", "jinja2", "latex2mathml", "matplotlib", "pooch", "sklearn", "tabulate", "typer", "xdist")
"""The modules of the extra `claims`: what runs claims, proves them and reports on them."""

DASK = ("distributed",)
"""The modules of the extra `dask`: what runs cases on a cluster."""


def missing_claims() -> str | None:
    """The sentence, if something of the extra `claims` is not installed."""
    return _missing("claims and their reports need", CLAIMS, "claims")


def missing_dask() -> str | None:
    """The sentence, if something of the extra `dask` is not installed."""
    return _missing("a run on a Dask cluster needs", DASK, "dask")


def _missing(what: str, modules: Iterable[str], extra: str) -> str | None:
    absent = [module for module in modules if find_spec(module) is None]
    if not absent:
        return None
    return f'{what} {", ".join(absent)}, not installed here; pip install "eosbench[{extra}]"'
