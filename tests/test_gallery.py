"""Each script of the gallery draws, at a small size, and has its figure and its place on the page."""

import runpy
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

GALLERY = Path(__file__).parents[1] / "docs" / "gallery"
SMALL = {
    "batch_sharpness": {"steps": 4, "every": 2},
    "density_at_the_edge": {"steps": 4, "lanczos": 5},
    "edge_on_digits": {"steps": 4, "every": 2},
    "end_of_the_edge": {"steps": 50, "labels": 3},
    "limiting_flow": {"eta": 0.2, "time": 0.1, "points": 2},
    "line_of_adam": {"steps": 10, "every": 5},
    "period_two": {"etas": 2, "steps": 10, "low": "1.05", "high": "1.051"},
    "progressive_sharpening": {"steps": 6, "every": 3},
    "refuted": {"steps": 20},
    "splitting": {"steps": 10, "every": 5, "window": 2},
}


@pytest.fixture
def loaded(monkeypatch):
    """What a script of the gallery defines; it is not run."""
    monkeypatch.syspath_prepend(GALLERY)
    yield lambda name: runpy.run_path(str(GALLERY / f"{name}.py"))
    sys.modules.pop("look", None)


@pytest.mark.parametrize("name", SMALL)
def test_it_draws(name, loaded, tmp_path):
    script = loaded(name)
    with jax.numpy_dtype_promotion("standard"):  # scripts of a reader, and optax's Adam promotes by itself
        drawing = script["figure"](**SMALL[name])
    for panel in drawing.axes:
        assert panel.get_xlabel()
        assert panel.get_ylabel()
        curves = [line.get_ydata() for line in panel.lines if len(line.get_ydata()) > 1]
        assert curves
        assert all(np.isfinite(np.asarray(curve, float)).all() for curve in curves)
    script["write"](tmp_path / f"{name}.py", drawing)
    assert (tmp_path / f"{name}.svg").stat().st_size > 1000


def test_the_page_is_what_the_scripts_say(loaded):
    look = loaded("look")
    assert sorted(look["ORDER"]) == sorted(SMALL)
    assert {path.stem for path in GALLERY.glob("*.py")} == {*SMALL, "look"}
    assert {path.stem for path in GALLERY.glob("*.svg")} == set(SMALL)
    assert (GALLERY / "README.md").read_text(encoding="utf-8") == look["page"]()
