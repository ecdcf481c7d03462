import re
from xml.etree import ElementTree

import numpy as np
import pytest

from eosbench.records import CaseRecord, Curve
from eosbench.report.figures import panels, recorded


def case(name="n=1", role="case", **series):
    x = np.arange(20.0)
    curve = Curve(**{"label": "GD", "x": x.tolist(), "y": (x**2).tolist(), "axes": ["step", "loss"]} | series)
    return CaseRecord(
        nodeid=name, claim="toy/claim", check="test_it", case=name, role=role, status="completed", series=[curve]
    )


def draw(*cases, points=2000):
    return panels("toy/claim", recorded(cases), points)


def curves(svg):
    """Drawn data lines, which alone are clipped to the axes, as are the lines of the grid."""
    return [path for path in re.findall(r"<path[^>]*clip-path[^>]*>", svg) if 'class="grid"' not in path]


def test_curves_with_the_same_axes_share_a_panel():
    found = draw(case(), case("n=2", label="other"), case(axes=["step", "sharpness"]))
    assert [(panel.x_label, panel.y_label) for panel in found] == [("step", "loss"), ("step", "sharpness")]
    assert [entry.label for entry in found[0].legend] == ["n=1: GD", "n=2: other"]


@pytest.mark.parametrize(
    ("curves", "legend"),
    [
        # What all cases have in common is told once, and a parameter that all share not at all.
        ([("n=1,a=0", "GD"), ("n=2,a=0", "GD")], ["GD:", "n=1", "n=2"]),
        ([("n=1", "GD"), ("n=1", "flow"), ("n=2", "GD"), ("n=2", "flow")], ["n=1", "n=2", "GD", "flow"]),
        # A label that tells the case needs no name of the case.
        ([("eta=0.5", "eta = 0.5"), ("eta=0.25", "eta = 0.25")], ["η = 0.5", "η = 0.25"]),
        ([("seed=4", "run 1"), ("seed=4", "run 1, smooth"), ("seed=5", "run 2")],
         ["seed=4: run 1", "run 1, smooth", "seed=5: run 2"]),
        # More cases than colours: those of one value of a parameter share a colour, if any parameter has few values.
        ([(f"a={i // 4},n={i}", "GD") for i in range(8)], ["GD:", "a=0", "a=1"]),
        ([(f"n={i}", "GD") for i in range(8)], ["GD:", "8 cases"]),
        ([("eta=1.0416666666666667,x=1", "GD"), ("eta=1.01,x=1", "GD")], ["GD:", "eta=1.04167", "eta=1.01"]),
    ],
)  # fmt: skip
def test_a_legend_says_no_more_than_tells_the_curves_apart(curves, legend):
    (panel,) = draw(*(case(name, label=label, y=[float(i)] * 20) for i, (name, label) in enumerate(curves)))
    assert [entry.label for entry in panel.legend] == legend


def test_the_curves_of_one_case_differ_in_their_looks_and_lie_upon_its_points():
    (panel,) = draw(
        *(case(name, label=label, style=style, y=[float(i)] * 20)
          for i, name in enumerate(("n=1", "n=2"))
          for label, style in (("a", "points"), ("b", "points"), ("c", "points"), ("fit", "line"), ("g", "reference")))
    )  # fmt: skip
    assert [entry.mark for entry in panel.legend] == [
        "case", "case", "points", "points-1", "points-2", "line", "reference",
    ]  # fmt: skip
    widths = re.findall(r"stroke: var\(--(\w+)\); stroke-width: ([\d.]+); stroke-linecap", panel.svg)
    assert widths[:4] == [("s0", "3.6"), ("s0", "3.6"), ("card", "1.8"), ("r0", "2.2")]
    assert "stroke: var(--r1); stroke-width: 1.1" in panel.svg
    (lines,) = draw(
        *(case(f"n={i}", label=label, y=[float(i)] * 20) for i in range(2) for label in ("GD", "flow"))
    )  # fmt: skip
    assert [entry.mark for entry in lines.legend] == ["case", "case", "line", "line-1"]
    assert sum("stroke-dasharray" in curve for curve in curves(lines.svg)) == 2


def test_a_level_that_all_cases_share_is_drawn_once_as_long_as_the_longest():
    level = {"label": "edge", "style": "reference", "y": [1.0, 1.0]}
    (panel,) = draw(case(), case("n=2"), case(x=[0, 9], **level), case("n=2", x=[0, 19], **level))
    assert [entry.label for entry in panel.legend][-1] == "edge"
    dashed = [curve for curve in curves(panel.svg) if "stroke-dasharray" in curve]
    ends = [float(x) for x in re.findall(r"[ML]([\d.]+) ", dashed[0])]
    longest = [float(x) for x in re.findall(r"[ML]([\d.]+) ", curves(panel.svg)[0])]
    assert len(dashed) == 1
    assert ends == pytest.approx([longest[0], longest[-1]])


