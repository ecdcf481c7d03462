"""What a claim is: a statement of a document, the cases on which it is checked, and the verdict it is expected to get.

Nothing here needs JAX or NumPy, so a catalogue of claims can be listed in an instant.
"""

import inspect
import itertools
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from eosbench.documents import Document as Document
from eosbench.documents import DocumentError, find_document

Verdict = Literal[
    "holds", "corrected", "refuted", "inconclusive", "vacuous", "broken", "partial", "not run", "out of scope"
]
Role = Literal["case", "control", "positive control", "counterexample"]
Severity = Literal["false", "wrong constant", "missing hypothesis", "slip"]

_Function = TypeVar("_Function", bound=Callable[..., None])
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*/[a-z0-9]+(-[a-z0-9]+)*")
_CHECK = "__eosbench_check__"


class ClaimError(ValueError):
    """A claim is stated wrongly. The message is one sentence that names the claim and the remedy."""


class EvidenceError(ValueError):
    """A check recorded something that is not evidence. The message is one sentence with the remedy."""


@dataclass(frozen=True, init=False)
class Source:
    """Where a statement stands: a document and the place in it, such as "Theorem 4.4" or "Phase 2, item 1".

    Args:
        document: its key in the nearest `documents.toml`, looked for in a folder and upwards from it; or a `Document`.
        place: where in it.
        folder: that folder; by default that of the file that writes `Source(...)`, or the working directory where there
            is no file.

    Raises:
        ClaimError: if the key is not found, or `documents.toml` cannot be read.
    """

    document: Document
    place: str

    def __init__(self, document: Document | str, place: str, *, folder: Path | None = None) -> None:
        if isinstance(document, str):
            file = sys._getframe(1).f_globals.get("__file__")
            try:
                document = find_document(document, folder or (Path(file).parent if file else Path.cwd()))
            except DocumentError as problem:
                raise ClaimError(str(problem)) from None
        object.__setattr__(self, "document", document)
        object.__setattr__(self, "place", place)


@dataclass(frozen=True)
class Case:
    """One run of a check: the values of its parameters, and what the run is for."""

    label: str
    role: Role
    params: Mapping[str, Any]
    changes: str | None = None
    """Of a control: the label of the case that it changes, whose seeds it draws, so that nothing else differs."""


@dataclass(frozen=True)
class Check:
    """A function that records evidence for a claim, with all the cases it is to run on."""

    claim: "Claim"
    function: Callable[..., None]
    cases: tuple[Case, ...]
    proves: bool = False
    vacuous: int = 0
    """How many of its cases are declared to be vacuous."""


