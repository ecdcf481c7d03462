"""A picture of a run: its sharpness with the line of stability, its distance to the edge, and below them its loss."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Array, PyTree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def figure(
    step: Array,
    loss: Array,
    probes: Mapping[str, PyTree[Array]],
    measured: Mapping[str, Array],
    line: Any,
    diverged_at: int | None,
) -> "Figure":
    """See `Run.plot`.

    Raises:
        ModuleNotFoundError: Matplotlib is not installed.
        ValueError: `line` has another shape, or there is nothing that it could be the line of.
    """
    if find_spec("matplotlib") is None:
        raise ModuleNotFoundError('plot needs matplotlib, not installed here; pip install "eosbench[notebook]"')
    from matplotlib.figure import Figure

    steps = np.asarray(step)
    shown = {name: getattr(record, "track", record) for name, record in probes.items()}
    tracks = {name: record for name, record in shown.items() if _is_track(record)}
    panels = {
        "sharpness": {name: record for name, record in tracks.items() if record.edge is None},
        "distance to the edge": {name: record for name, record in tracks.items() if record.edge is not None},
    }
    panels = {label: records for label, records in panels.items() if records}
    if line is not None:
        line = np.asarray(line, float)
        if line.shape not in ((), steps.shape):
            raise ValueError(
                f"line has shape {line.shape}: it must be a number, or one for each of the {steps.size} steps."
            )
        if "sharpness" not in panels:
            raise ValueError("line is given, and the run has no Sharpness to draw it with: leave line out.")
    drawing = Figure(figsize=(6.4, 2.2 * (len(panels) + 1)), layout="constrained")
    *upper, lower = drawing.subplots(len(panels) + 1, sharex=True, squeeze=False)[:, 0]
    for axes, (label, records) in zip(upper, panels.items(), strict=True):
        for name, record in records.items():
            _draw(axes, name, np.asarray(measured[name]), record)
        edge = line if label == "sharpness" else next(iter(records.values())).edge
        if edge is not None:
            axes.plot(steps, np.broadcast_to(edge, steps.shape), "--", color="0.3", linewidth=0.9, label="the edge")
        axes.set(ylabel=label)
        axes.legend(frameon=False, fontsize="small")
    values = np.asarray(loss)
    lower.plot(steps, values, linewidth=1.1)
    if (values[np.isfinite(values)] > 0).all() and np.isfinite(values).any():
        lower.set_yscale("log")
    lower.set(ylabel="loss", xlabel="step")
    for axes in (*upper, lower):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if diverged_at is not None:
            axes.axvline(steps[0] + diverged_at, color="0.3", linestyle=":", linewidth=0.9)
    if diverged_at is not None:
        lower.set_title(f"diverged at step {steps[0] + diverged_at}", fontsize="small", loc="right")
    return drawing


def _is_track(record: Any) -> bool:
    """Whether it is what a `Sharpness` or an `EdgeDistance` records."""
    return all(hasattr(record, name) for name in ("values", "errors", "edge"))


def _draw(axes: "Axes", name: str, at: np.ndarray, record: Any) -> None:
    """The k values of each measurement, and around them their errors."""
    values, errors = np.asarray(record.values), np.asarray(record.errors)
    for i in range(values.shape[1]):
        label = name if values.shape[1] == 1 else f"{name}, {i + 1}"
        (curve,) = axes.plot(at, values[:, i], linewidth=1.1, label=label)
        low, high = values[:, i] - errors[:, i], values[:, i] + errors[:, i]
        axes.fill_between(at, low, high, color=curve.get_color(), alpha=0.2, linewidth=0)
