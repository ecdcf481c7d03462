"""What an installation of the core alone lacks, told in one sentence with the command that installs it."""

from importlib.util import find_spec

CLAIMS = ("flint", "jinja2", "latex2mathml", "matplotlib", "pooch", "sklearn", "tabulate", "typer", "xdist")
"""The modules of the extra `claims`: what runs claims, proves them and reports on them."""


def missing_claims() -> str | None:
    """The sentence, if something of the extra `claims` is not installed."""
    absent = [module for module in CLAIMS if find_spec(module) is None]
    if not absent:
        return None
    return f'claims and their reports need {", ".join(absent)}, not installed here; pip install "eosbench[claims]"'
