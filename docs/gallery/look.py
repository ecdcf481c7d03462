"""How the figures look, where a script writes its own, and the page of them all: `python docs/gallery/look.py`."""

import ast
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.prop_cycle": mpl.cycler(color=["#1f5a8a", "#b8531a", "#1f7a54", "#7a4a91", "#8a6d1f"]),
    "grid.alpha": 0.25,
    "font.size": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "svg.hashsalt": "eosbench",  # the same curves are the same file
}


@mpl.rc_context(STYLE)
def panels(*labels, **options):
    """A figure with a panel for each (label of x, label of y), side by side, and the panels."""
    figure = Figure(figsize=(4.2 * len(labels) + 1.6, 3.1), layout="constrained")
    axes = figure.subplots(1, len(labels), squeeze=False, **options)[0]
    for panel, (x, y) in zip(axes, labels, strict=True):
        panel.set(xlabel=x, ylabel=y)
    return figure, *axes


@mpl.rc_context(STYLE)
def edge(panel, label="the edge"):
    """A dashed line at 1."""
    panel.axhline(1, color="0.35", linestyle="--", linewidth=0.9, label=label)


@mpl.rc_context(STYLE)
def write(script, figure):
    """The figure beside the script, under its name."""
    for panel in figure.axes:
        if panel.get_legend_handles_labels()[1]:
            panel.legend()
    figure.savefig(Path(script).with_suffix(".svg"), metadata={"Date": None})


ORDER = (
    "edge_on_digits",
    "progressive_sharpening",
    "line_of_adam",
    "batch_sharpness",
    "density_at_the_edge",
    "splitting",
    "period_two",
    "end_of_the_edge",
    "limiting_flow",
    "refuted",
)
HEAD = """# Gallery

Each figure is written by the script above it in seconds on one core: `python docs/gallery/edge_on_digits.py`. They are
for the eye; what was found, with errors and controls, is in the claims that they name.
"""


def page():
    """The page, from the docstrings of the scripts."""
    entries = []
    for name in ORDER:
        doc = ast.get_docstring(ast.parse(Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")))
        title, _, rest = doc.partition(": ")
        entries.append(
            f"## {title}\n\n{rest[0].upper()}{rest[1:]}\n\n[{name}.py]({name}.py)\n\n![{title}]({name}.svg)\n"
        )
    return "\n".join([HEAD, *entries])


if __name__ == "__main__":
    Path(__file__).with_name("README.md").write_text(page(), encoding="utf-8")
