"""On eight virtual devices everything is measured as on one, in vectors of which each device holds an eighth.

What is found is compared with one device, and with an eigendecomposition in double precision of a Hessian that knows
nothing of devices.
"""

import json
import os
import subprocess
import sys
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eosbench.curvature import Layout
from eosbench.curvature._layout import _normal

SETTING = """
import json, sys, tempfile
import equinox as eqx, jax, jax.numpy as jnp, numpy as np, optax
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P, reshard
import eosbench
from eosbench.curvature import Layout, MicroBatched, dense_hessian, linearize

SPECS = {
    "one": {}, "replicated": {}, "fsdp": dict(a=P("d"), b=P("d"), c=P("d")),
    "2d": dict(a=P(None, "m"), b=P("m"), c=P("m", None)),
}

def network(params, x, y, whole=lambda leaf: leaf, product=jnp.matmul):
    hidden = jnp.tanh(x @ whole(params["a"]) + whole(params["b"])[None])
    return jnp.mean((jnp.tanh(product(hidden, whole(params["c"])) + params["d"][None]) @ params["e"] - y) ** 2)

def problem(how="one", kind="Auto", ragged=False):
    h, n = (19, 40) if ragged else (16, 64)
    keys = jax.random.split(jax.random.key(0), 5)
    normal = lambda key, shape: np.asarray(jax.random.normal(key, shape, jnp.float32))
    x = normal(keys[0], (n, 8))
    params = dict(a=normal(keys[1], (8, 24)) / 3, b=np.zeros(24, np.float32), c=normal(keys[2], (24, h)) / 5,
                  d=np.full(h, 0.1, np.float32), e=normal(keys[3], (h, 4)) / 4)
    data = (x, np.sin(x[:, :4]))
    if how == "one":
        return network, jax.tree.map(jnp.asarray, params), jax.tree.map(jnp.asarray, data)
    shape, names = ((4, 2), ("d", "m")) if how == "2d" else ((8,), ("d",))
    mesh = jax.make_mesh(shape, names, axis_types=(getattr(AxisType, kind),) * len(shape))
    place = lambda leaf, spec: jax.device_put(leaf, NamedSharding(mesh, spec))
    params = {name: place(leaf, SPECS[how].get(name, P())) for name, leaf in params.items()}
    data = tuple(place(array, P("d")) for array in data)
    loss = network
    if kind == "Explicit":  # where types have to say what is gathered
        to = lambda *spec: NamedSharding(mesh.abstract_mesh, P(*spec))
        whole = (lambda leaf: leaf) if how == "2d" else (lambda leaf: reshard(leaf, to()))
        product = lambda left, right: jnp.matmul(left, right, out_sharding=to("d"))
        loss = lambda params, x, y: network(params, x, y, whole, product)
    return loss, params, data

def flat(layout, rows):
    return [np.asarray(ravel_pytree(jax.tree.map(np.asarray, layout.unravel(row)))[0]).tolist() for row in rows]

def shard(array):
    return list(array.addressable_shards[0].data.shape)
"""

COLD = """
def told(how, kind, ragged):
    loss, params, data = problem(how, kind, ragged)
    found = eosbench.sharpness(loss, params, args=data, k=2)
    small = dict(v=params["e"])
    of_small = lambda small, x, y: loss(params | dict(e=small["v"]), x, y)
    micro = MicroBatched(lambda params, batch: network(params, *batch), data, 3)
    return dict(
        values=found.values.tolist(), residuals=found.residuals.tolist(), upper=float(found.upper),
        hvps=int(found.hvps), converged=bool(found.converged), vectors=flat(found.layout, found.vectors),
        size=found.layout.size, p=found.layout.p, shard=shard(found.vectors),
        small=eosbench.sharpness(of_small, small, args=data).values.tolist() if ragged else None,
        batched=eosbench.sharpness(micro, params).values.tolist() if ragged and how != "one" else None,
        hessian=dense_hessian(lambda params: loss(params, *data), params).tolist(),
    )
"""

TRACKED = """
def in_precision(bits, *case):
    jax.config.update("jax_enable_x64", bits == 64)
    loss, params, data = problem(*case)
    return loss, *jax.tree.map(lambda leaf: leaf.astype(f"float{bits}"), (params, data))

def told(how, kind, ragged, bits):
    loss, params, data = in_precision(bits, how, kind, ragged)
    probes = {"s": eosbench.Sharpness(rtol=1e-5)}
    start = eosbench.train(loss, params, optax.adam(3e-3), 20, probes, args=data)
    run = eosbench.train(loss, start.state, optax.adam(3e-3), 60, probes, args=data)
    track, memory = run.probes["s"], run.state.probes["s"]

    def continued(*elsewhere):  # on as many devices as one likes
        loss, params, data = in_precision(bits, *elsewhere, ragged)
        state = eosbench.load_state(path, loss, params, optax.adam(3e-3), probes, args=data)
        track = eosbench.train(loss, state, optax.adam(3e-3), 60, probes, args=data).probes["s"]
        return track.values.tolist(), int(track.hvps.sum())

    with tempfile.TemporaryDirectory() as folder:
        path = folder + "/state"
        eosbench.save_state(path, start.state)
        resumed = [continued(how, kind), continued("one", "Auto")] if how != "one" else []
    return dict(
        resumed=resumed,
        values=np.concatenate([start.probes["s"].values, track.values]).tolist(), loss=run.loss.tolist(),
        hvps=int(track.hvps.sum()), converged=bool(track.converged.all()), shard=shard(memory.last.vectors),
        split=shard(run.params["a"]),
    )
"""

