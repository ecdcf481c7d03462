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


def test_the_example_of_the_page_runs(capsys):
    page = (LOOPS[0].parents[1] / "your-own-loop.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    with jax.numpy_dtype_promotion("standard"):  # see OPTAX
        exec(compile(code, "your-own-loop.md", "exec"), {})
    told = capsys.readouterr().out
    assert told.startswith("Run(40 steps, loss ")
    assert "sharpness: Track(4 measurements, the last" in told