@pytest.mark.parametrize(
    ("y", "ticks"),
    [
        ([0.03, 0.7], ["0.05", "0.1", "0.2", "0.5"]),
        ([1e-5, 3e-5, 1e-3], ["10⁻⁵", "5·10⁻⁵", "0.0001", "0.0005"]),
        ([1e-9, 1.0], ["10⁻⁸", "10⁻⁴", "10⁰"]),
        ([200.0, 4000.0], ["500", "1000", "2000"]),
    ],
)
def test_a_logarithmic_axis_has_ticks_all_along(y, ticks):
    (panel,) = draw(case(x=list(range(len(y))), y=y, scale="semilogy"))
    assert set(ticks) <= set(re.findall(r">([^<\s]+)</text>", panel.svg))


def test_a_power_of_ten_beside_the_axis_is_written_as_one():
    (panel,) = draw(case(y=[1e6 * i for i in range(20)]))
    assert ">×10⁷</text>" in panel.svg


def test_values_that_differ_by_little_can_be_drawn():
    (panel,) = draw(case(x=[1, 2, 3, 4], y=[1, 1 + 2e-9, 1 + 1e-9, 1 + 3e-9]))
    assert "1e-9+1" in panel.svg


def test_a_curve_that_every_case_recorded_is_drawn_once_and_belongs_to_none():
    (panel,) = draw(
        case(), case("n=2", y=[1.0] * 20),
        case("n=1", label="bound", style="reference", x=[0, 1], y=[0, 1]),
        case("n=2", label="bound", style="reference", x=[0, 1], y=[0, 1]),
    )  # fmt: skip
    assert [entry.label for entry in panel.legend] == ["GD:", "n=1", "n=2", "bound"]
    assert len(curves(panel.svg)) == 3


def test_a_reference_is_dashed_points_are_round_and_the_spread_is_a_band():
    reference, points, band = (
        draw(case(style="reference"))[0].svg,
        draw(case(style="points"))[0].svg,
        draw(case(spread=[0.5] * 20))[0].svg,
    )
    assert "stroke-dasharray" in curves(reference)[0]
    assert curves(points)[0].count("h0") == 20
    assert "fill-opacity: 0.2" in band


def test_colours_come_from_the_page_and_the_background_is_transparent():
    (panel,) = draw(case(), case("n=2", style="points"), case("n=3", style="reference"))
    assert not re.search("#[0-9a-f]{6}", panel.svg)
    assert "var(--s0)" in panel.svg
    assert "currentColor" in panel.svg


def test_the_drawing_is_well_formed_dated_nowhere_and_the_same_every_time():
    (panel,) = draw(case())
    ElementTree.fromstring(str(panel.svg).replace("<svg ", '<svg xmlns:xlink="http://www.w3.org/1999/xlink" ', 1))
    assert "metadata" not in panel.svg
    assert draw(case()) == [panel]


def test_ids_differ_between_the_figures_of_a_page():
    found = [
        panel.svg for name in ("a/b", "c/d") for panel in panels(name, recorded([case(), case(axes=["a", "b"])]), 2000)
    ]
    ids = [name for svg in found for name in re.findall(r' id="([^"]+)"', svg)]
    assert ids
    assert len(ids) == len(set(ids))


def test_spikes_survive_thinning():
    y = np.zeros(5000)
    y[1234] = 7.0
    (panel,) = draw(case(x=np.arange(5000.0).tolist(), y=y.tolist()), points=200)
    heights = [float(h) for h in re.findall(r"[ML][\d.]+ ([\d.]+)", curves(panel.svg)[0])]
    assert len(heights) < 300
    assert max(heights) - min(heights) > 100


@pytest.mark.parametrize(
    "series",
    [
        {"y": [np.nan] * 20, "scale": "loglog"},
        {"y": [np.inf, -np.inf, 1e308, -1e308, *[0.0] * 16]},
        {"x": [], "y": []},
        {"y": [-1.0] * 20, "scale": "semilogy"},
        {"y": [1e-320] * 20, "scale": "semilogy"},
        {"axes": ["$\\frac{$", "<script>\u202e$"], "label": "$x"},
        {"style": "points", "spread": [np.nan] * 20},
    ],
)
def test_no_data_can_break_the_drawing(series):
    (panel,) = draw(case(**series))
    assert panel.svg.startswith("<svg")
    assert "<script>" not in panel.svg


def test_what_there_is_no_room_for_is_counted():
    (panel,) = draw(*(case(f"n={i}", y=[float(i)] * 20) for i in range(30)))
    assert len(curves(panel.svg)) == 12
    assert panel.omitted == 18


@pytest.mark.parametrize(
    ("series", "told"),
    [
        ({"style": "points", "spread": [-1.0] * 20}, "must not contain negative values"),
        ({"spread": [0.5] * 3}, "could not be drawn: IndexError"),
        ({"x": None}, "could not be drawn: TypeError"),
    ],
)
def test_what_cannot_be_drawn_says_so_in_its_place_and_the_others_are_drawn(series, told):
    bad, good = draw(case(axes=["a", "b"], **series), case())
    assert told in bad.svg
    assert (bad.x_label, bad.y_label, bad.legend) == ("a", "b", ())
    assert good.svg.startswith("<svg")


