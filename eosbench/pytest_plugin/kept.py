"""Claims that need not run again: what they rest on is what it was when a run before this one decided them."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from eosbench import catalogue
from eosbench.claim import ClaimError
from eosbench.reach import reach
from eosbench.records import (
    ClaimLine,
    DocumentLine,
    EndLine,
    Line,
    Outcome,
    Planned,
    RecordError,
    RunLine,
    claim_line,
    document_line,
    parse_line,
)

KEPT_FILES = pytest.StashKey[Collection[str]]()
"""Of the session's configuration: the files of claims that are kept, which are not collected."""


@dataclass
class _Before:
    """What a results file holds of a file of claims."""

    claims: list[ClaimLine] = field(default_factory=list)
    planned: list[Planned] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether all its cases ran."""
        ended = [self.outcomes.get(case.nodeid) for case in self.planned]
        return all(outcome is not None and outcome.status == "completed" for outcome in ended)


@dataclass(frozen=True)
class Kept:
    """The lines of the claims that are kept, by their files, in the order in which a results file has them.

    Attributes:
        files: each seen from pytest's root.
        certificates: what these cases proved, by the place of its file in the report.
    """

    files: dict[str, list[Line]] = field(default_factory=dict)
    certificates: dict[str, str] = field(default_factory=dict)

    @property
    def documents(self) -> dict[str, DocumentLine]:
        """The documents that the claims cite, by their keys."""
        return {line.key: line for line in self.lines(DocumentLine)}

    def lines(self, *kinds: type) -> list:
        """The lines of these kinds."""
        return [line for lines in self.files.values() for line in lines if isinstance(line, kinds)]


def unchanged(config: pytest.Config, directory: Path) -> Kept:
    """The claims that pytest was asked for and that the last full report decided as they are now.

    A file of claims is kept where all it reaches, the versions of what else it imports, Python's, and the options that
    decide its numbers are the same, and all its cases ran. Nothing is where there is no full report.
    """
    found = _read(directory / "evidence.jsonl")
    paths = [config.invocation_params.dir / argument.partition("::")[0] for argument in config.args]
    kept = Kept()
    for file in catalogue.claim_files(paths) if found else ():
        name = name_of(file, config.rootpath)
        before = found.get(name)
        if before is None or not before.complete:
            continue
        now = digest(file, config)
        certificates = {
            certificate.file: directory / certificate.file
            for outcome in before.outcomes.values()
            for record in outcome.records
            if (certificate := getattr(record, "certificate", None)) is not None
        }
        if any(line.reach != now for line in before.claims) or not all(
            path.is_file() for path in certificates.values()
        ):
            continue
        try:
            kept.files[name] = _lines(file, name, before)
        except ClaimError:
            continue  # its document changed so that it cannot be stated; pytest says so when it collects the file
        kept.certificates.update({place: path.read_text(encoding="utf-8") for place, path in certificates.items()})
    return kept


def digest(file: Path, config: pytest.Config) -> str:
    """Of all that the numbers of a file of claims rest on."""
    return reach(file, config.rootpath).digest(
        config.rootpath, config.getoption("--claims-dtype"), config.getoption("--claims-scale")
    )


def name_of(file: Path, root: Path) -> str:
    """A file as ids of pytest name it."""
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)


def _lines(file: Path, name: str, before: _Before) -> list[Line]:
    """The lines of a file's claims: their statements as they are now, for what is told of a document may change."""
    known = {line.id: line for line in before.claims}
    documents, claims = list[Line](), list[Line]()
    for claim in catalogue.read_claims(file):
        then = known[claim.id]
        documents.append(document_line(claim.source.document))
        claims.append(replace(claim_line(claim, name), vacuous=then.vacuous, reach=then.reach, kept=then.kept))
    return [*documents, *claims, *before.planned, *before.outcomes.values()]


def _read(path: Path) -> dict[str, _Before]:
    """What a results file holds, by files of claims; nothing unless it is that of a whole run that ended."""
    found: dict[str, _Before] = {}
    files: dict[str, str] = {}
    run, ended = "", False
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        for line in map(parse_line, lines):
            match line:
                case RunLine():
                    commit = str(line.environment.get("commit") or "no commit")[:12]
                    run = f"{line.environment.get('started')}, {commit}"
                    if line.selection.get("subset"):
                        return {}
                case ClaimLine():
                    before = found.setdefault(line.file, _Before())
                    before.claims.append(replace(line, kept=line.kept or run))
                    files[line.id] = line.file
                case Planned():
                    found[files[line.claim]].planned.append(line)
                    files[line.nodeid] = files[line.claim]
                case Outcome():
                    found[files[line.nodeid]].outcomes[line.nodeid] = line
                case EndLine():
                    ended = line.outcome == "finished"
    except (OSError, ValueError, KeyError, RecordError):
        return {}
    return found if ended else {}