# Each virtual device that waits for the others holds a thread of XLA, and of two sums over different axes some wait in
# one and some in the other: with as many threads as devices, for ever. And a busy machine is slow.
DEVICES = {
    "XLA_FLAGS": "--xla_force_host_platform_device_count=8 --xla_cpu_collective_call_terminate_timeout_seconds=600",
    "NPROC": "64",
    "JAX_PLATFORMS": "cpu",
}
CASES = [
    ("replicated", "Auto", True),
    ("replicated", "Explicit", False),
    ("fsdp", "Auto", False),
    ("fsdp", "Explicit", True),
    ("2d", "Auto", True),
    ("2d", "Explicit", False),
]
LOOPS = [(*loop, bits) for loop in (("fsdp", "Explicit", True), ("2d", "Auto", False)) for bits in (32, 64)]
ON_ONE = [("one", "Auto", ragged, bits) for ragged in (False, True) for bits in (32, 64)]
REFERENCES = [("one", "Auto", ragged) for ragged in (False, True)]


@cache
def run(program, *cases):
    """What the program tells of each case, in a process that sees eight devices."""
    loop = f"print('told', json.dumps([told(*case) for case in {list(cases)!r}]))"
    done = subprocess.run(
        [sys.executable, "-c", SETTING + program + loop],
        capture_output=True,
        text=True,
        env=os.environ | DEVICES,
    )
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("told ")]
    return dict(zip(cases, json.loads(line[5:]), strict=True))


def network(params, x, y):
    hidden = jnp.tanh(x @ params["a"] + params["b"][None])
    return jnp.mean((jnp.tanh(hidden @ params["c"] + params["d"][None]) @ params["e"] - y) ** 2)


@cache
def hessian(ragged):
    """In double precision on one device, and its eigenvalues, ascending."""
    told = run(PROBLEM, ("one", "Auto", ragged))[("one", "Auto", ragged)]
    params = {name: jnp.asarray(leaf) for name, leaf in told["params"].items()}
    data = [jnp.asarray(array) for array in told["data"]]
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    matrix = np.asarray(jax.hessian(lambda flat: network(unravel(flat), *data))(flat))
    return matrix, np.linalg.eigvalsh(matrix)


PROBLEM = """
def told(*case):
    _, params, data = problem(*case)
    return dict(params={name: leaf.tolist() for name, leaf in params.items()}, data=[x.tolist() for x in data])
"""


@pytest.mark.parametrize("case", CASES)
def test_a_cold_solve_is_that_of_one_device(case):
    found, one = run(COLD, *CASES)[case], run(COLD, *REFERENCES)[("one", "Auto", case[-1])]
    matrix, exact = hessian(case[-1])
    norm = np.abs(exact).max()
    assert found["converged"]
    assert found["values"][0] == pytest.approx(exact[-1], abs=1e-5 * norm)
    assert found["values"] == pytest.approx(one["values"], abs=1e-3 * norm)
    assert exact[-1] <= found["upper"]
    vectors, values = np.array(found["vectors"]), np.array(found["values"])
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(2), atol=1e-5)
    residuals = np.linalg.norm(vectors @ matrix - values[:, None] * vectors, axis=1)
    np.testing.assert_allclose(residuals, found["residuals"], atol=1e-5 * norm)
    np.testing.assert_allclose(found["hessian"], matrix, atol=1e-5 * norm)


@pytest.mark.parametrize("case", CASES)
def test_each_device_holds_an_eighth(case):
    found = run(COLD, *CASES)[case]
    assert found["p"] == (767 if case[-1] else 680)
    assert found["p"] < found["size"] <= 1.05 * found["p"]  # never equal: see the layout
    assert found["shard"] == [2, found["size"] / 8]


@pytest.mark.parametrize("case", [case for case in CASES if case[-1]])
def test_a_matrix_small_enough_is_solved_whole(case):
    found, one = run(COLD, *CASES)[case], run(COLD, *REFERENCES)[("one", "Auto", case[-1])]
    assert found["small"] == pytest.approx(one["small"], rel=1e-5)


