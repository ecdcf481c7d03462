"""A run as a table, a data set and a figure, beside what closed forms and other readers say."""

import csv
import subprocess
import sys
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import Array, Float

from eosbench import EdgeDistance, Every, GradientAlignment, Sharpness, train

CURVATURES = np.array([1.0, 3.0, 8.0])
START = np.array([2.0, -1.0, 0.5])
ETA, STEPS = 0.1, 7


def quadratic(x):
    return jnp.sum(jnp.asarray(CURVATURES) * x**2) / 2


def iterates(n):
    """x_t = (1 - eta h)^t x_0, for each curvature h."""
    return START * (1 - ETA * CURVATURES) ** np.arange(n)[:, None]


def trained(steps=STEPS, start=START, **probes):
    start = jnp.asarray(start) if isinstance(start, np.ndarray) else start
    return train(quadratic, start, optax.sgd(ETA), steps, probes)


def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return {name: [row[i] for row in rows] for i, name in enumerate(header)}


@pytest.fixture(scope="module")
def run():
    return trained(
        sharpness=Sharpness(k=2), distance=Every(3, EdgeDistance(optax.sgd(ETA))), point=lambda x: {"x": x, "n": x @ x}
    )


def test_the_csv_has_a_row_for_each_step_and_the_numbers_of_the_closed_form(run, tmp_path):
    run.to_csv(tmp_path / "run.csv")
    found = read(tmp_path / "run.csv")
    x = iterates(STEPS)
    assert found["step"] == [str(t) for t in range(STEPS)]
    assert np.array(found["loss"], float) == pytest.approx((CURVATURES * x**2).sum(1) / 2, rel=1e-12)
    assert np.array(found["sharpness.values[0]"], float) == pytest.approx(8.0)
    assert np.array(found["sharpness.values[1]"], float) == pytest.approx(3.0)
    assert pytest.approx(x, rel=1e-12) == np.array([found[f"point.x[{i}]"] for i in range(3)], float).T
    assert np.array(found["point.n"], float) == pytest.approx((x**2).sum(1), rel=1e-12)
    assert found["finite"] == ["True"] * STEPS
    assert [bool(cell) for cell in found["distance.values[0]"]] == [t % 3 == 0 for t in range(STEPS)]
    assert [float(cell) for cell in found["distance.values[0]"] if cell] == pytest.approx([0.4] * 3)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64, jnp.bfloat16])
def test_what_is_read_from_the_csv_is_what_was_written_to_the_bit(dtype, tmp_path):
    numbers = jax.random.normal(jax.random.key(0), (3,)) * jnp.asarray([1e-30, 1.0, 1e30])
    run = trained(3, point=lambda x: ((x + numbers).astype(dtype), jnp.asarray([jnp.nan, jnp.inf, -jnp.inf], dtype)))
    run.to_csv(tmp_path / "run.csv")
    found = read(tmp_path / "run.csv")
    for part, values in enumerate(run.probes["point"]):
        back = np.array([found[f"point.{part}[{i}]"] for i in range(3)]).T.astype(float).astype(values.dtype)
        assert np.array_equal(back, np.asarray(values), equal_nan=True)
    assert np.array_equal(np.array(found["loss"], float), np.asarray(run.loss))


def test_steps_are_counted_from_the_start_of_training(tmp_path):
    """Also of a run that goes on from another, in chunks, and of one that ends where it diverges."""
    first = trained(4, n=Every(3, lambda x: x @ x))
    rest = train(quadratic, first.state, optax.sgd(ETA), 6, {"n": Every(3, lambda x: x @ x)}, chunk=4)
    assert rest.step.tolist() == [4, 5, 6, 7, 8, 9]
    assert rest.measured_at["n"].tolist() == [6, 9]
    expected = (iterates(10) ** 2).sum(1)[[6, 9]]
    assert np.asarray(rest.probes["n"]) == pytest.approx(expected)
    rest.to_csv(tmp_path / "rest.csv")
    assert [step for step, n in zip(*map(read(tmp_path / "rest.csv").get, ("step", "n")), strict=True) if n] == [
        "6",
        "9",
    ]
    ends = lambda x: x @ x / jnp.where(x[0] > 1.5, 1.0, 0.0)  # noqa: E731
    probes = {"n": Every(2, quadratic)}
    bad = train(ends, jnp.asarray(START), optax.sgd(ETA), 9, probes, stop_diverged=True)
    assert bad.step.tolist() == list(range(len(bad.loss)))
    assert len(bad.loss) < 9
    assert len(bad.measured_at["n"]) == len(bad.probes["n"])


class Named(NamedTuple):
    pair: Float[Array, " two"]
    plain: Array


def test_the_data_set_has_the_axes_of_the_records(run):
    pytest.importorskip("xarray", reason="xarray is not installed; install the extra notebook.")
    found = run.to_xarray()
    assert found.sharpness_values.dims == ("step", "sharpness_k")
    assert found.sharpness_hvps.dims == ("step",)
    assert found.loss.sel(step=2).item() == float(run.loss[2])
    assert np.array_equal(found.sharpness_values, run.probes["sharpness"].values)
    assert found.sharpness_converged.dtype == bool
    # Of another k, and measured at other steps.
    assert found.distance_values.dims == ("distance_step", "distance_k")
    assert found.distance_step.values.tolist() == [0, 3, 6]
    assert found.point_x.dims == ("step", "point_x_1")


