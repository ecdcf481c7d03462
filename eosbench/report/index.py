"""The claims in the order of the documents that state them, with the statements there that no claim checks."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from eosbench.documents import NotEncoded, section_of
from eosbench.records import DocumentLine, SourceRecord
from eosbench.report.results import ClaimResult, Results


@dataclass(frozen=True)
class Place:
    """A place within a section: what is stated there, checked and not. `name` is empty for the section itself."""

    name: str
    claims: tuple[ClaimResult, ...]
    not_encoded: tuple[NotEncoded, ...]


@dataclass(frozen=True)
class Section:
    """An entry of a document's contents. It has no places where no claim is stated and nothing is told of it."""

    name: str
    places: tuple[Place, ...]

    @property
    def claims(self) -> list[ClaimResult]:
        return [claim for place in self.places for claim in place.claims]

    @property
    def not_encoded(self) -> list[NotEncoded]:
        return [statement for place in self.places for statement in place.not_encoded]


@dataclass(frozen=True)
class Document:
    """A document that claims cite, with the number that it has in this report."""

    number: int
    source: SourceRecord
    sections: tuple[Section, ...]

    @property
    def key(self) -> str:
        return self.source.document

    @property
    def claims(self) -> list[ClaimResult]:
        return [claim for section in self.sections for claim in section.claims]

    @property
    def not_encoded(self) -> list[NotEncoded]:
        return [statement for section in self.sections for statement in section.not_encoded]


def documents(results: Results) -> list[Document]:
    """The documents in alphabetical order of their keys.

    The sections of each are the entries of its contents. After them come the places that are in no entry, all of them
    where nothing is known of the contents, in the order of their words and numbers.
    """
    cited: dict[str, list[ClaimResult]] = {}
    for claim in results.claims:
        cited.setdefault(claim.claim.source.document, []).append(claim)
    return [
        Document(
            number,
            cited[key][0].claim.source,
            tuple(_sections(results.documents.get(key, DocumentLine(key=key)), cited[key])),
        )
        for number, key in enumerate(sorted(cited), start=1)
    ]


def _sections(document: DocumentLine, claims: list[ClaimResult]) -> Iterable[Section]:
    stated = {claim.claim.source.place for claim in claims} | {entry.place for entry in document.not_encoded}
    places: dict[str, list[str]] = {entry: [] for entry in document.contents}
    for place in sorted(stated, key=_natural):
        places.setdefault(section_of(place, document.contents) or place, []).append(place)
    for section, within in places.items():
        yield Section(
            section,
            tuple(
                Place(
                    place.removeprefix(section).lstrip(" ,;:"),
                    tuple(claim for claim in claims if claim.claim.source.place == place),
                    tuple(entry for entry in document.not_encoded if entry.place == place),
                )
                for place in within
            ),
        )


def _natural(place: str) -> list[tuple[float, str]]:
    """What sorts "Section 2" before "Section 10"."""
    return [(float(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", place)]
