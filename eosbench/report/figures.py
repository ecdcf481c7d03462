"""A claim's recorded curves as inline SVG that takes its colours from the page."""

import io
import math
import re
import warnings
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

from eosbench.report.notation import clip, number, one_line
from eosbench.report.results import Case

HUES = 6
"""Colours of curves, the CSS classes `s0`, `s1`, ... of the page; `s-ref` is the reference curve's."""

_PER_PANEL = 12
_PANELS = 4
_FEWEST = 100  # points per curve
_DOT = 3.6  # diameter of a point
_SIZE = (5.4, 2.8)  # inches at 72 dots
_INK = "#0a0b0c"  # stands for the page's text colour, replaced after drawing
_MUTED = "#1a1b1c"
_STAND_INS = [f"#2a2b{i:02x}" for i in range(HUES)]
_REFERENCE = "#3a3b3c"
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
    """A line of a panel's legend: the colour's CSS class, the style and what it shows."""

    css: str
    style: str
    label: str


@dataclass(frozen=True)
class Panel:
    """A drawn pair of axes, its labels, which may hold formulas, its legend, and how many curves had no room."""

    svg: Markup
    x_label: str
    y_label: str
    legend: tuple[Entry, ...]
    omitted: int


class _Curve(NamedTuple):
    """A recorded curve and the case it belongs to, "" if several cases recorded the very same one."""

    case: str
    series: dict[str, Any]

    @property
    def reference(self) -> bool:
        return self.series["style"] == "reference"


def panels(claim_id: str, cases: Sequence[Case], points: int) -> list[Panel]:
    """One panel for each pair of axis labels that the cases recorded curves for, in the order recorded.

    The curves of a panel share its `points`.
    """
    groups: dict[tuple[str, str, str], list[_Curve]] = {}
    for case in cases:
        name = "counterexample" if case["role"] == "counterexample" else one_line(case["case"], 80)
        for series in case["series"]:
            x_label, y_label = (one_line(label, 80) for label in series["axes"])
            groups.setdefault((x_label, y_label, str(series["scale"])), []).append(_Curve(name, series))
    drawn = list(groups.items())[:_PANELS]
    return [_panel(f"{claim_id}-{i}", key, _once(curves), points) for i, (key, curves) in enumerate(drawn)]


def _once(curves: list[_Curve]) -> list[_Curve]:
    """Curves that several cases recorded alike are kept once, as no case's own."""
    alike: dict[str, list[_Curve]] = {}
    for curve in curves:
        alike.setdefault(repr([curve.series[key] for key in ("label", "style", "x", "y")]), []).append(curve)
    return [same[0] if len(same) == 1 else _Curve("", same[0].series) for same in alike.values()]


def _panel(salt: str, key: tuple[str, str, str], curves: list[_Curve], points: int) -> Panel:
    x_label, y_label, scale = key
    kept = _kept(curves)
    hues = _hues(kept)
    svg = _svg(salt, f"{y_label} against {x_label}", scale, kept, hues, points)
    return Panel(Markup(svg), x_label, y_label, _legend(kept, hues), len(curves) - len(kept))


