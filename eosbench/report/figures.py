"""A claim's recorded curves as inline SVG that takes its colours from the page."""

import io
import math
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from eosbench.records import CaseRecord, Curve
from eosbench.report.notation import case_name, clip, one_line, plural, symbolic

HUES = 6
"""Colours of curves, the CSS classes `s0`, `s1`, ... of the page; `s-ref` is the colour of what belongs to no case."""

_PER_PANEL = 12
_PANELS = 4
_FEWEST = 100  # points per curve
_LOOKS = 3  # ways of drawing a line, and as many a point, that can be told apart in one colour
_SIZE = (5.4, 2.8)  # inches at 72 dots
_INK = "#0a0b0c"  # stands for the page's text colour, replaced after drawing
_MUTED = "#1a1b1c"
_STAND_INS = [f"#2a2b{i:02x}" for i in range(HUES)]
_DEEP = [f"#4a4b{i:02x}" for i in range(HUES)]  # of the same hues, stands out on them
_REFERENCE = "#3a3b3c"
_HOLE = "#5a5b5c"  # within a ring, the colour of what is behind the figure
_DOTS = {**dict.fromkeys((*_STAND_INS, _REFERENCE), 3.6), **dict.fromkeys(_DEEP, 2.2), _HOLE: 1.8}
"""The diameter of a point of this colour."""
_ENDS = {"diverged": "diverges: infinite from here on", "unknown": "ends: no number from here on"}
_GID = "curve-"  # and its number: the id of a curve in what Matplotlib writes
_LARGEST = 1e300  # beyond this Matplotlib's own arithmetic overflows
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "path.simplify": True,
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.parse_math": False,
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": False,
    "axes.formatter.limits": (-4, 5),
    "grid.color": _MUTED,
    "grid.alpha": 0.18,
    "grid.linewidth": 0.6,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.solid_capstyle": "round",
    "lines.solid_joinstyle": "round",
}


class Entry(NamedTuple):
    """A line of a panel's legend: the colour's CSS class, how it is drawn and what it shows.

    `mark` is a style, with the number of its look where that is not the first: "line", "line-1", "points-2"; "case" for
    the colour of a case, however it is drawn; "diverged" or "unknown" for how a curve ends before its last entry; ""
    for what is said of the whole panel.
    """

    css: str
    mark: str
    label: str


@dataclass(frozen=True)
class Panel:
    """A drawn pair of axes, its labels, which may hold formulas, its legend, and how many curves had no room.

    What cannot be drawn has a sentence in place of the drawing.
    """

    svg: Markup
    x_label: str
    y_label: str
    legend: tuple[Entry, ...]
    omitted: int


class _Curve(NamedTuple):
    """A recorded curve and the case it belongs to, "" if several cases recorded the very same one."""

    case: str
    curve: Curve

    @property
    def style(self) -> str:
        return self.curve.style

    @property
    def label(self) -> str:
        return symbolic(one_line(self.curve.label, 80))

    @property
    def name(self) -> str:
        """What a reader is told who points at it."""
        return f"{self.case}: {self.label}" if self.case and self.case != self.label else self.label


class _Drawn(NamedTuple):
    """How a curve is drawn: the number of its colour, None for the colour of no case, and of its look.

    Its colour is `deep` where it may lie on another of the same case.
    """

    hue: int | None
    look: int
    deep: bool

    @property
    def css(self) -> str:
        return "s-ref" if self.hue is None else f"{'r' if self.deep else 's'}{self.hue}"

    @property
    def colour(self) -> str:
        return _REFERENCE if self.hue is None else (_DEEP if self.deep else _STAND_INS)[self.hue]


def recorded(cases: Sequence[CaseRecord]) -> list[tuple[str, Curve]]:
    """The curves of cases, each with the name of its case, "" for that of a check without parameters."""
    return [
        ("counterexample" if case.role == "counterexample" else case.case and case_name(case), curve)
        for case in cases
        for curve in case.series
    ]


