"""What asv measured, commit by commit, and where a count or an error got worse.

Counts of Hessian-vector products and of traces are exact: one more than at the commit before is a regression. So is an
error that grew to more than twice what it was, and a count or an error that is not measured any more. Times and memory
vary with the machine's load; they inform and are never held against a commit. A commit has not passed if a count or an
error was measured by another version of its benchmark before, or if none could be compared with an earlier one.

Two values are compared where one benchmark of one version gave them with the same parameters, on one machine in one
environment, and the one commit came before the other.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

from eosbench.report.commits import Commit, Order

Kind = Literal["count", "error", "time", "memory", "other"]

_GROWN = 2.0  # times the error before
_NEGLIGIBLE = 1e-5  # a relative error below a hundredth of the solver's default tolerance
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_VALUES = ("result", "stats_q_25", "stats_q_75")
_LATEST = 253402300800  # seconds from 1970 to the year 10000


class BenchmarksError(Exception):
    """The results cannot be read. The message is one sentence that names the place and the remedy."""


@dataclass(frozen=True)
class Measurement:
    """A value, for a time the first and third quartile of its samples, and the version of the benchmark it is of."""

    value: float
    low: float
    high: float
    version: str = ""


_Key = tuple[str, tuple[str, ...], int]
"""A benchmark, its parameters as they print, and which it is of those that print alike."""

_Measured = dict[_Key, Measurement]
"""What one commit gave."""


@dataclass(frozen=True)
class Series:
    """One benchmark with one choice of parameters, over commits.

    Attributes:
        benchmark: its name in asv.
        parameters: their values, "" if it has none; no two series of a benchmark have the same text.
        values: by hash, in the order of the commits; one at which it failed or did not exist is left out.
        current: whether it is still one of the benchmarks that asv would run.
    """

    benchmark: str
    parameters: str
    values: dict[str, Measurement]
    current: bool = True

    @property
    def name(self) -> str:
        return f"{self.benchmark}({self.parameters})" if self.parameters else self.benchmark

    @property
    def kind(self) -> Kind:
        return _kind(self.benchmark)

    @property
    def gates(self) -> bool:
        """Whether it is held against a commit."""
        return self.kind in ("count", "error")

    @property
    def former(self) -> list[str]:
        """The commits at which another version of the benchmark gave its value than at the last."""
        version = [measured.version for measured in self.values.values()][-1:]
        return [commit for commit, measured in self.values.items() if [measured.version] != version]

    def alike(self, commit: str) -> list[str]:
        """The commits at which the same version of the benchmark gave a value as at this one."""
        version = self.values[commit].version
        return [other for other, measured in self.values.items() if measured.version == version]

    def worse(self, before: str, after: str) -> bool:
        """Whether this is a regression from one commit to another at which it was measured."""
        old, new = self.values[before].value, self.values[after].value
        if self.kind == "count":
            return new > old
        return self.kind == "error" and new > max(_GROWN * old, _NEGLIGIBLE)


def _kind(benchmark: str) -> Kind:
    """What is measured, by the name that asv's conventions and this project's give it."""
    own = benchmark.rpartition(".")[2]
    prefixes: dict[str, Kind] = {
        "track_hvps": "count",
        "track_recompilations": "count",
        "track_retraces": "count",  # of earlier commits, whose loss was traced once
        "track_error": "error",
        "time": "time",
        "peakmem": "memory",
    }
    return next((kind for prefix, kind in prefixes.items() if own.startswith(prefix)), "other")


@dataclass(frozen=True)
class Step:
    """A count or an error at a commit, and at the nearest one before that has a value."""

    series: Series
    before: Commit
    after: Commit

    @property
    def sentence(self) -> str:
        old, new = (self.series.values[commit.hash].value for commit in (self.before, self.after))
        return f"{self.series.name}: {old:.4g} at {self.before.short}, {new:.4g} at {self.after.short}"


@dataclass(frozen=True)
class Machine:
    """What was measured on one machine in one environment."""

    name: str
    environment: str
    facts: str
    commits: tuple[Commit, ...]
    series: tuple[Series, ...]
    order: Order
    """That of all commits, on whatever machine they were measured."""

    @property
    def last(self) -> list[Commit]:
        """The last commit that was measured here; several where there are branches."""
        return self.order.last(self.commits)

    @property
    def regressions(self) -> list[Step]:
        """Where a count or an error got worse, in all of the history."""
        return [
            Step(series, before, after)
            for series in self.series
            for after in self.commits
            for before in self._comparable(series, after)
            if series.worse(before.hash, after.hash)
        ]

    @property
    def latest(self) -> list[Step]:
        """Those of the last commit alone."""
        return [regression for regression in self.regressions if regression.after in self.last]

    @property
    def missing(self) -> list[tuple[Series, Commit]]:
        """Counts and errors that the last commit no longer has, or failed to measure.

        A benchmark that asv would not run any more is missed at the first commit without it alone.
        """
        return [
            (series, commit)
            for series in self._gating
            for commit in self.last
            if commit.hash not in series.values and self.order.before(commit, series.values)
            if series.current or any(c.hash in series.values for c in self._before(commit))
        ]

    def compared(self, commit: Commit) -> list[Series]:
        """Counts and errors that this commit has, and some commit before it."""
        return [series for series in self._gating if self._comparable(series, commit)]

    @property
    def new(self) -> list[tuple[Series, Commit]]:
        """Counts and errors that no commit has before the last one."""
        return [(series, commit) for series, commit, before in self._incomparable if before is None]

    @property
    def changed(self) -> list[Step]:
        """Counts and errors that only another version of their benchmark gave before the last commit."""
        return [Step(series, before, commit) for series, commit, before in self._incomparable if before is not None]

    @property
    def _incomparable(self) -> list[tuple[Series, Commit, Commit | None]]:
        return [
            (series, commit, next(iter(self.order.before(commit, series.values)), None))
            for series in self._gating
            for commit in self.last
            if commit.hash in series.values and self._before(commit) and not self._comparable(series, commit)
        ]

    @property
    def _gating(self) -> list[Series]:
        return [series for series in self.series if series.gates]

    def _before(self, commit: Commit) -> list[Commit]:
        return self.order.before(commit, [other.hash for other in self.commits])

    def _comparable(self, series: Series, commit: Commit) -> list[Commit]:
        """The nearest commits before this one that have a value to compare with."""
        return self.order.before(commit, series.alike(commit.hash)) if commit.hash in series.values else []


def read(directory: Path) -> list[Machine]:
    """The results that asv saved in its `results_dir`, by machine and environment, all with one order of commits.

    The commits are in the order of the repository that the directory or the working directory is in, and else in that
    of their dates.

    Raises:
        BenchmarksError: there are none, or a file is damaged, or one commit is measured twice in one environment.
    """
    known = directory / "benchmarks.json"
    if not known.is_file():
        raise BenchmarksError(f"{directory} holds no results of asv; measure with `asv run`, or name its results_dir")
    benchmarks = {name: entry for name, entry in _json(known).items() if isinstance(entry, dict)}
    found: dict[tuple[str, str], dict[Commit, _Measured]] = {}
    files: dict[tuple[str, str, str], Path] = {}
    dates: dict[str, float] = {}
    for file in sorted(directory.glob("*/*.json")):
        if file.name != "machine.json":
            environment, commit, measured = _result(file)
            other = files.setdefault((file.parent.name, environment, commit.hash), file)
            if other != file:
                raise BenchmarksError(f"{file} and {other} are of one commit in one environment; remove one of them")
            if dates.setdefault(commit.hash, commit.date) != commit.date:
                raise BenchmarksError(f"{file} gives its commit another date than a file before; remove one of them")
            found.setdefault((file.parent.name, environment), {})[commit] = measured
    if not found:
        raise BenchmarksError(f"{directory} holds no results of any commit; measure with `asv run`")
    order = Order((commit for results in found.values() for commit in results), (directory, Path.cwd()))
    machines = []
    for (name, environment), results in sorted(found.items()):
        ordered = {commit: results[commit] for commit in order.commits if commit in results}
        facts = _facts(directory / name / "machine.json")
        machines.append(Machine(name, environment, facts, tuple(ordered), _series(ordered, benchmarks), order))
    return machines


def _series(results: dict[Commit, _Measured], benchmarks: dict[str, dict[str, Any]]) -> tuple[Series, ...]:
    values: dict[str, dict[_Key, dict[str, Measurement]]] = {}
    for commit, measured in results.items():
        for key, measurement in measured.items():
            values.setdefault(key[0], {}).setdefault(key, {})[commit.hash] = measurement
    return tuple(
        Series(benchmark, parameters, by_key[key], _current(key, benchmarks))
        for benchmark, by_key in sorted(values.items())
        for parameters, key in sorted(zip(_texts(list(by_key)), by_key, strict=True))
    )


def _texts(keys: list[_Key]) -> list[str]:
    """The parameters of each key: without the quotes of strings, unless two of them would read the same."""
    printed = [", ".join(parameters) for _, parameters, _ in keys]
    plain = [text.replace("'", "") for text in printed]
    numbered = [f"{text} #{number + 1}" for text, (_, _, number) in zip(printed, keys, strict=True)]
    exact = [f"{list(parameters)} #{number + 1}" for _, parameters, number in keys]
    return next(texts for texts in (plain, printed, numbered, exact) if len(set(texts)) == len(keys))


def _current(key: _Key, benchmarks: dict[str, dict[str, Any]]) -> bool:
    name, parameters, _ = key
    if name not in benchmarks:
        return False
    axes = benchmarks[name].get("params", [[value] for value in parameters])
    return isinstance(axes, list) and len(axes) == len(parameters) and all(map(_has, axes, parameters))


def _has(axis: Any, value: str) -> bool:
    return isinstance(axis, list) and value in axis


class _DamageError(ValueError):
    """What is wrong with a result, in words."""


def _result(file: Path) -> tuple[str, Commit, _Measured]:
    """The environment, the commit and what it gave."""
    saved = _json(file)
    try:
        if not isinstance(saved["commit_hash"], str) or not _HASH.fullmatch(saved["commit_hash"]):
            raise _DamageError(f"commit_hash is {repr(saved['commit_hash'])[:60]}, and is no hash in full")
        date = _number("date", saved["date"])
        if not 0 <= date / 1000 < _LATEST:
            raise _DamageError(f"date is {saved['date']!r}, and is no number of milliseconds since 1970")
        if not isinstance(saved["env_name"], str):
            raise _DamageError(f"env_name is {repr(saved['env_name'])[:60]}, and is no text")
        return saved["env_name"], Commit(saved["commit_hash"], date / 1000), dict(_measurements(saved))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as problem:
        why = f" ({problem})" if isinstance(problem, _DamageError) else ""
        raise BenchmarksError(f"{file} is no result of asv{why}; remove it, or measure again with `asv run`") from None


def _measurements(result: dict[str, Any]) -> Iterator[tuple[_Key, Measurement]]:
    """What one commit gave."""
    columns = result["result_columns"]
    for name, row in result["results"].items():
        entry = dict(zip(columns, row, strict=False))
        axes = entry.get("params") or []
        if not all(isinstance(axis, list) and all(isinstance(value, str) for value in axis) for axis in axes):
            raise _DamageError(f"{name} has the parameters {repr(axes)[:60]}, and not a list of texts for each")
        choices = list(product(*axes))
        values, *quartiles = (_numbers(name, entry.get(key), choices) for key in _VALUES)
        again: Counter[tuple[str, ...]] = Counter()
        for choice, value, *ends in zip(choices, values, *quartiles, strict=True):
            if math.isfinite(value):
                if value < 0 and _kind(name) != "other":
                    raise _DamageError(f"{name} is {value:g}, a negative {_kind(name)}")
                low, high = (end if math.isfinite(end) else value for end in ends)
                yield (name, choice, again[choice]), Measurement(value, low, high, str(entry.get("version")))
            again[choice] += 1


def _numbers(name: str, values: Any, choices: Sequence[Any]) -> list[float]:
    """A number for each choice of parameters, nan where it failed."""
    if values is None:
        return [math.nan] * len(choices)
    if not isinstance(values, list) or len(values) != len(choices):
        n = f"{len(values)} values" if isinstance(values, list) else "no list of values"
        raise _DamageError(f"{name} has {n} for {len(choices)} choices of its parameters")
    return [math.nan if value is None else _number(name, value) for value in values]


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _DamageError(f"{name} is {repr(value)[:60]}, and is no number")
    try:
        return float(value)
    except OverflowError:
        raise _DamageError(f"{name} has {len(str(value))} digits") from None


def _facts(file: Path) -> str:
    known = _json(file) if file.is_file() else {}
    cores = f"{known['num_cpu']} cores" if "num_cpu" in known else ""
    return ", ".join(str(fact) for fact in (known.get("cpu"), cores, known.get("os")) if fact)


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())  # asv writes NaN, which this reads
    except (OSError, ValueError):
        raise BenchmarksError(f"{file} cannot be read; remove it, or measure again with `asv run`") from None
    if not isinstance(found, dict):
        raise BenchmarksError(f"{file} is no result of asv; remove it, or measure again with `asv run`")
    return found
