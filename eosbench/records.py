"""The record of a run: what each line of `evidence.jsonl` holds, and the words in which all of it is told.

A check records `Requires`, `Comparison` and `Curve`. Lines carry them: `RunLine` first, a `DocumentLine` for each
document, a `ClaimLine` for each claim and a `Planned` for each case, then `Started` and `Outcome` as cases run,
`EndLine` last. Whoever writes, judges or shows a number takes it from these classes, so that one place says what there
is; `docs/evidence-file.md` is tested against it.

Nothing here needs JAX or NumPy.
"""

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, Literal, TypeVar, Union

from eosbench.claim import Claim, Role, Severity, Verdict
from eosbench.documents import Document, NotEncoded
from eosbench.strict_json import dumps, plain

SCHEMA = "eosbench-evidence/1"

Reading = Literal["satisfied", "violated", "vacuous", "indeterminate"]
Compared = Literal["satisfied", "violated", "indeterminate"]
Grade = Literal["proved", "exact", "measured"]
Status = Literal["completed", "skipped", "error", "timeout", "crashed", "lost", "deselected"]

GRADES: tuple[Grade, ...] = ("proved", "exact", "measured")
"""From strong to weak."""

FAILURES: tuple[Status, ...] = ("error", "timeout", "crashed", "lost")
"""How a planned case ends without a reading, other than by choice."""


class RecordError(ValueError):
    """A line is not what its type says. The message names the key."""


@dataclass(frozen=True)
class Kind:
    """A kind of comparison: the sign between what was measured and what it is compared with, and the grade it has.

    The sign decides what the margin is: the bound minus the measured value for ≤, the reverse for ≥, and the tolerance
    minus the deviation for any other. `fraction` and `proved` find their own.
    """

    sign: Literal["=", "≤", "≥"] = "="
    grade: Grade = "measured"


KINDS: dict[str, Kind] = {
    "equal": Kind(grade="exact"),
    "close": Kind(),
    "at_most": Kind("≤"),
    "at_least": Kind("≥"),
    "monotone": Kind("≤"),
    "rate": Kind(),
    "bounded_by": Kind("≤"),
    "constant": Kind(),
    "fraction": Kind("≥"),
    "finite": Kind("≤", grade="exact"),
    "proved": Kind(grade="proved"),
}
"""Every kind of comparison; `Evidence` has a method of each name."""


@dataclass(frozen=True)
class Word:
    """A verdict as readers see it: its symbol and what it means."""

    symbol: str
    meaning: str


VERDICTS: dict[Verdict, Word] = {
    "holds": Word("✔", "every case satisfied (or vacuous, where that is declared), every control fired"),
    "corrected": Word("✔*", "the printed form is violated by a counterexample, and the corrected form holds"),
    "refuted": Word("✘", "violated where its hypotheses are met, and no weaker form is claimed"),
    "inconclusive": Word("?", "a case too close to call, or a control that did not fire"),
    "vacuous": Word("∅", "the hypotheses of one of its checks are met in fewer cases than it declares"),
    "broken": Word("!", "a planned case ended in an error, a timeout, a crash, or was lost"),
    "partial": Word("◐", "some of its own cases or controls did not run"),
    "not run": Word("–", "none of its cases ran"),
    "out of scope": Word("⊘", "listed and not checked, or in need of a device or data that the machine lacks"),
}
"""Every verdict, from the most to the least settled."""

SEVERITIES: dict[Severity, str] = {
    "false": "it fails where everything that the document asks is met, and no constant or hypothesis mends it",
    "wrong constant": "a number, an exponent or an order is another one",
    "missing hypothesis": "it holds under a hypothesis that the document does not print",
    "slip": "typography, an index, a sign or a word, mostly right elsewhere in the document",
}
"""How far a statement is off that is corrected or refuted, the news first."""


# --- what a check records --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Requires:
    """A hypothesis of the statement, met or not."""

    name: str
    met: bool
    kind: Literal["requires"] = "requires"


@dataclass(frozen=True)
class CertificateFile:
    """A certificate that was accepted: where it is kept, its SHA-256, and the theorem that it was asked to prove.

    Attributes:
        file: its path, seen from the results file.
        theorem: with the entry `kind` and those of the certificate's own.
        content: the text of the file, on its way there; the results file has none.
    """

    file: str
    sha256: str
    theorem: Mapping[str, Any]
    content: str | None = None