@pytest.mark.parametrize("axes", [["step"], []])
def test_an_axis_without_a_label_has_none(axes):
    (panel,) = draw(case(axes=axes))
    assert (panel.x_label, panel.y_label) == ("step" if axes == ["step"] else "", "")
    assert panel.svg.startswith("<svg")


def read_back(svg):
    """The points of each curve by its name, in the values of the axes: what the page tells under the pointer."""
    axes = [re.search(rf'data-{axis}="([^"]*)"', svg)[1].split() for axis in "xy"]
    found, drawn = {}, re.sub(r"<defs>.*?</defs>", "", svg, flags=re.DOTALL)
    for name, group in re.findall(r'<g data-curve="([^"]*)">(.*?)</g>', drawn, re.DOTALL):
        path = re.search(r' d="([^"]*)"', group)[1]
        pixels = np.array(re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path), float)
        values = []
        for pixel, (start, end, low, high, *log) in zip(pixels.T, axes, strict=True):
            share = (pixel - float(start)) / (float(end) - float(start))
            low, high = float(low), float(high)
            values.append(low * (high / low) ** share if log else low + share * (high - low))
        found[name] = np.array(values)
    return found


@pytest.mark.parametrize("style", ["line", "points"])
@pytest.mark.parametrize("scale", ["linear", "semilogy", "loglog"])
def test_the_values_of_a_curve_can_be_read_back_from_its_drawing(scale, style):
    x = np.arange(1.0, 21.0)
    (panel,) = draw(case(x=x.tolist(), y=(x**2).tolist(), scale=scale, style=style))
    ((name, (read_x, read_y)),) = read_back(panel.svg).items()
    assert name == "n=1: GD"
    assert read_x == pytest.approx(x, rel=2e-3)
    assert read_y == pytest.approx(x**2, rel=2e-3, abs=0.05)


def test_a_name_of_a_curve_stays_a_name():
    (panel,) = draw(case('n="1"><script>', label=' d="M0 0" id="curve-1" & #2a2b00'))
    (group,) = re.findall(r"<g data-curve=[^>]*>", panel.svg)
    assert (
        group == '<g data-curve="n=&#34;1&#34;&gt;&lt;script&gt;: d=&#34;M0 0&#34; id=&#34;curve-1&#34; &amp; #2a2b00">'
    )


def ends(panel):
    """What the legend tells of how curves end, and the points of each line that leads to such an end."""
    told = [(entry.mark, entry.label) for entry in panel.legend if entry.mark in ("diverged", "unknown")]
    dotted = [curve for curve in curves(panel.svg) if "stroke-dasharray: 1.65,1.65" in curve]
    return told, [np.array(re.findall(r"[ML]([\d.]+) ([\d.]+)", curve), float) for curve in dotted]


@pytest.mark.parametrize("beyond", [[np.inf] * 3, [np.inf, np.nan, np.nan], [1e301, np.inf, 0.0 * np.inf]])
@pytest.mark.parametrize("scale", ["linear", "semilogy"])
def test_a_curve_that_diverges_goes_on_to_the_top_of_its_panel(beyond, scale):
    y = [1.0, 2.0, 4.0, 8.0, *beyond]
    (panel,) = draw(case(x=list(range(7)), y=y, scale=scale))
    told, (drawn,) = ends(panel)
    assert told == [("diverged", "diverges: infinite from here on")]
    start, end, low, high = map(float, re.search(r'data-x="([^"]*)"', panel.svg)[1].split())
    steps = low + (drawn[:, 0] - start) / (end - start) * (high - low)
    assert steps == pytest.approx([3, 4], abs=0.02)  # from the last value to the first that is none
    assert drawn[1, 1] == float(re.search(r'data-y="[\d.]+ ([\d.]+)', panel.svg)[1])
    assert high > 4


def test_one_that_diverges_downward_goes_to_the_bottom():
    (panel,) = draw(case(x=[0, 1, 2], y=[0.0, -1.0, -np.inf]))
    ((_, end),) = ends(panel)[1]
    assert end[1] == float(re.search(r'data-y="([\d.]+)', panel.svg)[1])


def test_one_that_has_no_numbers_from_some_point_on_ends_in_a_cross():
    (panel,) = draw(case(x=[0, 1, 2, 3], y=[1.0, 2.0, np.nan, np.inf]))
    assert ends(panel) == ([("unknown", "ends: no number from here on")], [])


@pytest.mark.parametrize("y", [[1.0, 2.0, 3.0], [1.0, np.inf, 3.0], [1.0, np.nan, 3.0], [np.nan] * 3, [np.inf] * 3])
def test_one_that_comes_back_or_never_began_has_no_mark(y):
    (panel,) = draw(case(x=[0, 1, 2], y=y))
    assert ends(panel) == ([], [])