@pytest.mark.parametrize("case", [case for case in CASES if case[-1]])
def test_micro_batches_of_examples_that_are_split_are_those_of_the_whole(case):
    _, exact = hessian(case[-1])
    assert run(COLD, *CASES)[case]["batched"] == pytest.approx([exact[-1]], abs=1e-5 * exact[-1])


@pytest.mark.skipif(
    jax.config.jax_numpy_dtype_promotion == "strict",
    reason="optax.adam mixes floats and counts, which strict promotion forbids.",
)
@pytest.mark.parametrize("case", LOOPS)
def test_a_tracked_run_is_that_of_one_device(case):
    found, one = run(TRACKED, *LOOPS)[case], run(TRACKED, *ON_ONE)[("one", "Auto", *case[-2:])]
    *_, ragged, bits = case
    # In double precision rounding decides nothing.
    close = 1e-5 if bits == 32 else 1e-9
    as_many = pytest.approx(one["hvps"], abs=0.05 * one["hvps"] if bits == 32 else 0)
    assert found["converged"]
    np.testing.assert_allclose(found["loss"], one["loss"], rtol=close)
    np.testing.assert_allclose(found["values"], one["values"], atol=close * np.abs(one["values"]).max())
    assert found["hvps"] == as_many
    for resumed, products in found["resumed"]:
        np.testing.assert_allclose(resumed, one["values"][20:], atol=close * np.abs(one["values"]).max())
        assert products == as_many  # wrong vectors would be found again
    size = 767 if ragged else 680
    assert found["shard"][0] == 5
    assert size / 8 < found["shard"][1] <= 1.05 * size / 8
    assert found["split"] == ([1, 24] if case[0] == "fsdp" else [8, 12])


SENT = """
import re

def told(how, micro):
    loss, params, data = problem(how, ragged=micro)
    layout = Layout.of(params, data)
    whole = MicroBatched(lambda params, batch: loss(params, *batch), data, 3)

    def repeated(params, data, vector):
        of_params = whole if micro else lambda params: loss(params, *data)
        product = linearize(of_params, params, layout=layout).product
        return jax.lax.fori_loop(0, 3, lambda _, vector: layout.constrain(product(vector)), layout.constrain(vector))

    text = jax.jit(repeated).lower(params, data, jnp.zeros(layout.size, jnp.float32)).compile().as_text()
    kinds = r"all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute"
    found = {}
    for computation in re.split(r"\\n(?=%|ENTRY)", text):
        if not computation.startswith("ENTRY"):
            for result, name in re.findall(rf"= (\\([^)]*\\)|\\S+) ({kinds})(?:-start)?\\(", computation):
                shapes = re.findall(r"f32\\[([0-9,]*)\\]", result)
                found.setdefault(name, []).append([int(np.prod([int(n) for n in s.split(",") if n])) for s in shapes])
    return found
"""


PRODUCTS = [("replicated", False), ("fsdp", False), ("replicated", True)]


@pytest.mark.parametrize("case", PRODUCTS)
def test_a_product_gathers_and_adds_each_leaf_once_and_sends_nothing_else(case):
    sent, (how, micro) = run(SENT, *PRODUCTS)[case], case
    assert set(sent) == {"all-gather", "all-reduce"}
    gathered = sorted(size for sizes in sent["all-gather"] for size in sizes)
    if how == "replicated":
        assert gathered == [768 if micro else 688]  # all leaves together, with their padding
    else:  # by the loss the three that are split, by the layout the two others together
        assert gathered == sorted([8 * 24, 24, 24 * 16, 88])
    assert len(sent["all-reduce"]) == 1
    if micro:  # the sums of all chunks, of each leaf once
        assert sorted(sent["all-reduce"][0]) == sorted([8 * 24, 24, 24 * 19, 19, 19 * 4])


