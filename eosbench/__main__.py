"""The command `eosbench`, also as `python -m eosbench`."""

import sys

from eosbench.extras import missing_claims


def main() -> None:
    """Run the command line; where the extra that it needs is missing, say so."""
    if sentence := missing_claims():
        print(f"eosbench: {sentence}", file=sys.stderr)
        raise SystemExit(2)
    from eosbench.cli import app

    app(prog_name="eosbench")


if __name__ == "__main__":
    main()