def _kept(curves: list[_Curve]) -> list[_Curve]:
    """Whole cases, spread evenly over the grid, as many as a panel has room for."""
    cases = list(dict.fromkeys(curve.case for curve in curves if curve.case))
    most = max(1, _PER_PANEL * len(cases) // len(curves))
    if len(cases) > most:
        cases = [cases[round(i)] for i in np.linspace(0, len(cases) - 1, most)]
    return [curve for curve in curves if not curve.case or curve.case in cases][:_PER_PANEL]


def _hues(curves: list[_Curve]) -> list[int]:
    """A colour for each case if there are several, else one for each curve that is no reference."""
    several = len({curve.case for curve in curves if curve.case}) > 1
    names = [curve.case if several and curve.case else f"curve {curve.series['label']}" for curve in curves]
    coloured = [name for name, curve in zip(names, curves, strict=True) if not curve.reference]
    order = list(dict.fromkeys(coloured))
    return [order.index(name) % HUES if name in order else 0 for name in names]


def _legend(curves: list[_Curve], hues: list[int]) -> tuple[Entry, ...]:
    """An entry for each colour and style; curves of one case that share them share it."""
    several = len({curve.case for curve in curves if curve.case}) > 1
    labels: dict[tuple[str, str, str], dict[str, None]] = {}
    for curve, hue in zip(curves, hues, strict=True):
        own = "" if curve.reference or not several else curve.case
        css = "s-ref" if curve.reference else f"s{hue}"
        labels.setdefault((css, str(curve.series["style"]), own), {})[one_line(curve.series["label"], 80)] = None
    return tuple(
        Entry(css, style, clip(f"{own}: {', '.join(names)}" if own else ", ".join(names), 120))
        for (css, style, own), names in sorted(labels.items(), key=lambda item: item[0][0] == "s-ref")
    )


def _svg(salt: str, title: str, scale: str, curves: list[_Curve], hues: list[int], points: int) -> str:
    buffer = io.StringIO()
    with warnings.catch_warnings(), mpl.rc_context({**_STYLE, "svg.hashsalt": salt}):
        warnings.simplefilter("ignore")  # glyphs missing from Matplotlib's own font are there in the reader's
        figure = Figure(figsize=_SIZE, dpi=72, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        most = max(_FEWEST, points // len(curves))
        for curve, hue in zip(curves, hues, strict=True):
            _draw(axes, curve.series, hue, most)
        _scale(axes, scale)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _for_page(buffer.getvalue(), salt, title)


def _draw(axes: Axes, series: dict[str, Any], hue: int, most: int) -> None:
    n = min(len(series["x"]), len(series["y"]))
    x, y, spread = (np.array([number(value) for value in (series[key] or [])[:n]]) for key in ("x", "y", "spread"))
    kept = _thinned(y, most)
    # Beyond this Matplotlib's own arithmetic overflows.
    x, y = (np.where(np.abs(values[kept]) < 1e300, values[kept], np.nan) for values in (x, y))
    if spread.size:
        spread = spread[kept]
    colour = _STAND_INS[hue]
    match series["style"]:
        case "points":
            axes.plot(x, y, "o", color=colour, markersize=_DOT, markeredgewidth=0)
        case "reference":
            axes.plot(x, y, "--", color=_REFERENCE, linewidth=1.1, dashes=(4, 2.5), zorder=3)
        case _:
            axes.plot(x, y, "-", color=colour, linewidth=1.5)
    if spread.size:
        if series["style"] == "points":
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
        if log and positive.size and positive.max() / positive.min() > 30:
            axis.set_major_locator(LogLocator(numticks=6))
            axis.set_major_formatter(FuncFormatter(_power))
        else:
            axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
            axis.set_major_formatter(ScalarFormatter())
        axis.set_minor_formatter(NullFormatter())


def _power(value: float, _: int | None = None) -> str:
    """10⁻³ for 0.001. Unicode, since Matplotlib places the glyphs of a formula one by one for its own font."""
    exponent = round(math.log10(value)) if value > 0 else 0
    return f"10{str(exponent).translate(_SUPERSCRIPTS)}"


def _for_page(svg: str, salt: str, title: str) -> str:
    """Matplotlib's SVG made part of a page: no prologue, no ids but those referred to, colours by name."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->|<style.*?</style>", "", svg, flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in used else "", svg)
    prefix = re.sub(r"[^a-z0-9]+", "-", salt.lower()[:80])
    svg = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    svg = re.sub(r"(?<= d=\")[^\"]*", lambda m: _compact(m[0]), svg)
    svg = re.sub(r'(?<= [xy]=")[^"]*', lambda m: _rounded(m[0]), svg)
    svg = re.sub(r"<g([^>]*)>((?:\s*<use [^>]* style=\"fill: (#[0-9a-f]{6})\"/>)+)\s*</g>", _dots, svg)
    svg = re.sub(r" font-family: [^;\"]*;| transform=\"rotate\(-0 [^\"]*\"", "", svg)
    for stand_in, colour in {
        _INK: "currentColor",
        _MUTED: "var(--muted)",
        _REFERENCE: "var(--s-ref)",
        **{hue: f"var(--s{i})" for i, hue in enumerate(_STAND_INS)},
    }.items():
        svg = svg.replace(stand_in, colour)
    svg = re.sub(r"\n\s*", "\n", svg)
    opening = Markup('<svg role="img" aria-label="{}" class="plot" viewBox="0 0 {} {}">').format(
        clip(title, 200), round(_SIZE[0] * 72, 1), round(_SIZE[1] * 72, 1)
    )
    return str(opening) + svg[svg.index(">") + 1 :].strip()


def _dots(group: re.Match[str]) -> str:
    """A group of round markers as one path of strokes without length, in a fifth of the characters; no place twice."""
    places = dict.fromkeys(re.findall(r' x="([^"]*)" y="([^"]*)"', group[2]))
    path = "".join(f"M{x} {y}h0" for x, y in places)
    style = f"fill: none; stroke: {group[3]}; stroke-width: {_DOT}; stroke-linecap: round"
    return f'<path{group[1]} d="{path}" style="{style}"/>'


def _compact(path: str) -> str:
    """Path data to a hundredth of a pixel, without needless blanks."""
    path = re.sub(r"-?\d+\.\d+", lambda m: _rounded(m[0]), path)
    return re.sub(r"\s*([MLQCz])\s*", r"\1", path)


def _rounded(number: str) -> str:
    return f"{float(number):.2f}".rstrip("0").rstrip(".")
