"""What asv measured, commit by commit, and where a count or an error got worse.

Counts of Hessian-vector products and of traces are exact: one more than at the commit before is a regression. So is an
error that grew to more than twice what it was, and a count or an error that is not measured any more. Times and memory
vary with the machine's load; they inform and are never held against a commit. A commit of which no count and no error
could be compared with an earlier one has not passed.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise, product
from pathlib import Path
from typing import Any, Literal

Kind = Literal["count", "error", "time", "memory", "other"]

_GROWN = 2.0  # times the error before
_NEGLIGIBLE = 1e-5  # a relative error below a hundredth of the solver's default tolerance


class BenchmarksError(Exception):
    """The results cannot be read. The message is one sentence that names the place and the remedy."""


@dataclass(frozen=True)
class Commit:
    """A commit that was measured: its hash, and its date in seconds since 1970."""

    hash: str
    date: float

    @property
    def short(self) -> str:
        return self.hash[:8]

    @property
    def day(self) -> str:
        return datetime.fromtimestamp(self.date, UTC).strftime("%Y-%m-%d")


@dataclass(frozen=True)
class Measurement:
    """A value, and for a time the first and third quartile of its samples."""

    value: float
    low: float
    high: float


_Measured = dict[tuple[str, str], Measurement]
"""What one commit gave, by benchmark and parameters."""


@dataclass(frozen=True)
class Series:
    """One benchmark with one choice of parameters, over commits.

    Attributes:
        benchmark: its name in asv.
        parameters: their values, "" if it has none.
        values: by hash; a commit at which it failed or did not exist is left out.
    """

    benchmark: str
    parameters: str
    values: dict[str, Measurement]

    @property
    def name(self) -> str:
        return f"{self.benchmark}({self.parameters})" if self.parameters else self.benchmark

    @property
    def kind(self) -> Kind:
        """What is measured, by the name that asv's conventions and this project's give it."""
        own = self.benchmark.rpartition(".")[2]
        prefixes: dict[str, Kind] = {
            "track_hvps": "count",
            "track_retraces": "count",
            "track_error": "error",
            "time": "time",
            "peakmem": "memory",
        }
        return next((kind for prefix, kind in prefixes.items() if own.startswith(prefix)), "other")

    def worse(self, before: str, after: str) -> bool:
        """Whether this is a regression from one commit to another at which it was measured."""
        old, new = self.values[before].value, self.values[after].value
        if self.kind == "count":
            return new > old
        return self.kind == "error" and new > max(_GROWN * old, _NEGLIGIBLE)


@dataclass(frozen=True)
class Regression:
    """A count or an error that is worse at `after` than at `before`, the last commit before it that has a value."""

    series: Series
    before: Commit
    after: Commit

    @property
    def sentence(self) -> str:
        old, new = (self.series.values[commit.hash].value for commit in (self.before, self.after))
        return f"{self.series.name}: {old:.4g} at {self.before.short}, {new:.4g} at {self.after.short}"


@dataclass(frozen=True)
class Machine:
    """What was measured on one machine in one environment; commits in order of their dates."""

    name: str
    environment: str
    facts: str
    commits: tuple[Commit, ...]
    series: tuple[Series, ...]

    @property
    def regressions(self) -> list[Regression]:
        """All of the history, commit by commit."""
        return [
            Regression(series, before, after)
            for series in self.series
            for before, after in pairwise(commit for commit in self.commits if commit.hash in series.values)
            if series.worse(before.hash, after.hash)
        ]

    @property
    def missing(self) -> list[Series]:
        """Counts and errors that the last commit no longer has, or failed to measure, and the one before had."""
        if len(self.commits) < 2:
            return []
        before, last = (commit.hash for commit in self.commits[-2:])
        gating = [series for series in self.series if series.kind in ("count", "error")]
        return [series for series in gating if before in series.values and last not in series.values]

    @property
    def compared(self) -> list[Series]:
        """Counts and errors that the last commit has, and some commit before it."""
        return [series for series in self._measured_last if len(series.values) > 1]

    @property
    def incomparable(self) -> list[Series]:
        """Counts and errors that the last commit is the first to have, new ones or such as read otherwise now."""
        return [series for series in self._measured_last if len(series.values) == 1 < len(self.commits)]

    @property
    def _measured_last(self) -> list[Series]:
        return [s for s in self.series if s.kind in ("count", "error") and self.commits[-1].hash in s.values]

    @property
    def latest(self) -> list[Regression]:
        """Those of the last commit alone."""
        return [regression for regression in self.regressions if regression.after == self.commits[-1]]


def read(directory: Path) -> list[Machine]:
    """The results that asv saved in its `results_dir`.

    Raises:
        BenchmarksError: there are none, or a file is damaged.
    """
    known = directory / "benchmarks.json"
    if not known.is_file():
        raise BenchmarksError(f"{directory} holds no results of asv; measure with `asv run`, or name its results_dir")
    benchmarks = {name: entry for name, entry in _json(known).items() if isinstance(entry, dict)}
    found: dict[tuple[str, str], list[tuple[Commit, _Measured]]] = {}
    for file in sorted(directory.glob("*/*.json")):
        if file.name != "machine.json":
            saved = _json(file)
            try:
                commit = Commit(str(saved["commit_hash"]), float(saved["date"]) / 1000)
                measured = dict(_measurements(saved, benchmarks))
                found.setdefault((file.parent.name, str(saved["env_name"])), []).append((commit, measured))
            except (AttributeError, IndexError, KeyError, TypeError, ValueError):
                raise BenchmarksError(
                    f"{file} is no result of asv; remove it, or measure again with `asv run`"
                ) from None
    if not found:
        raise BenchmarksError(f"{directory} holds no results of any commit; measure with `asv run`")
    return [
        _machine(name, environment, _facts(directory / name / "machine.json"), results)
        for (name, environment), results in sorted(found.items())
    ]


def _machine(name: str, environment: str, facts: str, results: list[tuple[Commit, _Measured]]) -> Machine:
    results = sorted(results, key=lambda result: result[0].date)
    values: dict[tuple[str, str], dict[str, Measurement]] = {}
    for commit, measured in results:
        for key, measurement in measured.items():
            values.setdefault(key, {})[commit.hash] = measurement
    series = tuple(
        Series(benchmark, parameters, by_commit) for (benchmark, parameters), by_commit in sorted(values.items())
    )
    return Machine(name, environment, facts, tuple(commit for commit, _ in results), series)


def _measurements(
    result: dict[str, Any], benchmarks: dict[str, dict[str, Any]]
) -> Iterator[tuple[tuple[str, str], Measurement]]:
    """What one commit gave, of those benchmarks that still read as they did then."""
    columns = result["result_columns"]
    for name, row in result["results"].items():
        entry = dict(zip(columns, row, strict=False))
        if name not in benchmarks or entry.get("version") != benchmarks[name].get("version"):
            continue
        combinations = [", ".join(point) for point in product(*entry.get("params") or [])]
        for i, (parameters, value) in enumerate(zip(combinations, entry["result"] or [], strict=False)):
            if value is not None and math.isfinite(value):
                low, high = ((entry.get(key) or [None] * (i + 1))[i] for key in ("stats_q_25", "stats_q_75"))
                quartiles = (value if end is None else end for end in (low, high))
                yield (name, parameters.replace("'", "")), Measurement(value, *quartiles)


def _facts(file: Path) -> str:
    known = _json(file) if file.is_file() else {}
    cores = f"{known['num_cpu']} cores" if "num_cpu" in known else ""
    return ", ".join(str(fact) for fact in (known.get("cpu"), cores, known.get("os")) if fact)


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))  # asv writes NaN, which this reads
    except (OSError, ValueError):
        raise BenchmarksError(f"{file} cannot be read; remove it, or measure again with `asv run`") from None
    if not isinstance(found, dict):
        raise BenchmarksError(f"{file} is no result of asv; remove it, or measure again with `asv run`")
    return found