def panels(salt: str, curves: Sequence[tuple[str, Curve]], points: int) -> list[Panel]:
    """One panel for each pair of axis labels that there are curves for, in the order recorded.

    Each curve comes with the name of its case. The curves of a panel share its `points`.
    """
    return [_panel(f"{salt}-{i}", key, group, points) for i, (key, group) in enumerate(_by_axes(curves).items())]


def how_many(curves: Sequence[tuple[str, Curve]]) -> int:
    """The number of panels that these are drawn in."""
    return len(_by_axes(curves))


def _by_axes(curves: Sequence[tuple[str, Curve]]) -> dict[tuple[str, str, str], list[_Curve]]:
    """The curves of each panel."""
    groups: dict[tuple[str, str, str], list[_Curve]] = {}
    for name, curve in curves:
        groups.setdefault(_axes(curve), []).append(_Curve(one_line(name, 80), curve))
    return dict(list(groups.items())[:_PANELS])


def _axes(curve: Curve) -> tuple[str, str, str]:
    """Labels and scale; a label is empty where a file of another origin has none."""
    x_label, y_label = (symbolic(one_line(label, 80)) for label in [*curve.axes, "", ""][:2])
    return x_label, y_label, curve.scale


def _once(curves: list[_Curve]) -> list[_Curve]:
    """Curves that several cases recorded alike are kept once, as no case's own; of level lines, the longest."""
    alike: dict[str, list[_Curve]] = {}
    for curve in curves:
        label, style, x, y = (getattr(curve.curve, key) for key in ("label", "style", "x", "y"))
        level = style == "reference" and len(set(map(str, y))) == 1
        alike.setdefault(repr([label, style, y[0]] if level else [label, style, x, y]), []).append(curve)
    return [
        same[0] if len(same) == 1 else _Curve("", max(same, key=lambda curve: _length(curve.curve.x)).curve)
        for same in alike.values()
    ]


def _length(x: Sequence[float]) -> float:
    return max(x, default=0.0) - min(x, default=0.0)


def _panel(salt: str, key: tuple[str, str, str], recorded: list[_Curve], points: int) -> Panel:
    x_label, y_label, scale = key
    try:
        curves = _once(recorded)
        kept = _kept(curves)
        groups = _groups(kept)
        drawn = _drawn(kept, groups)
        svg = _svg(salt, f"{y_label} against {x_label}", scale, kept, drawn, points)
        ends = [word for word in _ENDS if any(_end(curve.curve) == word for curve in kept)]
        legend = _legend(kept, groups, drawn) + tuple(Entry("s-ref", word, _ENDS[word]) for word in ends)
        return Panel(Markup(svg), x_label, y_label, legend, len(curves) - len(kept))
    except Exception as problem:  # of curves that may hold anything; the rest of the report must not be lost with them
        told = f"could not be drawn: {type(problem).__name__}: {one_line(problem)}"
        return Panel(Markup('<p class="muted">{}</p>').format(told), x_label, y_label, (), omitted=0)