def test_the_axes_of_a_record_of_ones_own_and_of_one_within_another_have_their_names():
    pytest.importorskip("xarray", reason="xarray is not installed; install the extra notebook.")
    own = trained(3, own=lambda x: Named(x[:2], x), aligned=GradientAlignment(Sharpness(k=2))).to_xarray()
    assert own.own_pair.dims == ("step", "two")
    assert own.own_plain.dims == ("step", "own_plain_1")
    assert own.aligned_track_values.dims == ("step", "k")


def test_a_data_set_comes_back_from_a_file_format(run, tmp_path):
    """Netcdf of SciPy, which knows no truth values."""
    xarray = pytest.importorskip("xarray", reason="xarray is not installed; install the extra notebook.")
    found = run.to_xarray().astype(float)
    found.to_netcdf(tmp_path / "run.nc", engine="scipy")
    with xarray.open_dataset(tmp_path / "run.nc", engine="scipy") as back:
        xarray.testing.assert_identical(back.load(), found)


@pytest.mark.parametrize("method", ["to_csv", "to_xarray", "plot"])
def test_a_run_without_numbers_is_told_so(method, tmp_path):
    arguments = (tmp_path / "run.csv",) if method == "to_csv" else ()

    def traced(x):
        getattr(trained(2, x), method)(*arguments)

    with pytest.raises(ValueError, match="run has no numbers to write: take one run, outside of"):
        jax.jit(traced)(jnp.asarray(START))
    several = jax.vmap(lambda x: trained(2, x))(jnp.stack([jnp.asarray(START)] * 2))
    with pytest.raises(ValueError, match="run has no numbers to write: take one run, outside of"):
        getattr(several, method)(*arguments)


@pytest.mark.parametrize(("method", "module"), [("plot", "matplotlib"), ("to_xarray", "xarray")])
def test_what_is_not_installed_is_told_with_the_command_that_installs_it(method, module):
    program = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "import eosbench, jax.numpy as jnp, optax\n"
        "run = eosbench.train(lambda x: x @ x, jnp.ones(2), optax.sgd(0.1), 2)\n"
        f"try: run.{method}()\nexcept ModuleNotFoundError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == f'{method} needs {module}, not installed here; pip install "eosbench[notebook]"\n', (
        done.stderr
    )


def drawn(axes):
    return {line.get_label(): line.get_xydata().T for line in axes.get_lines()}


def test_the_figure_has_the_sharpness_with_its_line_the_distance_and_the_loss(run):
    figure = run.plot(line=2 / ETA)
    sharpness, distance, loss = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == ["sharpness", "distance to the edge", "loss"]
    curves = drawn(sharpness)
    assert curves["sharpness, 1"][1] == pytest.approx(8.0)
    assert curves["sharpness, 2"][1] == pytest.approx(3.0)
    assert curves["the edge"][1] == pytest.approx(2 / ETA)
    assert drawn(distance)["distance"] == pytest.approx(np.array([[0, 3, 6], [0.4] * 3]))
    assert drawn(distance)["the edge"][1] == pytest.approx(1.0)
    assert loss.get_yscale() == "log"
    assert loss.get_lines()[0].get_ydata() == pytest.approx((CURVATURES * iterates(STEPS) ** 2).sum(1) / 2)


def test_a_line_may_change_from_step_to_step_and_the_error_is_a_band(run):
    lines = np.linspace(10, 20, STEPS)
    unsure = eqx.tree_at(lambda run: run.probes["sharpness"].errors, run, jnp.full((STEPS, 2), 0.5))
    axes = unsure.plot(lines).axes[0]
    assert drawn(axes)["the edge"][1] == pytest.approx(lines)
    corners = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (corners.min(), corners.max()) == pytest.approx((7.5, 8.5))


def test_a_run_without_probes_is_its_loss_and_a_run_that_diverges_says_where():
    (loss,) = trained().plot().axes
    assert loss.get_title(loc="right") == ""
    steep = train(quadratic, 1e150 * jnp.asarray(START), optax.sgd(1.0), 200)
    (loss,) = steep.plot().axes
    assert loss.get_title(loc="right") == f"diverged at step {steep.diverged_at}"
    assert [list(line.get_xdata()) for line in loss.get_lines()][-1] == [steep.diverged_at] * 2


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (np.ones(3), r"line has shape \(3,\): it must be a number, or one for each of the 7 steps."),
        (2.0, "line is given, and the run has no Sharpness to draw it with: leave line out."),
    ],
)
def test_a_line_that_cannot_be_drawn_is_told(run, line, sentence):
    subject = run if np.ndim(line) else trained()
    with pytest.raises(ValueError, match=sentence):
        subject.plot(line)
