"""`python -m eosbench` is the command `eosbench`."""

from eosbench.cli import app

app(prog_name="eosbench")