@dataclass(frozen=True)
class Comparison:
    """A measured number beside what it is compared with: the worst entry where arrays were compared.

    Attributes:
        kind: one of `KINDS`.
        name: what is compared, in the words of the check.
        measured, predicted, tolerance: as compared, in the units of the check; `measured` may be not finite.
        margin: how far it is from failing, negative when it fails.
        uncertainty: a margin smaller than this decides nothing.
        reading: satisfied, violated or indeterminate.
        slack: the margin as a share of what is allowed.
        detail: what else this kind tells, such as `worst of`, the number of entries.
        certificate: of what was proved, the file that can be checked again.
    """

    kind: str
    name: str
    measured: float
    predicted: float
    tolerance: float
    margin: float
    uncertainty: float
    reading: Compared
    slack: float
    detail: Mapping[str, Any] = field(default_factory=dict)
    certificate: CertificateFile | None = None

    @property
    def sign(self) -> str:
        """The relation asked for; equality of a kind that this version does not know."""
        return KINDS.get(self.kind, Kind()).sign

    @property
    def grade(self) -> Grade:
        """How strong a comparison of this kind is."""
        return KINDS.get(self.kind, Kind()).grade


Record = Requires | Comparison


@dataclass(frozen=True)
class Curve:
    """A curve of the claim's figure; curves with the same axes share a panel. `spread` is a half-width at each x."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    axes: Sequence[str]
    style: str = "line"
    scale: str = "linear"
    spread: Sequence[float] | None = None


# --- the lines -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunLine:
    """The first line: what was asked for, and in what environment."""

    type: ClassVar[str] = "run"
    _: KW_ONLY
    schema: str
    selection: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DocumentLine:
    """What is known of the contents of a document that a claim cites; older files have none."""

    type: ClassVar[str] = "document"
    _: KW_ONLY
    key: str
    contents: Sequence[str] = ()
    not_encoded: Sequence[NotEncoded] = ()


def document_line(document: Document) -> DocumentLine:
    """The line of a document."""
    return DocumentLine(key=document.key, contents=document.contents, not_encoded=document.not_encoded)


@dataclass(frozen=True)
class SourceRecord:
    """Where a statement stands; what older files lack is empty."""

    _: KW_ONLY
    document: str
    title: str
    place: str
    authors: str = ""
    year: int | None = None
    url: str = ""
    version: str = ""


@dataclass(frozen=True)
class ClaimLine:
    """A claim as it was collected, or found beside what was.

    `vacuous` has the number of vacuous cases that a check declares, by its name and where it is not zero. Older files
    have neither that nor a severity. `reach` is a digest of all that the claim rests on, see `eosbench.reach`; `kept`
    tells of a claim that was not run again, for that had not changed, when it ran and at which commit.
    """

    type: ClassVar[str] = "claim"
    _: KW_ONLY
    id: str
    topic: str
    source: SourceRecord
    printed: str
    expected: str
    experiment: str
    file: str
    corrected: str | None = None
    severity: Severity | None = None
    why: str | None = None
    coarse: str | None = None
    out_of_scope: str | None = None
    uses: Sequence[str] = ()
    vacuous: Mapping[str, int] = field(default_factory=dict)
    reach: str | None = None
    kept: str | None = None


def claim_line(claim: Claim, file: str) -> ClaimLine:
    """The line of a claim that is stated in this file."""
    document = claim.source.document
    return ClaimLine(
        id=claim.id,
        topic=claim.topic,
        source=SourceRecord(
            document=document.key,
            title=document.title,
            place=claim.source.place,
            authors=document.authors,
            year=document.year,
            url=document.url,
            version=document.version,
        ),
        printed=claim.printed,
        expected=claim.expected,
        experiment=claim.experiment,
        file=file,
        corrected=claim.corrected,
        severity=claim.severity,
        why=claim.why,
        coarse=claim.coarse,
        out_of_scope=claim.out_of_scope,
        uses=claim.uses,
        vacuous={check.function.__name__: check.vacuous for check in claim.checks if check.vacuous},
    )


@dataclass(frozen=True)
class Planned:
    """A case as it was collected; `selected` is whether it was to run, `proves` whether its check proves the claim."""

    type: ClassVar[str] = "planned"
    _: KW_ONLY
    nodeid: str
    claim: str
    check: str
    case: str
    role: Role
    params: Mapping[str, Any] = field(default_factory=dict)
    selected: bool = True
    proves: bool = False


@dataclass(frozen=True)
class Started:
    """A case begins: if nothing more is heard of it, this is the one that died."""

    type: ClassVar[str] = "started"
    _: KW_ONLY
    nodeid: str


@dataclass(frozen=True)
class Outcome:
    """How a case ended; the last one of a case counts, and `attempts` says how many times it began."""

    type: ClassVar[str] = "case"
    _: KW_ONLY
    nodeid: str
    status: Status
    message: str = ""
    reading: Reading | None = None
    attempts: int = 1
    seconds: float = 0.0
    products: int = 0
    worker: str | None = None
    records: Sequence[Record] = ()
    series: Sequence[Curve] = ()


@dataclass(frozen=True)
class CaseRecord(Planned, Outcome):
    """A planned case and what became of it: what verdicts are reached from."""

    @classmethod
    def of(cls, planned: Planned, outcome: Outcome) -> "CaseRecord":
        """The two lines of a case as one."""
        return cls(**{**_shallow(outcome), **_shallow(planned)})

    @property
    def fired(self) -> bool:
        """Whether this control did what a control is for."""
        sought = "satisfied" if self.role == "positive control" else "violated"
        return self.status == "completed" and self.reading == sought

    @property
    def is_control(self) -> bool:
        """Whether a hypothesis is broken here on purpose, or a refuted statement is satisfied."""
        return self.role in ("control", "positive control")

    @property
    def comparisons(self) -> list[Comparison]:
        """What was compared."""
        return [record for record in self.records if isinstance(record, Comparison)]

    @property
    def hypotheses(self) -> list[Requires]:
        """What was required."""
        return [record for record in self.records if isinstance(record, Requires)]


@dataclass(frozen=True)
class CollectError:
    """A file that could not be collected."""

    type: ClassVar[str] = "collect error"
    _: KW_ONLY
    file: str
    message: str


@dataclass(frozen=True)
class EndLine:
    """The last line; a file without one is that of a run that was killed."""

    type: ClassVar[str] = "end"
    _: KW_ONLY
    outcome: str
    seconds: float | None = None


Line = RunLine | DocumentLine | ClaimLine | Planned | Started | Outcome | CollectError | EndLine
LINES: dict[str, type] = {line.type: line for line in typing.get_args(Line)}
"""Every type of line. Later versions may write lines of other types."""


# --- as JSON ---------------------------------------------------------------------------------------------------------

_T = TypeVar("_T")


def to_json(record: Any) -> dict[str, Any]:
    """A line, or what it holds, as plain JSON: non-finite numbers are the strings "nan", "inf" and "-inf"."""
    own = {"type": record.type} if hasattr(record, "type") else {}
    return own | {name: _encoded(value) for name, value in _shallow(record).items()}


def dump_line(line: Line) -> str:
    """A line of the file."""
    return dumps(to_json(line))


def from_json(cls: type[_T], found: Any) -> _T:
    """The record of this class that a JSON object holds. What the class has a default for may be missing.

    Raises:
        RecordError: a key is missing or its value is of another kind.
    """
    if not isinstance(found, dict):
        raise RecordError(f"{cls.__name__} is no object")
    values = {}
    for name, (kind, required) in _fields(typing.cast(Any, cls)).items():  # mypy takes no type[T] for hashable
        if name in found:
            values[name] = _decoded(name, found[name], kind)
        elif required:
            raise RecordError(f"{name!r} is missing or of another kind")
    return cls(**values)


def parse_line(text: str) -> Line | None:
    """A line of the file; None for one of a type that this version does not know.

    Raises:
        json.JSONDecodeError: it is no JSON.
        RecordError: it is no object with a type, or not what its type says.
    """
    found = json.loads(text)
    if not isinstance(found, dict) or not isinstance(found.get("type"), str):
        raise RecordError("it is no object with a type")
    cls = LINES.get(found["type"])
    return None if cls is None else from_json(cls, plain(found))


def number(value: Any) -> float:
    """A number of the file, where non-finite ones are strings; nan for no number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def _shallow(record: Any) -> dict[str, Any]:
    return {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}