@dataclass(frozen=True, eq=False)
class Claim:
    """A statement that evidence can decide.

    Args:
        id: "topic/name", lower case with hyphens; stable for ever.
        source: the document and the place in it.
        printed: the statement as the document prints it, with formulas in $...$.
        expected: the verdict that a run should reach; the only verdict typed by hand.
        corrected: the true form, where the printed one is wrong. The checks then test this form, and a counterexample
            shows the printed one violated.
        severity: how far the printed form is from a true one, where `expected` is corrected or refuted: a slip
            (typography, an index, a sign that the document has right elsewhere), a missing hypothesis, a wrong constant
            (or exponent, or order), or false.
        why: one sentence why the printed form fails; a refuted claim needs it, a corrected one may have it.
        coarse: one sentence, where an error of 2 % in a number of the statement would pass: how small an error the
            checks can tell, and why no sharper check is possible.
        experiment: claims that read the same trajectory name it here. They then draw the same seeds and run in the same
            process. By default the claim's id.
        uses: ids of the claims that this one rests on. Their verdicts are shown beside its own and do not change it.
        out_of_scope: why the statement is listed but not checked.

    Raises:
        ClaimError: if an argument is not of this form.
    """

    id: str
    _: KW_ONLY
    source: Source
    printed: str
    expected: Verdict
    corrected: str | None = None
    severity: Severity | None = None
    why: str | None = None
    coarse: str | None = None
    experiment: str = ""
    uses: tuple[str, ...] = ()
    out_of_scope: str | None = None
    checks: list[Check] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "experiment", self.experiment or self.id)
        if not isinstance(self.id, str) or not _ID.fullmatch(self.id):
            raise ClaimError(f"claim {self.id!r}: an id reads 'topic/name' in lower case with hyphens; rename it")
        if not isinstance(self.source, Source) or not isinstance(self.source.document, Document):
            named = self.source.document if isinstance(self.source, Source) else self.source
            raise self.error(
                f"its source names no known document ({named!r}); write source=Source(key, place), with the key of a "
                "document in documents.toml"
            )
        if self.expected not in get_args(Verdict):
            raise self.error(f"expected={self.expected!r} is no verdict; choose one of {', '.join(get_args(Verdict))}")
        if (self.expected == "out of scope") != bool(self.out_of_scope):
            raise self.error("expected='out of scope' and out_of_scope='the reason' go together; give both or neither")
        if self.expected == "corrected" and not self.corrected:
            raise self.error("expected='corrected' needs the true statement; give it as corrected=...")
        self._require_severity()
        if isinstance(self.uses, str) or not all(isinstance(id, str) and _ID.fullmatch(id) for id in self.uses):
            raise self.error(f"uses={self.uses!r} names no claims; give a tuple of their ids")

    def _require_severity(self) -> None:
        """What is told of a statement that is not true as printed, and of no other."""
        choices = ", ".join(get_args(Severity))
        if self.expected not in ("corrected", "refuted"):
            for name, value in (("severity", self.severity), ("why", self.why)):
                if value is not None:
                    raise self.error(
                        f"{name}={value!r} is for a claim that is corrected or refuted, and "
                        f"expected={self.expected!r}; drop it"
                    )
        elif self.severity not in get_args(Severity):
            raise self.error(
                f"severity={self.severity!r} does not say how far off a statement is that is {self.expected}; choose "
                f"one of {choices}"
            )
        elif self.expected == "refuted" and not self.why:
            raise self.error(f"why={self.why!r}, and it is expected to be refuted; say in one sentence why it fails")

    @property
    def topic(self) -> str:
        """The first part of the id."""
        return self.id.partition("/")[0]

    def error(self, problem: str) -> ClaimError:
        """The error to raise for a problem of this claim."""
        return ClaimError(f"claim {self.id!r}: {problem}")

    def check(
        self,
        *,
        controls: Mapping[str, Mapping[str, Any]] | None = None,
        positive_controls: Mapping[str, Mapping[str, Any]] | None = None,
        proves: bool = False,
        vacuous: int = 0,
        **grid: Any,
    ) -> Callable[[_Function], _Function]:
        """Decorate a function `f(evidence, **parameters)` that tests the claim, or its corrected form.

        Args:
            controls: name -> parameters; the same function with one hypothesis broken on purpose. It fires when the
                reading is `violated`. What it does not set has the first value of its axis, or its default, and its
                seeds are those of the first case.
            positive_controls: name -> parameters; for a claim that is refuted, a place where the function is satisfied.
            proves: it proves the statement, or its corrected form, for the whole range that this declares. The claim's
                grade is then that of the checks that prove, whatever is measured beside them.
            vacuous: how many cases of the grid may be vacuous. More of them is a `vacuous` claim, so that what is
                checked cannot shrink unseen.
            grid: a list is an axis of the grid of cases; any other value, a tuple included, is one value.

        Raises:
            ClaimError: if a parameter is not one of the function's, or two cases are the same, or it is no plain
                function whose parameters all have a name and no state.
        """
        for name, value in grid.items():
            if isinstance(value, range) or (hasattr(value, "shape") and value.shape):
                raise self.error(f"{name}={value!r} is no axis of a grid; give a list, or a tuple to be one value")
        axes = {name: value if isinstance(value, list) else [value] for name, value in grid.items()}

        def register(function: _Function) -> _Function:
            self._require_plain(function)
            first = {name: values[0] for name, values in axes.items() if values}
            points = [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())]
            cases = [Case(_label(params), "case", params) for params in points]
            named: tuple[tuple[Role, Mapping[str, Mapping[str, Any]]], ...] = (
                ("control", controls or {}),
                ("positive control", positive_controls or {}),
            )
            for role, group in named:
                for name, changes in group.items():
                    self._known(function, changes, f"the {role} {name!r} of {function.__name__} names")
                    cases.append(Case(f"{role}: {name}", role, first | dict(changes), _label(first)))
            self._known(function, grid, f"the grid of {function.__name__} names")
            if type(vacuous) is not int or not 0 <= vacuous < max(1, len(points)):
                raise self.error(
                    f"vacuous={vacuous!r} of the {len(points)} cases of {function.__name__}; give a whole number that "
                    "leaves one to say something"
                )
            return self._register(function, tuple(cases), proves, vacuous)

        return register

    def counterexample(self, **params: Any) -> Callable[[_Function], _Function]:
        """Decorate a function that evaluates the *printed* form at a point where its hypotheses are met.

        The printed form is shown wrong when the reading is `violated`.
        """

        def register(function: _Function) -> _Function:
            self._require_plain(function)
            self._known(function, params, f"the counterexample {function.__name__} names")
            label = _label(params)
            return self._register(function, (Case(label or "printed form", "counterexample", params),))

        return register

    def validate(self) -> None:
        """Raise ClaimError if the claim as a whole could not reach a verdict that means something."""
        roles = {case.role for check in self.checks for case in check.cases}
        if self.out_of_scope:
            if self.checks:
                raise self.error("it is out of scope and yet has checks; drop one of the two")
            return
        if "case" not in roles:
            raise self.error("it has no case to run; add a function under @claim.check(...)")
        if self.expected == "refuted" and "positive control" not in roles:
            raise self.error(
                "it is expected to be refuted and has no positive control; add positive_controls={name: parameters}, a "
                "place where the same function is satisfied"
            )
        if not roles & {"control", "positive control"}:
            raise self.error(
                "it has no control; add controls={name: parameters} to a check, with one hypothesis broken on purpose"
            )
        if self.corrected and "counterexample" not in roles:
            raise self.error(
                "it has a corrected form but nothing shows the printed one wrong; add a function under "
                "@claim.counterexample(...)"
            )

    def _register(
        self, function: _Function, cases: tuple[Case, ...], proves: bool = False, vacuous: int = 0
    ) -> _Function:
        if hasattr(function, _CHECK):
            raise self.error(f"{function.__name__} is registered twice; write one function for each")
        labels = [case.label for case in cases]
        if twice := {label for label in labels if labels.count(label) > 1}:
            raise self.error(f"{function.__name__} has the case {twice.pop()!r} twice; make the grid's values differ")
        if unnamed := next((label for label in labels if " at 0x" in label), None):
            raise self.error(
                f"{function.__name__} has the case {unnamed!r}, another one in every process; give values that have a "
                "name, such as functions"
            )
        check = Check(self, function, cases, proves, vacuous)
        setattr(function, _CHECK, check)
        self.checks.append(check)
        return function

    def _require_plain(self, function: Any) -> None:
        """A check runs to its end each time it is called, with every parameter by its name and nothing left over."""
        name = getattr(function, "__name__", "a check")
        if not inspect.isfunction(function) or name == "<lambda>":
            kind = "lambda" if inspect.isfunction(function) else type(function).__name__
            raise self.error(f"{name} is a {kind}, and a check is a function; write def test_...(evidence, ...)")
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise self.error(f"{name} is asynchronous, and nothing awaits it; write def instead of async def")
        if inspect.isgeneratorfunction(function):
            raise self.error(f"{name} has a `yield`, so that calling it runs none of it; record without one")
        owner = function.__qualname__.rpartition(".")[0]
        if owner and not owner.endswith("<locals>"):
            raise self.error(f"{name} is a method of {owner}; write it as a function of the module")
        for number, parameter in enumerate(inspect.signature(function).parameters.values()):
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise self.error(f"{name} takes {parameter}; name each parameter")
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise self.error(f"{name} takes {parameter.name!r} by position only; drop the `/`")
            if number == 0 and (parameter.name != "evidence" or parameter.default is not parameter.empty):
                raise self.error(f"{name} must take `evidence` first, without a default; write def {name}(evidence)")
            if _changeable(parameter.default):
                default = " ".join(f"{parameter}".split())
                raise self.error(
                    f"{name} has the default {default[:80]}, which one case could change for the next; "
                    "give a tuple, or None and make it within"
                )
        if not inspect.signature(function).parameters:
            raise self.error(f"{name} must take `evidence` first, without a default; write def {name}(evidence)")

    def _known(self, function: Callable[..., None], params: Mapping[str, Any], who: str) -> None:
        has = list(inspect.signature(function).parameters)
        for name in params:
            if name not in has[1:]:
                meant = name in ("control", "positive_control", "prove")
                hint = f"did you mean {name}s=...?" if meant else f"use one of {', '.join(has[1:]) or '(none)'}"
                raise self.error(f"{who} the parameter {name!r}, which it does not have; {hint}")


def check_of(function: Any) -> Check | None:
    """The check that a function was registered as, if any."""
    found = getattr(function, _CHECK, None)
    return found if isinstance(found, Check) else None


def _changeable(value: Any) -> bool:
    """Whether a value carries a state: it has no hash, or one of its identity alone, as a random generator has.

    The arrays of JAX have no hash either, and cannot be changed.
    """
    if isinstance(value, tuple):
        return any(map(_changeable, value))
    own = type(value).__hash__
    return not (value is None or callable(value) or type(value).__module__.startswith("jax")) and (
        own is None or own is object.__hash__
    )


def _label(params: Mapping[str, Any]) -> str:
    return ",".join(f"{name}={_shown(value)}" for name, value in params.items())


def _shown(value: Any) -> str:
    if isinstance(value, float):
        short = f"{value:.6g}"
        return short if float(short) == value else repr(float(value))
    if isinstance(value, tuple):
        shown = [_shown(entry) for entry in value]
        return f"({shown[0]}..{shown[-1]})" if len(shown) > 3 else f"({' '.join(shown)})"
    if callable(value):
        return str(getattr(value, "__name__", value))
    return str(value)
