"""Two processes on one machine, with virtual devices: their numbers, and how one ends when the other is lost."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from eosbench.distributed import _sentence

# Seconds after which the processes count as hung. On two idle cores they need ten, and the loss of one ten more.
PATIENCE = 300

PROGRAM = """
import json, sys
from pathlib import Path
import jax, jax.numpy as jnp, numpy as np, optax
from jax.sharding import NamedSharding, PartitionSpec as P
import eosbench, eosbench.distributed

port, number, steps, measured, fails = map(int, sys.argv[1:])
if port:
    address = f"127.0.0.1:{port}"
    eosbench.distributed.initialize("run.npz", coordinator_address=address, num_processes=2, process_id=number)
mesh = jax.make_mesh((jax.device_count(),), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
place = lambda array, *spec: jax.device_put(array, NamedSharding(mesh, P(*spec)))
draw = np.random.default_rng(0).standard_normal
x = draw((64, 16)).astype(np.float32)
params = {"in": place(draw((16, 24)).astype(np.float32) / 4, None, "d"), "out": place(draw(24).astype(np.float32) / 5)}
args = place(x, "d"), place(np.sin(x[:, 0]), "d")

def loss(params, x, y):
    return jnp.mean((jnp.tanh(x @ params["in"]) @ params["out"] - y) ** 2)

setting = optax.sgd(0.5), {"sharpness": eosbench.Sharpness(rtol=1e-5, audit=None)} if measured else {}
def keep(part):
    eosbench.save_state("run.npz", part.state)
    Path(f"kept{number}").touch()
    if fails == number:
        raise ArithmeticError("planted")

def told(params, steps, on_chunk):
    run = eosbench.train(loss, params, setting[0], steps, setting[1], args=args, chunk=5, on_chunk=on_chunk)
    measured = run.step, run.loss, run.probes["sharpness"].values[:, 0]
    print(json.dumps([np.asarray(numbers).tolist() for numbers in measured]))

if Path("run.npz").exists():
    told(eosbench.load_state("run.npz", loss, params, *setting, args=args), 5, None)
told(params, steps, keep)
"""
NOBODY = 9


@pytest.fixture
def start(tmp_path):
    """Starts one process or two, and leaves none behind."""
    runs = []

    def started(count, steps, devices=1, measured=True, fails=NOBODY):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1] if count > 1 else 0
        flags = f"--xla_force_host_platform_device_count={devices}"
        environment = os.environ | {"XLA_FLAGS": flags, "NPROC": "64", "JAX_PLATFORMS": "cpu"}
        for number in range(count):
            arguments = [sys.executable, "-c", PROGRAM, *map(str, (port, number, steps, int(measured), fails))]
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            runs.append(subprocess.Popen(arguments, cwd=tmp_path, env=environment, **pipes))
        return runs[-count:]

    yield started
    for run in runs:
        with contextlib.suppress(ProcessLookupError):
            run.kill()
        run.communicate()


def wait_for(*files):
    bound = time.monotonic() + PATIENCE
    while not all(file.exists() for file in files):
        assert time.monotonic() < bound, "the processes do not get on"
        time.sleep(0.05)


def results(run):
    output, errors = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, errors
    return [json.loads(line) for line in output.splitlines() if line.startswith("[[")]


def test_two_processes_have_the_numbers_of_one_device_and_continue_there(start):
    ((two,), (other,)) = [results(run) for run in start(2, 10, devices=4)]
    assert two == other
    ((rest, one),) = [results(run) for run in start(1, 15)]
    assert two[0] + rest[0] == [*range(15)]
    for part in range(3):
        assert two[part] + rest[part] == pytest.approx(one[part], rel=2e-5)


@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_process_ends_the_other_with_one_sentence(start, tmp_path, lost):
    runs = start(2, 10**6, measured=False)
    wait_for(tmp_path / "kept0", tmp_path / "kept1", tmp_path / "run.npz")
    runs[lost].send_signal(signal.SIGKILL)
    other = 1 - lost
    _, errors = runs[other].communicate(timeout=PATIENCE)
    assert errors == (
        f"eosbench: process {lost} was lost, and so process {other} ends: start all of them again, to continue from "
        f"{tmp_path / 'run.npz'}.\n"
    )
    assert runs[other].returncode == -signal.SIGABRT


def test_a_process_that_fails_does_not_wait_for_the_other(start):
    runs = start(2, 10**6, measured=False, fails=1)
    _, errors = runs[1].communicate(timeout=PATIENCE)
    assert runs[1].returncode == 1
    assert errors.endswith("ArithmeticError: planted\n")
    assert "JAX distributed service" not in errors
    _, errors = runs[0].communicate(timeout=PATIENCE)
    assert runs[0].returncode == -signal.SIGABRT
    assert errors.startswith("eosbench: process 1 was lost, and so process 0 ends")
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize(
    ("told", "lost"),
    [
        ("heartbeats):\n1\n3\nThe tasks have crashed", "processes 1, 3 were lost"),
        ("heartbeats):\n/job:jax_worker/task:12\nThe tasks have crashed", "process 12 was lost"),
        ("DEADLINE_EXCEEDED: no answer", "process 0 was lost"),
        ("something new", "another process was lost, JAX does not say which"),
    ],
)
def test_who_was_lost_is_read_from_what_jax_told(told, lost, tmp_path):
    sentence = _sentence("2", "", f"stopped sending {told}")
    assert sentence.startswith(f"eosbench: {lost}, and so process 2 ends: ")
    assert sentence.endswith("from the beginning, for no checkpoint was named.\n")
    file = str(tmp_path / "run.npz")
    assert f"from the beginning, for {file} was not written yet" in _sentence("2", file, told)
