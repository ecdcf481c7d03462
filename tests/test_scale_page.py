"""The GPU checklist and the capacity model: run here as far as a CPU can, and held against their page."""

import os
import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from eosbench.problems import Dataset, vgg

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
HAS_GPU = jax.default_backend() == "gpu"


def benchmark(name):
    spec = spec_from_file_location(f"benchmarks_{name}", ROOT / "benchmarks" / f"{name}.py")
    module = sys.modules[spec.name] = module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")  # as a script finds its neighbours
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def gpu():
    return benchmark("gpu")


@pytest.fixture(scope="module")
def capacity():
    return benchmark("capacity")


def run(*arguments):
    """The checklist in a process of its own, in single precision as a user has it."""
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), *arguments]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def cells(table):
    """The rows of a table in Markdown, however wide its columns are."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "---" not in line]


def test_the_table_of_the_page_is_what_the_model_prints(capacity):
    rows = cells(capacity.table())
    assert len(rows) == 13
    assert [row for row in rows if row not in cells(PAGE)] == []


def test_the_model_has_the_measured_constants(capacity):
    megabytes = float(re.search(r"\| 1 \| +\| 53,097 \| ([\d.]+) \|", PAGE)[1])
    assert round(megabytes * 1e6 / 4 / 53_097) == capacity.COLD_VECTORS
    performance = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert f"about {capacity.TRACKED_VECTORS} parameter-sized vectors more" in performance
    assert f"| 1300–1400 | {capacity.PRODUCTS:.2f} " in performance


def test_the_parameters_of_vgg_are_counted_right(capacity):
    images = Dataset(jnp.zeros((1, 3, 32, 32)), jax.nn.one_hot(jnp.zeros(1, int), 10))
    shapes = jax.eval_shape(lambda: vgg(images, jax.random.key(0))[1])
    assert capacity.vgg16().p == sum(leaf.size for leaf in jax.tree.leaves(shapes))


def test_vectors_are_shared_by_the_cards_and_work_as_well(capacity):
    training = capacity.Training("one", p=1e9, examples=1, flops=capacity.FLOPS)
    assert training.memory(8, 16) == pytest.approx((16 / 8 + 4) * 4e9 + 10e9)
    assert training.seconds(1) == pytest.approx(1 + 3.31 * 2)
    assert training.seconds(8) == pytest.approx((1 + 3.31 * 2) / 8 + 3.31 * 3 * 4e9 * 7 / 8 / 200e9)


def test_every_check_runs_on_a_cpu():
    done = run("--device", "cpu", "--tiny")
    assert done.returncode == 0, done.stderr
    device, *checks, tanh, images = done.stdout.splitlines()
    assert device.startswith("cpu, JAX ")
    assert [" right " in line for line in checks] == 4 * [True]
    assert "lapack" in checks[1]
    assert re.search(r"\d\.\d\d products a step, 150 of 150 converged", tanh)
    assert images.startswith("VGG-11, 6 images")


def test_a_product_in_fewer_bits_is_seen(gpu):
    def rounded(loss, params, vector):
        kept = vector.view(jnp.int32) & ~((1 << 13) - 1)  # ten bits, as TF32 has
        return gpu._product(loss, params, kept.view(jnp.float32))

    assert gpu.rounding(gpu.TINY).right
    told = gpu.rounding(gpu.TINY, rounded)
    assert not told.right
    assert 1e-4 < float(told.found.split(",")[0]) < 1e-2


def test_a_solver_and_a_callback_in_the_program_are_seen(gpu):
    program = 'custom-call(x), custom_call_target="cusolver_syevd_ffi"\ncustom_call_target="__cublas$gemm"'
    told = gpu.small_problems(program)
    assert (told.right, told.found) == (False, "1 of 2 custom calls: cusolver_syevd_ffi")
    called_back = jax.jit(lambda x: jax.pure_callback(lambda x: x, x, x)).lower(jnp.zeros(3)).compile().as_text()
    assert not gpu.to_the_host(called_back).right


def test_without_a_gpu_it_says_so_in_one_sentence():
    done = run()
    assert done.returncode == 2
    assert re.fullmatch(r"benchmarks/gpu.py: JAX finds no GPU here, .* --device cpu --tiny\.\n", done.stderr)


@pytest.mark.skipif(not HAS_GPU, reason="JAX finds no GPU here")
def test_the_checklist_is_fulfilled_on_a_gpu():
    subprocess.run([sys.executable, str(ROOT / "benchmarks" / "gpu.py")], check=True)