def _kept(curves: list[_Curve]) -> list[_Curve]:
    """Whole cases, spread evenly over the grid, as many as a panel has room for."""
    cases = _cases(curves)
    most = max(1, _PER_PANEL * len(cases) // len(curves))
    if len(cases) > most:
        cases = [cases[round(i)] for i in np.linspace(0, len(cases) - 1, most)]
    return [curve for curve in curves if not curve.case or curve.case in cases][:_PER_PANEL]


def _cases(curves: list[_Curve]) -> list[str]:
    return list(dict.fromkeys(curve.case for curve in curves if curve.case))


def _groups(curves: list[_Curve]) -> dict[str, str]:
    """For each case, if there are several, what of its name tells it from others; cases of one name share a colour.

    Of more cases than colours, those that agree in the first parameter with few enough values are a group.
    """
    cases = _cases(curves)
    if len(cases) < 2:
        return {}
    parts = {case: re.split(r",(?=\w+=)", case) for case in cases}
    told = [part for part in parts[cases[0]] if all(part in others for others in parts.values())]
    names = {case: [part for part in parts[case] if part not in told] for case in cases}
    if len(cases) > HUES:
        for column in zip(*names.values(), strict=False):
            if 1 < len(set(column)) <= HUES:
                return dict(zip(cases, column, strict=True))
        return dict.fromkeys(cases, plural(len(cases), "case"))
    return {case: ", ".join(name) for case, name in names.items()}


def _drawn(curves: list[_Curve], groups: dict[str, str]) -> list[_Drawn]:
    """A colour for each group of cases if there are several, else for each label; in a group, a look for each label."""
    names = list(dict.fromkeys(groups.values()))
    labels = list(dict.fromkeys(curve.label for curve in curves if curve.style != "reference"))
    dotted = {curve.case for curve in curves if curve.style == "points"}
    found = []
    for curve in curves:
        if curve.case in groups:
            alike = [other.label for other in curves if (other.case, other.style) == (curve.case, curve.style)]
            look = alike.index(curve.label) if len(alike) <= _LOOKS else 0
            covered = look == 2 if curve.style == "points" else look > 0 or curve.case in dotted
            found.append(_Drawn(names.index(groups[curve.case]) % HUES, look, covered or curve.style == "reference"))
        elif groups or curve.style == "reference":
            found.append(_Drawn(None, 0, False))
        else:
            found.append(_Drawn(labels.index(curve.label) % HUES, 0, False))
    return found


def _legend(curves: list[_Curve], groups: dict[str, str], drawn: list[_Drawn]) -> tuple[Entry, ...]:
    """The cases and then their curves, where those have the same names in each; else the curves of each group."""
    own: dict[str, list[Entry]] = {name: [] for name in groups.values()}
    common: list[Entry] = []
    for curve, how in zip(curves, drawn, strict=True):
        entries = own[groups[curve.case]] if curve.case in groups else common
        mark = f"{curve.style}-{how.look}" if how.look else curve.style
        if (entry := Entry(how.css, mark, curve.label)) not in entries:
            entries.append(entry)
    shapes = [[entry._replace(css="s-ref") for entry in entries] for entries in own.values()]
    if shapes and all(shape == shapes[0] for shape in shapes):
        found = _factored(list(own), shapes[0])
    else:
        merged = {name for name, n in Counter(groups.values()).items() if n > 1}
        found = _each(own, merged)
    found += _joined(sorted(common, key=lambda entry: entry.css == "s-ref"))
    return tuple(entry._replace(label=clip(entry.label, 120)) for entry in found)


def _factored(names: list[str], shape: list[Entry]) -> list[Entry]:
    if len(shape) == 1:
        heading = Entry("s-ref", "", f"{shape[0].label}:")
        return [heading, *(Entry(f"s{i % HUES}", shape[0].mark, name) for i, name in enumerate(names))]
    return [*(Entry(f"s{i % HUES}", "case", name) for i, name in enumerate(names)), *_joined(shape)]


def _each(own: dict[str, list[Entry]], merged: set[str]) -> list[Entry]:
    """The curves of each group by their own names, with that of the group where they do not tell it."""
    everywhere = Counter(entry.label for entries in own.values() for entry in entries)
    found = []
    for name, entries in own.items():
        for i, entry in enumerate(_joined(entries)):
            labels = [other.label for other in entries if other[:2] == entry[:2]]
            told = i > 0 or _numbers(name) <= _numbers(entry.label)
            if (name in merged and len(labels) > 1) or entry.label in re.split("[=, ]+", name):
                entry = entry._replace(label=name)
            elif not (told and all(everywhere[label] == 1 for label in labels)):
                entry = entry._replace(label=f"{name}: {entry.label}")
            found.append(entry)
    return found


def _joined(entries: list[Entry]) -> list[Entry]:
    """One entry for all that are drawn alike."""
    labels: dict[tuple[str, str], list[str]] = {}
    for css, mark, label in entries:
        labels.setdefault((css, mark), []).append(label)
    return [Entry(css, mark, ", ".join(alike)) for (css, mark), alike in labels.items()]


def _numbers(text: str) -> set[str]:
    return set(re.findall(r"\d[\d.]*(?:e-?\d+)?", text))


def _svg(salt: str, title: str, scale: str, curves: list[_Curve], drawn: list[_Drawn], points: int) -> str:
    buffer = io.StringIO()
    with warnings.catch_warnings(), mpl.rc_context({**_STYLE, "svg.hashsalt": salt}):
        warnings.simplefilter("ignore")  # glyphs missing from Matplotlib's own font are there in the reader's
        figure = Figure(figsize=_SIZE, dpi=72, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        most = max(_FEWEST, points // len(curves))
        for i, (curve, how) in enumerate(zip(curves, drawn, strict=True)):
            _draw(axes, curve.curve, how, most, f"{_GID}{i}")
        _scale(axes, scale)
        for curve, how in zip(curves, drawn, strict=True):
            _draw_end(axes, curve.curve, how)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        # After it was drawn, for only then the panel has its place in the figure.
        scales = [_axis(axes, i) for i in range(2)]
    return _for_page(buffer.getvalue(), salt, title, scales, [curve.name for curve in curves])


def _axis(axes: Axes, i: int) -> str:
    """For the page to read values from the drawing: pixels of both ends of an axis, their values, "log" if it is."""
    limits = np.array([axes.get_xlim(), axes.get_ylim()])
    pixels = axes.transData.transform(limits.T)[:, i]
    if i == 1:
        pixels = 72 * _SIZE[1] - pixels  # counted from above
    log = (axes.get_xscale, axes.get_yscale)[i]() == "log"
    return " ".join([*(f"{p:.2f}" for p in pixels), *(f"{v:.12g}" for v in limits[i]), *(["log"] if log else [])])


def _numbers_of(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    n = min(len(curve.x), len(curve.y))
    return np.array(curve.x[:n], float), np.array(curve.y[:n], float)


def _end(curve: Curve) -> str | None:
    """How a curve ends that has no finite values from some entry on, after others that are: a key of `_ENDS`."""
    if curve.style == "reference":
        return None
    _, y = _numbers_of(curve)
    n = _drawable(y)
    if n in (0, y.size):
        return None
    return "unknown" if np.isnan(y[n]) else "diverged"


def _drawable(y: np.ndarray) -> int:
    """How many entries there are up to the last that can be drawn."""
    can = np.flatnonzero(np.abs(y) < _LARGEST)
    return int(can[-1]) + 1 if can.size else 0


def _draw_end(axes: Axes, curve: Curve, how: _Drawn) -> None:
    """A curve that diverges goes on to the edge of the panel, where an arrow is; one without numbers has a cross."""
    end = _end(curve)
    if end is None:
        return
    x, y = _numbers_of(curve)
    last = _drawable(y) - 1
    if axes.get_yscale() == "log" and y[last] <= 0:
        return
    if end == "unknown":
        axes.plot(x[last], y[last], "x", color=how.colour, markersize=6, markeredgewidth=1.3)
        return
    axes.update_datalim([(x[last + 1], y[last])], updatey=False)
    axes.autoscale_view(scaley=False)
    limits = axes.get_ylim()
    edge, arrow = (limits[1], "^") if y[last + 1] > 0 else (limits[0], "v")
    axes.plot(x[last : last + 2], [y[last], edge], color=how.colour, linewidth=1.1, linestyle=(0, (1.5, 1.5)))
    axes.plot(x[last + 1], edge, arrow, color=how.colour, markersize=6, markeredgewidth=0.5, clip_on=False)
    axes.set_ylim(limits)


def _draw(axes: Axes, curve: Curve, how: _Drawn, most: int, gid: str) -> None:
    x, y = _numbers_of(curve)
    y = y[: _drawable(y) or None]  # what comes after is told by `_draw_end`
    spread = np.array((curve.spread or ())[: y.size], float)
    kept = _thinned(y, most)
    x, y = (np.where(np.abs(values[kept]) < _LARGEST, values[kept], np.nan) for values in (x, y))
    if spread.size:
        spread = spread[kept]
    colour = how.colour
    match curve.style:
        case "points":
            axes.plot(x, y, "o", color=colour, markeredgewidth=0, gid=gid)
            if how.look == 1:
                axes.plot(x, y, "o", color=_HOLE, markeredgewidth=0)
        case "reference":
            axes.plot(x, y, "--", color=colour, linewidth=1.1, dashes=(4, 2.5), zorder=3, gid=gid)
        case _:
            pattern = ("solid", (0, (7, 2, 1.5, 2)), (0, (1.5, 1.5)))[how.look]
            axes.plot(x, y, linestyle=pattern, color=colour, linewidth=1.1 if how.deep else 1.5, zorder=2.5, gid=gid)
    if spread.size:
        if curve.style == "points":
            axes.errorbar(x, y, spread, fmt="none", ecolor=colour, elinewidth=1)
        else:
            axes.fill_between(x, y - spread, y + spread, color=colour, alpha=0.2, linewidth=0)


def _thinned(y: np.ndarray, most: int) -> np.ndarray:
    """Indices of at most `most` points: the smallest and the largest of every stretch, so that no spike is hidden."""
    if y.size <= most:
        return np.arange(y.size)
    kept = {0, y.size - 1}
    for stretch in np.array_split(np.arange(y.size), most // 2 - 1):
        values = np.nan_to_num(y[stretch])
        kept |= {int(stretch[np.argmin(values)]), int(stretch[np.argmax(values)])}
    return np.array(sorted(kept))


def _scale(axes: Axes, scale: str) -> None:
    """Logarithmic axes where asked for and where there is something positive to show."""
    curves = [line.get_data() for line in axes.get_lines()]
    for i, (axis, log) in enumerate(
        ((axes.xaxis, scale in ("semilogx", "loglog")), (axes.yaxis, scale in ("semilogy", "loglog")))
    ):
        shown = np.concatenate([np.asarray(data[i], dtype=float) for data in curves] or [np.empty(0)])
        positive = shown[np.isfinite(shown) & (shown > 0)]
        if log and positive.size:
            (axes.set_xscale, axes.set_yscale)[i]("log", nonpositive="mask")
        decades = math.log10(positive.max() / positive.min()) if log and positive.size else 0.0
        if decades > 2.5:
            axis.set_major_locator(LogLocator(numticks=6))
            axis.set_major_formatter(FuncFormatter(_power))
        elif decades > 0.5:
            axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=9))
            axis.set_major_formatter(FuncFormatter(_decimal))
        else:
            axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
            axis.set_major_formatter(_Plain())
        axis.set_minor_formatter(NullFormatter())


class _Plain(ScalarFormatter):
    """Matplotlib's own, but for the power of ten beside the axis, which it writes as 1e6."""

    def get_offset(self) -> str:
        offset = super().get_offset().replace("−", "-")  # "1e-4", or "1e-9+1" of values that differ by little
        power = re.fullmatch(r"1e([+-]?\d+)", offset)
        return f"×{_power(10.0 ** int(power[1]))}" if power else offset


def _power(value: float, position: int | None = None) -> str:
    """10⁻³ for 0.001. Unicode, since Matplotlib places the glyphs of a formula one by one for its own font."""
    exponent = round(math.log10(value)) if value > 0 else 0
    return f"10{str(exponent).translate(_SUPERSCRIPTS)}"


def _decimal(value: float, position: int | None = None) -> str:
    """0.02, or 2·10⁻⁵ for a number with a long row of zeros."""
    if 0.99e-4 < value < 1e5:
        return f"{value:g}"
    mantissa, exponent = f"{value:.0e}".split("e")
    return ("" if mantissa == "1" else f"{mantissa}·") + _power(10.0 ** int(exponent))


def _for_page(svg: str, salt: str, title: str, scales: Sequence[str], names: Sequence[str]) -> str:
    """Matplotlib's SVG made part of a page: no prologue, no ids but those referred to, colours and curves by name."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->|<style.*?</style>", "", svg, flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in used or m[1].startswith(_GID) else "", svg)
    prefix = re.sub(r"[^a-z0-9]+", "-", salt.lower()[:80])
    svg = re.sub(rf'( id="(?!{_GID})|url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    svg = re.sub(r"(?<= d=\")[^\"]*", lambda m: _compact(m[0]), svg)
    svg = re.sub(r'(?<= [xy]=")[^"]*', lambda m: _rounded(m[0]), svg)
    svg = re.sub(r"<g([^>]*)>((?:\s*<use [^>]* style=\"fill: (#[0-9a-f]{6})\"/>)+)\s*</g>", _dots, svg)
    # What every axis has is told once, in the stylesheet, or by the mark itself.
    svg = re.sub(rf' style="[^"]*stroke: {_MUTED}; stroke-opacity[^"]*"', ' class="grid"', svg)
    svg = re.sub(rf'(<use [^>]*) style="fill: {_MUTED}; stroke: {_MUTED}[^"]*"', r"\1", svg)
    svg = re.sub(r" font-family: [^;\"]*;| transform=\"rotate\(-0 [^\"]*\"", "", svg)
    for stand_in, colour in {
        _INK: "currentColor",
        _MUTED: "var(--muted)",
        _REFERENCE: "var(--s-ref)",
        _HOLE: "var(--card)",
        **{hue: f"var(--s{i})" for i, hue in enumerate(_STAND_INS)},
        **{hue: f"var(--r{i})" for i, hue in enumerate(_DEEP)},
    }.items():
        svg = svg.replace(stand_in, colour)
    svg = _grouped(re.sub(r"\s*\n\s*", " ", svg).replace("> <", "><"))
    svg = re.sub(rf' id="{_GID}(\d+)"', lambda m: str(Markup(' data-curve="{}"').format(names[int(m[1])])), svg)
    opening = Markup(
        '<svg role="img" aria-label="{}" class="plot" viewBox="0 0 {} {}" data-x="{}" data-y="{}">'
    ).format(clip(title, 200), round(_SIZE[0] * 72, 1), round(_SIZE[1] * 72, 1), *scales)
    return str(opening) + svg[svg.index(">") + 1 :].strip()


def _grouped(svg: str) -> str:
    """The drawing without the groups that say nothing: Matplotlib has one around each part of each axis."""
    kept: list[bool] = []

    def tag(match: re.Match[str]) -> str:
        if match[0] != "</g>":
            kept.append(match[0] != "<g>")
            return match[0] if kept[-1] else ""
        return match[0] if kept.pop() else ""

    return re.sub(r"<g\b[^>]*>|</g>", tag, re.sub(r"<g\b[^>]*/>", "", svg))


def _dots(group: re.Match[str]) -> str:
    """A group of round markers as one path of strokes without length, in a fifth of the characters; no place twice."""
    places = dict.fromkeys(re.findall(r' x="([^"]*)" y="([^"]*)"', group[2]))
    path = "".join(f"M{x} {y}h0" for x, y in places)
    style = f"fill: none; stroke: {group[3]}; stroke-width: {_DOTS[group[3]]}; stroke-linecap: round"
    return f'<path{group[1]} d="{path}" style="{style}"/>'


def _compact(path: str) -> str:
    """Path data to a hundredth of a pixel, without needless blanks."""
    path = re.sub(r"-?\d+\.\d+", lambda m: _rounded(m[0]), path)
    return re.sub(r"\s*([MLQCz])\s*", r"\1", path)


def _rounded(number: str) -> str:
    return f"{float(number):.2f}".rstrip("0").rstrip(".")
