"""The command line.

Exit status: 0 all as expected, 1 drift or failing cases, 2 wrong usage; `run` passes on pytest's own.
"""

import difflib
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from eosbench import catalogue
from eosbench.claim import Claim, ClaimError, Document
from eosbench.extras import missing_dask
from eosbench.raised import is_ours, place, told

app = typer.Typer(
    name="eosbench",
    help="Theory about gradient descent at the edge of stability, as executable claims.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def replace_unshowable_characters() -> None:
    """Where the terminal knows no ✔ it shows a question mark; the word stands beside it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


ClaimsDirectory = Annotated[Path, typer.Option("--claims", metavar="DIR", help="Where the claim files are.")]


@app.command("list")
def list_claims(
    claims: ClaimsDirectory = Path("claims"),
    topic: Annotated[str | None, typer.Option(help="Only this topic, the first part of an id.")] = None,
    document: Annotated[
        str | None,
        typer.Option(help="Only claims of this document, by its key, or of all with this in title or authors."),
    ] = None,
    verdict: Annotated[str | None, typer.Option(help="Only claims that are expected to get this verdict.")] = None,
    severity: Annotated[
        str | None, typer.Option(help="Only claims off by this: false, wrong constant, missing hypothesis or slip.")
    ] = None,
) -> None:
    """List the claims with the verdicts they are expected to get.

    Example: eosbench list --topic orbit
    """
    from eosbench.report.terminal import columns, table

    stated = _read(claims)
    keys = None if document is None else _documents(document, [claim.source.document for claim, _ in stated])
    found = [
        claim
        for claim, _ in stated
        if topic in (None, claim.topic)
        and (keys is None or claim.source.document.key in keys)
        and verdict in (None, claim.expected)
        and severity in (None, claim.severity)
    ]
    if not found:
        known: dict[str, set[str]] = {
            "--topic": {claim.topic for claim, _ in stated},
            "--document": {claim.source.document.key for claim, _ in stated},
            "--verdict": {claim.expected for claim, _ in stated},
            "--severity": {claim.severity for claim, _ in stated if claim.severity},
        }
        choices = "; ".join(f"{option} {', '.join(sorted(words))}" for option, words in known.items() if words)
        _refuse(f"no claim in {claims} matches; there are {choices}")
    shown: dict[str, list[str]] = {
        "claim": [claim.id for claim in found],
        "expected": [claim.expected for claim in found],
        "severity": [claim.severity or "" for claim in found],
        "document": [claim.source.document.key for claim in found],
        "place": [claim.source.place for claim in found],
    }
    print(table(shown, columns(), dispensable=("place", "document", "severity")))


@app.command()
def show(
    claim: Annotated[str, typer.Argument(metavar="CLAIM", help="The id of a claim.")],
    claims: ClaimsDirectory = Path("claims"),
) -> None:
    """Show one claim: what is printed, what is true, where it stands, and how to run it.

    Example: eosbench show orbit/quartic
    """
    found, file = _find(claim, claims)
    document = found.source.document
    elsewhere = "" if claims == Path("claims") else f" --claims {shlex.quote(str(claims))}"
    fields = {
        "expected": found.expected,
        "severity": found.severity,
        "document": f"{document.title} ({document.key})",
        "place": found.source.place,
        "printed": found.printed,
        "corrected": found.corrected,
        "why": found.why,
        "coarse": found.coarse,
        "out of scope": found.out_of_scope,
        "uses": ", ".join(found.uses),
        "experiment": found.experiment if found.experiment != found.id else "",
        "file": str(file),
        "run": "" if found.out_of_scope else f"eosbench run {found.id}{elsewhere}",
    }
    print(found.id)
    print(_fields((name, text) for name, text in fields.items() if text))


@app.command()
def run(
    chosen: Annotated[list[str] | None, typer.Argument(metavar="[CLAIM]...", help="Ids; by default all.")] = None,
    claims: ClaimsDirectory = Path("claims"),
    workers: Annotated[int, typer.Option("-n", min=0, help="Worker processes; 0 runs all in one.")] = 0,
    report: Annotated[Path, typer.Option(metavar="DIR", help="Where the report goes.")] = Path("claims-report"),
    dtype: Annotated[str, typer.Option(help="float64, or float32 to see which claims still resolve.")] = "float64",
    scale: Annotated[str, typer.Option(help="small, or paper for the size of the paper's experiments.")] = "small",
    changed: Annotated[
        bool, typer.Option("--changed", help="Keep what has not changed since the last report.")
    ] = False,
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Run on the workers of the Dask cluster with this scheduler.")
    ] = None,
) -> None:
    """Run claims and report, through the pytest command that it prints.

    Example: eosbench run orbit/quartic -n 2
    """
    if dask and workers:
        _refuse(f"-n {workers} and --dask {dask}: cases run in processes here or on a cluster; give one of them")
    if dask and (sentence := missing_dask()):
        _refuse(sentence)
    command = ["pytest", str(claims), f"--claims-report={report}", "--claims-progress", "-q"]
    if chosen:
        command += [f"--claims-only={_find(name, claims)[0].id}" for name in chosen]
    if workers:
        command += ["-n", str(workers)]
    if dtype != "float64":
        command += ["--claims-dtype", dtype]
    if scale != "small":
        command += ["--claims-scale", scale]
    if changed:
        command.append("--claims-changed")
    if dask:
        command += ["--claims-dask", dask]
    print("$", shlex.join(command), flush=True)
    # In place of this process, so that Ctrl-C and SIGTERM reach the one that writes the report.
    os.execv(sys.executable, [sys.executable, "-m", *command])


@app.command()
def explain(
    case: Annotated[str, typer.Argument(metavar="CASE", help="A pytest id, as the report gives it for each case.")],
) -> None:
    """Run one case again and tell what it required, measured and predicted, or how it failed.

    Example: eosbench explain "claims/orbit/test_quartic.py::test_the_two_cycle_attracts[eta=1.05]"
    """
    from eosbench.report.explain import explained
    from eosbench.report.results import ResultsError, read
    from eosbench.report.terminal import columns

    if "::" not in case:
        _refuse(
            f"{case!r} is no case; give a pytest id such as "
            "claims/orbit/test_quartic.py::test_the_two_cycle_attracts[eta=1.05]"
        )
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "pytest", case, f"--claims-report={directory}", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
        found = sorted(Path(directory).rglob("evidence.jsonl"))
        try:
            results = read(found[0]) if found else None
        except ResultsError as problem:
            _refuse(str(problem))
    if results is None:
        _refuse(f"pytest ran no case {case!r}; see `pytest --collect-only -q` for the ids\n{done.stdout.strip()}")
    print(explained(results, columns()))
    if any(case.status in ("error", "timeout", "crashed") for case in results.cases):
        # pytest's account of a failure, or of a crash whatever was heard last.
        account = re.search(r"^=+ (FAILURES|ERRORS) =+\n.*?(?=^=+ claims =+$)", done.stdout, re.DOTALL | re.MULTILINE)
        print(f"\n{account[0] if account else done.stdout + done.stderr}".rstrip())
    raise typer.Exit(done.returncode)


@app.command()
def report(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="An evidence.jsonl, also of a run that was killed, or its directory.")
    ],
    directory: Annotated[Path | None, typer.Option("-o", metavar="DIR", help="By default beside the file.")] = None,
    kept: Annotated[
        Path | None,
        typer.Option("--keep", metavar="DIR", help="Also its Markdown pages there, to be kept with the code."),
    ] = None,
) -> None:
    """Reach the verdicts of a results file again and write its report, without running anything.

    Example: eosbench report claims-report/evidence.jsonl -o /tmp/report
    """
    from eosbench.report import ResultsError, keep, summary, write

    file = file / "evidence.jsonl" if file.is_dir() else file
    directory = directory or file.parent
    try:
        results = write(file, directory)
    except ResultsError as problem:
        _refuse(str(problem))
    except OSError as problem:
        _refuse(f"{directory} cannot be written ({problem.strerror}); name another directory with -o DIR")
    print(summary(results))
    if kept is not None:
        try:
            keep(results, kept)
        except ResultsError as problem:
            _refuse(str(problem))
        except OSError as problem:
            _refuse(f"{kept} cannot be written ({problem.strerror}); name another directory with --keep DIR")
    raise typer.Exit(1 if results.drifted else 0)


@app.command()
def verify(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory of a report, or its evidence.jsonl.")],
) -> None:
    """Check the certificates of a report again, by the checkers alone: without a prover, and without JAX.

    Status 1 if one of them is refused.

    Example: eosbench verify claims-report
    """
    from eosbench.report.certificates import verify as checked_again
    from eosbench.report.notation import plural
    from eosbench.report.results import ResultsError, read

    file = directory / "evidence.jsonl" if directory.is_dir() else directory
    try:
        found = checked_again(read(file), file.parent)
    except ResultsError as problem:
        _refuse(str(problem))
    for one in found:
        print(f"{one.claim}  {one.case}  {one.name!r}  {one.kind}  {one.sentence}")
    refused = sum(not one.checked.accepted for one in found)
    claims = len({one.claim for one in found})
    told = f"{plural(len(found), 'certificate')} of {plural(claims, 'claim')}"
    print(f"{told}: {f'{refused} refused' if refused else 'all accepted'}.")
    raise typer.Exit(1 if refused else 0)


@app.command()
def cite(
    claim: Annotated[str, typer.Argument(metavar="CLAIM", help="The id of a claim.")],
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="[DIR]",
            help="The directory of a report, whose partial/ is looked into as well; or an evidence.jsonl.",
        ),
    ] = Path("claims-report"),
) -> None:
    """Print a verdict as others cite it: a sentence and a BibTeX entry, with the version, commit and date of the run.

    Example: eosbench cite orbit/quartic claims-report
    """
    from eosbench.report.cite import citation
    from eosbench.report.results import ResultsError, read

    files = [directory / part / "evidence.jsonl" for part in ("", "partial")] if directory.is_dir() else [directory]
    files = [file for file in files if file.exists()]
    if not files:
        _refuse(f"{directory} has no results; run the claim first: eosbench run {claim}")
    verdicts: dict[str, str] = {}
    for file in files:
        try:
            results = read(file)
        except ResultsError as problem:
            _refuse(str(problem))
        for found in results.claims:
            cited = citation(found, results)
            if found.id == claim and cited is not None:
                print(f"{cited.line}\n\n{cited.bibtex}", end="")
                return
            verdicts[found.id] = found.verdict
    where = " and ".join(map(str, files))
    if claim not in verdicts:
        _refuse(f"{where} has no claim {claim!r}; {_near(claim, verdicts, f'see `eosbench report {files[0]}`')}")
    _refuse(f"{claim} is {verdicts[claim]} in {where}, which is no verdict to cite; run it: eosbench run {claim}")


@app.command()
def compare(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A claims.json, or the directory of a report.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Another.")],
) -> None:
    """Tell verdicts that changed, constants that moved and claims that take longer.

    Status 1 if a verdict got worse, or a constant is no longer checked.

    Example: eosbench compare claims-report-0.1 claims-report
    """
    from eosbench.report.claims_json import load
    from eosbench.report.compare import compare as differences
    from eosbench.report.results import ResultsError

    try:
        changes = differences(load(old), load(new))
    except ResultsError as problem:
        _refuse(str(problem))
    for change in changes:
        print(f"{'WORSE  ' if change.worse else ''}{change.claim} {change.sentence}")
    if not changes:
        print("Nothing changed.")
    raise typer.Exit(1 if any(change.worse for change in changes) else 0)


@app.command()
def history(directory: Annotated[Path, typer.Argument(metavar="DIR", help="Reports of several versions.")]) -> None:
    """Show the verdicts over versions, from every claims.json below a directory.

    Example: eosbench history reports/
    """
    from tabulate import tabulate

    from eosbench.report.compare import history as verdicts
    from eosbench.report.results import ResultsError

    try:
        versions, rows = verdicts(directory)
    except ResultsError as problem:
        _refuse(str(problem))
    print(tabulate(rows, headers=["claim", *versions]))


@app.command()
def bench(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The results_dir of asv.")] = Path(
        "benchmarks/results"
    ),
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="Where the page is written.")] = Path(
        "bench-report/index.html"
    ),
) -> None:
    """Render what asv measured over commits as one offline page.

    Status 1 if a count or an error got worse at the last commit, or is not measured there, or cannot be compared.

    Example: asv run && eosbench bench
    """
    from eosbench.report import benchmarks
    from eosbench.report.benchmarks_page import complaints, headline, page, remarks

    try:
        machines = benchmarks.read(directory)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page(machines), encoding="utf-8")
    except benchmarks.BenchmarksError as problem:
        _refuse(str(problem))
    except OSError as problem:
        _refuse(f"{out} cannot be written ({problem.strerror}); name another file with --out FILE")
    found = complaints(machines)
    print(f"{headline(machines)}.")
    for sentence in (*found, *remarks(machines)):
        print(f"  {sentence}")
    print(f"Page: {out}")
    raise typer.Exit(1 if found else 0)


@app.command()
def new(
    claim: Annotated[str, typer.Argument(metavar="CLAIM", help="The id of the new claim, topic/name.")],
    claims: ClaimsDirectory = Path("claims"),
    document: Annotated[str | None, typer.Option(metavar="KEY", help="The key of its document, if it has one.")] = None,
    place: Annotated[str | None, typer.Option(help="Where it stands there, such as 'Theorem 4.4'.")] = None,
    title: Annotated[str | None, typer.Option(help="Of a new document: adds it to documents.toml.")] = None,
) -> None:
    """Write a claim file that runs, to start from: DIR/topic/test_name.py.

    Example: eosbench new descent/momentum
    """
    from eosbench.scaffold import PLACE, claim_path, write_claim

    path = claim_path(claim, claims)
    try:
        stated = {known.id: file for file in catalogue.claim_files([claims]) for known in catalogue.read_claims(file)}
        if claim in stated:
            _refuse(f"{stated[claim]} states {claim!r} already; choose another id, or edit that file")
        _, *others = write_claim(claim, claims, document, place or PLACE, title)
    except ClaimError as problem:
        _refuse(str(problem))
    except FileExistsError as problem:
        _refuse(f"{problem.filename} exists; choose another id, or edit that file")
    except NotADirectoryError as problem:
        _refuse(f"{problem.filename} lies in a file; name the directory of the claim files with --claims DIR")
    except OSError as problem:
        _refuse(f"{path} cannot be written ({problem.strerror}); name another directory with --claims DIR")
    print(f"{path} is written. It runs as it is: pytest {path}")
    if others:
        here = Path.cwd()
        shown = [str(file.relative_to(here) if file.is_relative_to(here) else file) for file in others]
        print(f"To be filled in as well: {', '.join(shown)}")


@app.command()
def doctor() -> None:
    """Tell versions, device, precision, cores, caches and data sets, and what is missing.

    Example: eosbench doctor
    """
    from eosbench.doctor import findings

    print(_fields(findings(), indent=0))


@app.command()
def sharpness(
    loss: Annotated[str, typer.Argument(metavar="MODULE:LOSS", help="A function of a pytree, in your own module.")],
    params: Annotated[str, typer.Option(help="The pytree in the same module, or a function that makes it.")] = "params",
    k: Annotated[int, typer.Option("-k", min=1, help="How many eigenvalues, from the top.")] = 1,
    rtol: Annotated[float, typer.Option(help="Tolerance relative to each value.")] = 1e-3,
) -> None:
    """Measure the largest Hessian eigenvalues of a loss of your own.

    Example: eosbench sharpness mymodel:loss --params initial -k 4
    """
    from eosbench.curvature import NotConvergedError
    from eosbench.curvature import sharpness as measure
    from eosbench.own_loss import OwnLossError, found

    sys.path.insert(0, str(Path.cwd()))
    try:
        function, point = found(loss, params)
    except OwnLossError as problem:
        _refuse(str(problem))
    try:
        spectrum = measure(function, point, k=k, rtol=rtol)
    except NotConvergedError as problem:
        reached = problem.spectrum
        if not reached.finite:
            _refuse(f"the loss, its gradient or its Hessian is nan or infinite at {params}; give another --params NAME")
        _refuse(
            f"not converged: the largest error is {float(reached.errors.max()):.2g} "
            f"after {int(reached.hvps)} products; give a larger --rtol"
        )
    except (Exception, SystemExit) as problem:
        if where := place(problem, Path.cwd()):  # raised by the loss, not about it
            remedy = f"the loss must be a function of {params} in terms of jax.numpy"
            _refuse(f"{loss} raised {told(problem)} at {where}; {remedy}")
        _refuse(f"{loss} at {params}: {problem if is_ours(problem) else told(problem)}")
    for value, error in zip(spectrum.values, spectrum.errors, strict=True):
        print(f"{float(value):.8g} ± {float(error):.2g}")
    print(f"{int(spectrum.hvps)} Hessian-vector products", file=sys.stderr)


def _read(directory: Path) -> list[tuple[Claim, Path]]:
    """The claims below a directory and their files, by id; what keeps others from being read goes to stderr."""
    if not directory.exists():
        _refuse(f"there is no directory {directory}; name that of the claim files with --claims DIR")
    try:
        files = catalogue.claim_files([directory])
        found = [(claim, file) for file in files for claim in catalogue.read_claims(file)]
    except ClaimError as problem:
        _refuse(str(problem))
    for sentence in catalogue.unreadable([directory]):
        print(f"eosbench: {sentence}", file=sys.stderr)
    for name, n in Counter(claim.id for claim, _ in found).items():
        if n > 1:
            places = " and in ".join(str(file) for claim, file in found if claim.id == name)
            print(f"eosbench: {name} is stated in {places}; rename one of them", file=sys.stderr)
    if not found:
        _refuse(f"{directory} states no claims; name the directory of the claim files with --claims DIR")
    return sorted(found, key=lambda entry: entry[0].id)


def _find(name: str, directory: Path) -> tuple[Claim, Path]:
    known = {claim.id: (claim, file) for claim, file in _read(directory)}
    if name not in known:
        _refuse(f"there is no claim {name!r}; {_near(name, known, f'see `eosbench list --claims {directory}`')}")
    return known[name]


def _near(name: str, known: Iterable[str], otherwise: str) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"did you mean {near[0]}?" if near else otherwise


def _documents(asked: str, documents: Iterable[Document]) -> set[str]:
    """The key that was asked for, or those of all documents that have each of its words in their title or authors."""
    known = {document.key: f"{document.key} {document.title} {document.authors}" for document in documents}
    if asked in known:
        return {asked}
    words = asked.casefold().split()
    found = {key for key, text in known.items() if words and all(word in text.casefold() for word in words)}
    if not found:
        spoken = {word.casefold(): word for key, text in known.items() for word in (*re.findall(r"\w+", text), key)}
        near = [spoken[word] for word in difflib.get_close_matches(asked.casefold(), spoken, n=3, cutoff=0.7)]
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(sorted(known))}"
        _refuse(f"no document has {asked!r} as its key, or in its title or authors; {hint}")
    return found


def _fields(fields: Iterable[tuple[str, str]], indent: int = 2) -> str:
    """Names and their texts in two columns that fit the terminal; no word is broken, so that formulas can be copied."""
    from eosbench.report.terminal import columns

    known = list(fields)
    start = indent + max(len(name) for name, _ in known) + 2
    return "\n".join(
        textwrap.fill(
            text,
            max(columns(), start + 20),
            initial_indent=f"{' ' * indent}{name}".ljust(start),
            subsequent_indent=" " * start,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for name, text in known
    )


def _refuse(problem: str) -> NoReturn:
    print(f"eosbench: {problem}", file=sys.stderr)
    raise typer.Exit(2)