def _encoded(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_json(value)
    if isinstance(value, list | tuple):
        return [_encoded(entry) for entry in value]
    return plain(value)


@functools.cache
def _fields(cls: type) -> dict[str, tuple[Any, bool]]:
    """The kind of each field, and whether it has no default."""
    kinds = typing.get_type_hints(cls)
    missing = dataclasses.MISSING
    return {
        f.name: (kinds[f.name], f.default is missing and f.default_factory is missing) for f in dataclasses.fields(cls)
    }


def _decoded(name: str, value: Any, kind: Any) -> Any:
    """The value as the kind that a field is annotated with."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        if kind == Record:
            kind = Requires if isinstance(value, dict) and value.get("kind") == "requires" else Comparison
            return from_json(kind, value)
        return _decoded(name, value, next(argument for argument in arguments if argument is not type(None)))
    if dataclasses.is_dataclass(kind):
        return from_json(typing.cast(type, kind), value)
    if origin is Literal:
        return _of(name, value, value in arguments)
    if origin is not None and issubclass(origin, Mapping):
        return _of(name, value, isinstance(value, dict))
    if origin is not None and issubclass(origin, Sequence):
        return tuple(_decoded(name, entry, arguments[0]) for entry in _of(name, value, isinstance(value, list)))
    if kind is float:
        return number(_of(name, value, value == "nan" or not math.isnan(number(value))))
    if kind is int:
        return _of(name, value, isinstance(value, int) and not isinstance(value, bool))
    return _of(name, value, isinstance(value, kind))


def _of(name: str, value: Any, right: bool) -> Any:
    if not right:
        raise RecordError(f"{name!r} is missing or of another kind")
    return value
