"""The loops of docs/loops, killed in the middle and resumed: equal to the bit to one that was not."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from eosbench import EdgeDistance, train

LOOPS = sorted((Path(__file__).parents[1] / "docs" / "loops").glob("*.py"))
HANGING = 600  # seconds after which a loop counts as hanging
OPTAX = {"JAX_NUMPY_DTYPE_PROMOTION": "standard"}  # the loops train with its Adam, which promotes by itself


def held(path):
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


@pytest.mark.parametrize("loop", LOOPS, ids=lambda path: path.stem)
def test_a_loop_that_is_killed_goes_on_to_the_same_bits(loop, tmp_path):
    if "flax" in loop.read_text():
        pytest.importorskip("flax", reason="flax is not installed; install the extra dev.")
    whole, cut = tmp_path / "whole.npz", tmp_path / "cut.npz"
    command = [sys.executable, loop]
    kept = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    told = {"capture_output": True, "text": True, "timeout": HANGING, "env": {**os.environ, **kept, **OPTAX}}
    done = subprocess.run([*command, whole, "30"], **told)
    assert done.returncode == 0, done.stderr
    assert 0 < float(done.stdout.split()[-4]) < 2, done.stdout

    with subprocess.Popen([*command, cut, "1000000"], stdout=subprocess.PIPE, text=True, env=told["env"]) as process:
        assert process.stdout.readline().startswith("step 10: ")
        process.send_signal(signal.SIGKILL)
        assert process.wait(HANGING) == -signal.SIGKILL
    reached = int(held(cut)[".step"])
    assert 10 <= reached <= 30, "the kill came too late to cut anything off"
    resumed = subprocess.run([*command, cut, "30"], **told)
    assert resumed.returncode == 0, resumed.stderr
    first, second = held(whole), held(cut)
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert np.array_equal(array, second[name]), name


def test_each_loop_is_short_and_told_of():
    page = (LOOPS[0].parents[1] / "your-own-loop.md").read_text()
    assert len(LOOPS) == 4
    for loop in LOOPS:
        assert f"loops/{loop.name}" in page


PAGE = LOOPS[0].parents[1] / "your-own-loop.md"
OF_NNX, OF_TRAIN, OF_BATCHES, OF_ADAM, OF_OWN = re.findall(
    r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL
)


def ran(*codes):
    """The names that pieces of the page leave, one run after the other."""
    names = {}
    with jax.numpy_dtype_promotion("standard"):  # see OPTAX
        for code in codes:
            exec(compile(code, PAGE.name, "exec"), names)
    return names


def test_the_loop_with_the_optimizer_of_nnx_measures_what_train_does(capsys):
    nnx = pytest.importorskip("flax.nnx", reason="flax is not installed; install the extra dev.")
    after = ran(OF_NNX)
    assert capsys.readouterr().out.endswith(" of the edge\n")
    rngs, wide = nnx.Rngs(0), after["x"].shape[1]
    model = nnx.Sequential(nnx.Linear(wide, 16, rngs=rngs), nnx.tanh, nnx.Linear(16, 10, rngs=rngs))
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    with jax.numpy_dtype_promotion("standard"):
        run = train(
            lambda params: after["loss"](nnx.merge(graph, params, rest)),
            nnx.as_pure(params),
            after["adam"],
            60,
            {"edge": EdgeDistance(after["adam"])},
        )
    np.testing.assert_allclose(after["track"].values, run.probes["edge"].values[-1], rtol=5e-3)


def test_the_loop_on_mini_batches_measures_what_numpy_does(capsys):
    after = ran(OF_TRAIN, OF_BATCHES)
    run, *told = capsys.readouterr().out.splitlines()
    assert run.startswith("Run(40 steps, loss ")
    assert "sharpness: Track(4 measurements, the last" in run
    assert [line.partition(":")[0] for line in told] == ["step 0", "step 10", "step 20", "step 30"]

    x, y = np.asarray(after["x"], float), np.asarray(after["y"], float)
    sharpness = 2 / y.size * np.linalg.norm(x, 2) ** 2  # of the mean of squares, which a linear network makes quadratic
    np.testing.assert_allclose(after["track"].values[0], sharpness, rtol=1e-3)
    x, y = x[after["rows"]], y[after["rows"]]
    w = np.asarray(after["params"]["w"], float)
    with jax.numpy_dtype_promotion("standard"):
        _, _, along = after["step"](after["params"], after["state"], (x.astype("f4"), y.astype("f4")))
    g = 2 / y.size * x.T @ (x @ w - y)
    np.testing.assert_allclose(along, 2 / y.size * np.sum((x @ g) ** 2) / np.sum(g**2), rtol=1e-4)


def test_the_loop_of_adam_on_mini_batches_measures_what_numpy_does(capsys):
    after = ran(OF_TRAIN, OF_BATCHES, OF_ADAM)
    told = capsys.readouterr().out.splitlines()[-4:]
    assert [line.partition(":")[0] for line in told] == ["step 0", "step 10", "step 20", "step 30"]
    params, state = after["params"], after["state"]
    with jax.numpy_dtype_promotion("standard"):
        track, _ = after["measure"](params, state, after["memory"])

    x, y = np.asarray(after["x"], float), np.asarray(after["y"], float)
    hessian = 2 / y.size * x.T @ x  # of the weights of each output
    gradient = 2 / y.size * x.T @ (x @ np.asarray(params["w"], float) - y)
    adam = state[0]
    t = int(adam.count) + 1  # that of the state which has seen the gradient at the point
    seen = 0.999 * np.asarray(adam.nu["w"], float) + 0.001 * gradient**2
    p = (1 - 0.9 ** (t + 1)) * (np.sqrt(0.999 * seen / (1 - 0.999 ** (t + 1))) + 1e-8)
    largest = max(np.linalg.eigvalsh(hessian / np.sqrt(np.outer(column, column)))[-1] for column in p.T)
    np.testing.assert_allclose(track.values[0], largest * 0.01 / 38, rtol=2e-3)


def test_probes_of_ones_own_measure_what_numpy_does(capsys):
    after = ran(OF_TRAIN, OF_BATCHES, OF_OWN)
    assert capsys.readouterr().out.splitlines()[-1].startswith("along the gradient ")
    x, y = np.asarray(after["x"], float), np.asarray(after["y"], float)
    hessian = 2 / y.size * x.T @ x
    start = -2 / y.size * x.T @ y
    records = after["run"].probes
    np.testing.assert_allclose(records["along"][0], np.sum(start * (hessian @ start)) / np.sum(start**2), rtol=1e-5)
    np.testing.assert_allclose(records["preconditioned"].values[:, 0], 0.5 * np.linalg.eigvalsh(hessian)[-1], rtol=1e-3)
