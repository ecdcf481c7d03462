"""The history of what asv measured as one self-contained HTML page that asks the network for nothing."""

import math
from collections.abc import Iterator

from eosbench.records import Curve
from eosbench.report import figures
from eosbench.report.benchmarks import Machine, Measurement, Series
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
    """One sentence about the last commit of every machine."""
    last = " and ".join(sorted({machine.commits[-1].short for machine in machines}))
    worse = sum(len(machine.latest) + len(machine.missing) for machine in machines)
    if worse:
        return f"{plural(worse, 'regression')} at {last}"
    compared = sum(len(machine.compared) for machine in machines)
    if compared:
        return f"No count and no error is worse at {last} than at the commit before, of {compared} compared"
    if complaints(machines):
        return f"No count and no error was compared at {last}"
    return f"One commit was measured, {last}: there is nothing to compare it with"


def complaints(machines: list[Machine]) -> list[str]:
    """What is wrong with the last commit, a sentence each."""
    return [sentence for machine in machines for sentence in _complaints(machine)]


def _complaints(machine: Machine) -> Iterator[str]:
    last = machine.commits[-1].short
    yield from (regression.sentence for regression in machine.latest)
    yield from (f"{series.name}: no longer measured at {last}" for series in machine.missing)
    if not machine.compared and (len(machine.commits) > 1 or not machine.series):
        yield f"{machine.name}: no count and no error of {last} can be compared with one before; measure with `asv run`"


def incomparable(machines: list[Machine]) -> list[str]:
    """Counts and errors of the last commit that say nothing of it yet, a sentence each."""
    return [
        f"{series.name}: new or changed at {machine.commits[-1].short}, nothing to compare with"
        for machine in machines
        for series in machine.incomparable
    ]


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
    return str(int(value)) if value == int(value) else digits(value)


def page(machines: list[Machine]) -> str:
    """The page, for the results of at least one machine."""
    template = templates().get_template("benchmarks.html.j2")
    return template.render(
        headline=headline(machines),
        complaints=complaints(machines),
        incomparable=incomparable(machines),
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
    values = [series.values[name] for _, name in known]
    yield (
        series.parameters,
        Curve(
            label=series.parameters or "measured",
            x=[i for i, _ in known],
            y=[scale * value.value for value in values],
            axes=axes,
            spread=[scale * (value.high - value.low) / 2 for value in values],
        ),
    )
    red = [(i, series.values[name]) for i, name in known if (series.name, name) in worse]
    if red:
        x, y = [i for i, _ in red], [scale * value.value for _, value in red]
        yield series.parameters, Curve(label="worse than before", x=x, y=y, axes=axes, style="points")
