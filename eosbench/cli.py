"""The command line.

Exit status: 0 all as expected, 1 drift or failing cases, 2 wrong usage; `run` passes on pytest's own.
"""

import difflib
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from eosbench import catalogue
from eosbench.claim import Claim, ClaimError

app = typer.Typer(
    name="eosbench",
    help="Theory about gradient descent at the edge of stability, as executable claims.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ClaimsDirectory = Annotated[Path, typer.Option("--claims", metavar="DIR", help="Where the claim files are.")]


@app.command("list")
def list_claims(
    claims: ClaimsDirectory = Path("claims"),
    topic: Annotated[str | None, typer.Option(help="Only this topic, the first part of an id.")] = None,
    document: Annotated[str | None, typer.Option(help="Only claims of this document, by its key.")] = None,
    verdict: Annotated[str | None, typer.Option(help="Only claims that are expected to get this verdict.")] = None,
) -> None:
    """List the claims with the verdicts they are expected to get.

    Example: eosbench list --topic orbit
    """
    from tabulate import tabulate

    found = [
        claim
        for claim in _read(claims)
        if topic in (None, claim.topic)
        and document in (None, claim.source.document.key)
        and verdict in (None, claim.expected)
    ]
    if not found:
        _refuse(f"no claim in {claims} matches; see `eosbench list --claims {claims}` without filters")
    rows = [(claim.id, claim.expected, claim.source.document.key, claim.source.place) for claim in found]
    print(tabulate(rows, headers=("claim", "expected", "document", "place"), maxcolwidths=[None, None, None, 36]))


@app.command()
def show(
    claim: Annotated[str, typer.Argument(metavar="CLAIM", help="The id of a claim.")],
    claims: ClaimsDirectory = Path("claims"),
) -> None:
    """Show one claim: what is printed, what is true, where it stands.

    Example: eosbench show orbit/quartic
    """
    found = _find(claim, claims)
    document = found.source.document
    print(f"{found.id}\n  expected   {found.expected}\n  document   {document.title} ({document.key})")
    print(f"  place      {found.source.place}\n  printed    {found.printed}")
    if found.corrected:
        print(f"  corrected  {found.corrected}")
    if found.out_of_scope:
        print(f"  out of scope: {found.out_of_scope}")


@app.command()
def run(
    chosen: Annotated[list[str] | None, typer.Argument(metavar="[CLAIM]...", help="Ids; by default all.")] = None,
    claims: ClaimsDirectory = Path("claims"),
    workers: Annotated[int, typer.Option("-n", min=0, help="Worker processes; 0 runs all in one.")] = 0,
    report: Annotated[Path, typer.Option(metavar="DIR", help="Where the report goes.")] = Path("claims-report"),
) -> None:
    """Run claims and report, through the pytest command that it prints.

    Example: eosbench run orbit/quartic -n 2
    """
    command = ["pytest", str(claims), "--claims-report", str(report)]
    if chosen:
        command += ["-k", " or ".join(_find(name, claims).id for name in chosen)]
    if workers:
        command += ["-n", str(workers)]
    print("$", shlex.join(command), flush=True)
    raise typer.Exit(subprocess.run([sys.executable, "-m", *command], env=os.environ).returncode)


@app.command()
def report(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An evidence.jsonl, also of a run that was killed.")],
    directory: Annotated[Path | None, typer.Option("-o", metavar="DIR", help="By default beside the file.")] = None,
) -> None:
    """Reach the verdicts of a results file again and write its report, without running anything.

    Example: eosbench report claims-report/evidence.jsonl -o /tmp/report
    """
    from eosbench.report import ResultsError, summary, write

    try:
        results = write(file, directory or file.parent)
    except (ResultsError, OSError) as problem:
        _refuse(str(problem))
    print(summary(results))
    raise typer.Exit(1 if results.drifted else 0)


def _read(directory: Path) -> list[Claim]:
    if not directory.exists():
        _refuse(f"there is no {directory}; name the directory of the claim files with --claims DIR")
    try:
        found = [claim for file in catalogue.claim_files([directory]) for claim in catalogue.read_claims(file)]
    except ClaimError as problem:
        _refuse(str(problem))
    if not found:
        _refuse(f"{directory} states no claims; name the directory of the claim files with --claims DIR")
    return sorted(found, key=lambda claim: claim.id)


def _find(name: str, directory: Path) -> Claim:
    known = {claim.id: claim for claim in _read(directory)}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"see `eosbench list --claims {directory}`"
        _refuse(f"there is no claim {name!r}; {hint}")
    return known[name]


def _refuse(problem: str) -> NoReturn:
    print(f"eosbench: {problem}", file=sys.stderr)
    raise typer.Exit(2)
