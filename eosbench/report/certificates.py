"""The certificates of a report, checked again by the checkers alone."""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from eosbench.checker import Checked, check
from eosbench.records import CertificateFile, Comparison
from eosbench.report.results import Results


@dataclass(frozen=True)
class Verified:
    """A theorem that a case has proved, and what its checker says of the certificate that was kept."""

    claim: str
    case: str
    name: str
    kind: str
    checked: Checked

    @property
    def sentence(self) -> str:
        """For a reader: how much was checked, or why it is refused."""
        counts = ", ".join(f"{what} {number}" for what, number in sorted(self.checked.counts.items()))
        return f"accepted ({counts})" if self.checked.accepted else f"REFUSED: {self.checked.reason}"


def verify(results: Results, directory: Path) -> list[Verified]:
    """Check every certificate of a report again, in the order of its claims.

    A theorem that a case has recorded as proved and of which no certificate is kept is refused.
    """
    proved = list(_proved(results))
    with ProcessPoolExecutor() as pool:
        answers = pool.map(_checked, [directory] * len(proved), [comparison.certificate for *_, comparison in proved])
        return [
            Verified(claim, case, comparison.name, _kind(comparison.certificate), checked)
            for (claim, case, comparison), checked in zip(proved, answers, strict=True)
        ]


def _proved(results: Results) -> Iterator[tuple[str, str, Comparison]]:
    for claim in results.claims:
        for case in claim.cases:
            for comparison in case.comparisons:
                if comparison.kind == "proved" and comparison.reading == "satisfied":
                    yield claim.id, f"{case.check}[{case.case}]" if case.case else case.check, comparison


def _kind(file: CertificateFile | None) -> str:
    return str(file.theorem.get("kind", "?")) if file else "?"


def _checked(directory: Path, file: CertificateFile | None) -> Checked:
    if file is None:
        return Checked(False, "the report keeps no certificate of it")
    path = (directory / file.file).resolve()
    try:
        if not path.is_relative_to(directory.resolve()):
            raise OSError("it lies outside of the report")
        content = path.read_bytes()
    except OSError as problem:
        return Checked(False, f"{file.file} cannot be read ({problem.strerror or problem})")
    if hashlib.sha256(content).hexdigest() != file.sha256:
        return Checked(False, f"{file.file} is not what the case has recorded: its SHA-256 is another")
    try:
        return check(json.loads(content), file.theorem)
    except ValueError:
        return Checked(False, f"{file.file} is no JSON")