PARTS = """
def told(kind):
    mesh = jax.make_mesh((4, 2), ("d", "m"), axis_types=2 * (getattr(AxisType, kind),))
    place = lambda leaf, *spec: jax.device_put(leaf, NamedSharding(mesh, P(*spec)))
    tree = dict(a=place(jnp.arange(48.0).reshape(8, 6), "d", "m"), b=place(jnp.arange(5, dtype=jnp.int32)),
                c=place(jnp.arange(14.0).reshape(7, 2), None, "m"), d=place(jnp.arange(16.0), ("m", "d")))
    layout = Layout.of(tree)
    vector = layout.ravel(tree)
    back = layout.unravel(vector)
    same = [bool((back[name] == tree[name]).all()) and back[name].dtype == tree[name].dtype for name in tree]
    order = np.asarray(layout.order())
    with jax.numpy_dtype_promotion("standard"):  # for integers beside floats
        whole, whole_back = ravel_pytree(jax.tree.map(np.asarray, tree))
    stays = []  # whether what a device holds of the leaf that is split over some axes was in its shard
    for piece, own in zip(layout.ravel({**jax.tree.map(jnp.zeros_like, tree), "c": tree["c"] + 1}).addressable_shards,
                          tree["c"].addressable_shards):
        held = set(np.asarray(piece.data).tolist()) - {0.0}
        stays.append(len(held) > 0 and held <= set((np.asarray(own.data) + 1).ravel().tolist()))
    try:
        whole_back(vector)
        refused = False
    except (TypeError, ValueError):
        refused = True
    return dict(p=layout.p, size=layout.size, same=same, stays=stays, refused=refused, shard=shard(vector),
                order=bool((np.asarray(vector)[order >= 0] == whole[order[order >= 0]]).all()),
                even=Layout.of(dict(d=tree["d"])).size,
                padding=int((order < 0).sum()), complete=sorted(order[order >= 0].tolist()) == list(range(layout.p)),
                zeros=(np.asarray(layout.random(jax.random.key(0), (), vector.dtype)) == 0).tolist()
                == (order < 0).tolist(),
                random=[(np.asarray(layout.random(jax.random.key(5), shape, jnp.float32))[..., order >= 0] ==
                         np.asarray(jax.random.normal(jax.random.key(5), (*shape, layout.p)))[..., order[order >= 0]]
                         ).all().tolist() for shape in ((), (3,))],
                units=(np.asarray(layout.units(jnp.float32)) @ np.asarray(vector)).tolist() == whole.tolist())
"""


@pytest.mark.parametrize("kind", ["Auto", "Explicit"])
def test_a_flat_vector_holds_every_entry_once_where_it_was(kind):
    told = run(PARTS, ("Auto",), ("Explicit",))[(kind,)]
    assert told["p"] == 48 + 5 + 14 + 16
    assert all(told["same"])
    assert told["order"]
    assert told["complete"]
    assert told["units"]
    assert told["stays"] == 8 * [True]
    assert told["padding"] == told["size"] - told["p"] > 0
    assert told["zeros"]
    assert told["random"] == 2 * [True]  # what is drawn for a parameter is what one device draws
    assert told["refused"]
    assert told["even"] > 16  # there would be no padding, but for that
    assert told["shard"] == [told["size"] / 8]


def test_on_one_device_the_order_is_that_of_ravel_pytree():
    tree = {"a": jnp.arange(6.0, dtype=jnp.float32).reshape(2, 3), "b": jnp.arange(2.0), "c": jnp.float32(7)}
    with jax.numpy_dtype_promotion("standard"):
        layout, (flat, unravel) = Layout.of(tree), jax.flatten_util.ravel_pytree(tree)
    assert layout.size == layout.p == flat.size
    np.testing.assert_array_equal(layout.ravel(tree), flat)
    assert layout.ravel(tree).dtype == flat.dtype
    jax.tree.map(np.testing.assert_array_equal, layout.unravel(flat), unravel(flat))
    assert jax.tree.map(lambda leaf: leaf.dtype, layout.unravel(flat)) == jax.tree.map(lambda leaf: leaf.dtype, tree)


@pytest.mark.parametrize("columns", [1, 7, 16, 17, 33, 500])
def test_rows_changed_by_columns_are_the_rows_changed_at_once(columns):
    rng = np.random.default_rng(columns)
    rows, others, matrix = rng.normal(size=(3, columns)), rng.normal(size=(2, columns)), rng.normal(size=(3, 3))

    def change(matrix, rows, others):
        return matrix @ rows, others + rows[:2]

    layout = Layout.flat(columns, jnp.float64)
    changed = jax.jit(lambda *arrays: layout.by_columns(change, *arrays))(matrix, rows, others)
    for found, expected in zip(changed, (matrix @ rows, others + rows[:2]), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_a_random_number_at_a_place_is_the_one_that_jax_has_there(dtype):
    key, places = jax.random.key(3), np.random.default_rng(0).integers(0, 200_000, 5_000)
    whole = np.asarray(jax.random.normal(key, (2, 100_000), dtype)).ravel()
    np.testing.assert_array_equal(_normal(key, jnp.asarray(places, jnp.uint32), dtype), whole[places])


REFUSED = """
def told():
    _, params, data = problem("fsdp", "Explicit")
    try:
        jax.set_mesh(params["a"].sharding.mesh)
        jax.jit(lambda params: linearize(lambda params: jnp.sum(params["a"] ** 2), params).gradient)(params)
    except TypeError as error:
        return str(error)
"""


def test_in_a_function_of_ones_own_explicit_axes_over_parameters_are_refused():
    told = run(REFUSED, ())[()]
    assert told.startswith("params['a'] is split over a mesh of explicit axes")
    assert "replicate it" in told
