"""The history of what asv measured as one self-contained HTML page that asks the network for nothing."""

import math
from collections.abc import Iterable, Iterator

from eosbench.records import Curve
from eosbench.report import figures
from eosbench.report.benchmarks import Machine, Measurement, Series
from eosbench.report.commits import Commit
from eosbench.report.notation import digits, plural
from eosbench.report.pages import stylesheet, templates

_POINTS = 1000  # of a panel
_AXES = {
    "count": "number",
    "error": "relative error",
    "time": "time in ms",
    "memory": "peak memory in MB",
    "other": "value",
}
_SCALED = {"time": 1e3, "memory": 1e-6}


def headline(machines: list[Machine]) -> str:
    """One sentence about the last commit of every branch."""
    last = _last(machines)
    at = _names(last)
    worse = [step.after for machine in machines for step in machine.latest]
    worse += [commit for machine in machines for _, commit in machine.missing]
    if worse:
        return f"{plural(len(worse), 'regression')} at {_names(c for c in machines[0].order.commits if c in worse)}"
    compared = sum(len(machine.compared(commit)) for machine in machines for commit in _here(last, machine))
    if compared:
        changed = sum(len(machine.changed) for machine in machines)
        told = f"; {changed} changed and could not be" if changed else ""
        return f"No count and no error is worse at {at} than at the commit before, of {compared} compared{told}"
    if complaints(machines):
        return f"No count and no error was compared at {at}"
    return f"One commit was measured, {at}: there is nothing to compare it with"


def complaints(machines: list[Machine]) -> list[str]:
    """What is wrong with the last commit, a sentence each."""
    found = []
    for machine in machines:
        found += [step.sentence for step in machine.latest]
        found += [f"{series.name}: no longer measured at {commit.short}" for series, commit in machine.missing]
        found += [
            f"{step.sentence}, by another version of the benchmark; measure {step.before.short} again with `asv run`"
            for step in machine.changed
        ]
    if len(machines[0].order.commits) == 1 and any(machine.series for machine in machines):
        return found
    for commit in _last(machines):
        here = [machine for machine in machines if commit in machine.commits]
        if not any(machine.compared(commit) for machine in here):
            names = " and ".join(dict.fromkeys(machine.name for machine in here))
            found.append(
                f"{names}: no count and no error of {commit.short} can be compared with one before; "
                "measure with `asv run`"
            )
    return found


def remarks(machines: list[Machine]) -> list[str]:
    """What the last commit cannot be held against, and what is uncertain about the order, a sentence each."""
    found = list(machines[0].order.notes)
    for machine in machines:
        found += [
            f"{machine.name}, {machine.environment}: {commit.short} was not measured there"
            for commit in _last(machines)
            if commit not in machine.commits
        ]
        found += [f"{series.name}: new at {commit.short}, nothing to compare with" for series, commit in machine.new]
    return found


def _last(machines: list[Machine]) -> list[Commit]:
    order = machines[0].order
    return order.last(order.commits)


def _here(commits: list[Commit], machine: Machine) -> list[Commit]:
    return [commit for commit in commits if commit in machine.commits]


def _names(commits: Iterable[Commit]) -> str:
    return " and ".join(commit.short for commit in commits)


def shown(series: Series, measurement: Measurement | None) -> str:
    """A value with its unit, and half the distance of the quartiles of a time; a dash where there is none."""
    if measurement is None:
        return "–"
    value = measurement.value
    if series.kind == "time":
        unit, scale = next(((u, s) for u, s in (("s", 1.0), ("ms", 1e3)) if s * value >= 1), ("µs", 1e6))
        half = scale * (measurement.high - measurement.low) / 2
        decimals = max(0, 2 - math.floor(math.log10(scale * value))) if value > 0 else 0
        return f"{scale * value:.{decimals}f} ± {half:.{decimals}f} {unit}"
    if series.kind == "memory":
        return f"{value / 1e6:.0f} MB"
    return str(int(value)) if value == int(value) and value < 1e15 else digits(value)


def page(machines: list[Machine]) -> str:
    """The page, for the results of at least one machine."""
    template = templates().get_template("benchmarks.html.j2")
    return template.render(
        headline=headline(machines),
        complaints=complaints(machines),
        remarks=remarks(machines),
        sections=[(machine, _panels(f"machine-{i}", machine), _worse(machine)) for i, machine in enumerate(machines)],
        shown=shown,
        style=stylesheet(),
    )


def _worse(machine: Machine) -> set[tuple[str, str]]:
    return {(regression.series.name, regression.after.hash) for regression in machine.regressions}


def _panels(salt: str, machine: Machine) -> list[tuple[str, figures.Panel]]:
    by_benchmark: dict[str, list[Series]] = {}
    for series in machine.series:
        by_benchmark.setdefault(series.benchmark, []).append(series)
    worse = _worse(machine)
    return [
        (benchmark, panel)
        for benchmark, group in by_benchmark.items()
        for panel in figures.panels(
            f"{salt}-{benchmark}", [curve for s in group for curve in _curves(machine, s, worse)], _POINTS
        )
    ]


def _curves(machine: Machine, series: Series, worse: set[tuple[str, str]]) -> Iterator[tuple[str, Curve]]:
    """The series against the number of the commit in the table, and what got worse, under its parameters."""
    scale = _SCALED.get(series.kind, 1.0)
    known = [(i, commit.hash) for i, commit in enumerate(machine.commits, start=1) if commit.hash in series.values]
    axes = ("commit, as numbered above", _AXES[series.kind])
    for former in (False, True):
        points = [(i, series.values[name]) for i, name in known if (name in series.former) == former]
        if points:
            yield (
                series.parameters,
                Curve(
                    label=(series.parameters or "measured") + (", by a former version" if former else ""),
                    x=[i for i, _ in points],
                    y=[scale * value.value for _, value in points],
                    axes=axes,
                    spread=[scale * (value.high - value.low) / 2 for _, value in points],
                ),
            )
    red = [(i, series.values[name]) for i, name in known if (series.name, name) in worse]
    if red:
        x, y = [i for i, _ in red], [scale * value.value for _, value in red]
        yield series.parameters, Curve(label="worse than before", x=x, y=y, axes=axes, style="points")
