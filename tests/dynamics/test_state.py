"""A state is continued by the run that it belongs to, and says so where it is given to another one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import Partial

from eosbench.dynamics import train
from eosbench.dynamics._state import save_state
from eosbench.dynamics._training import load_state
from eosbench.probes import Sharpness

P = 100
PARAMS = {"w": jnp.linspace(-1.0, 1.0, P)}
PROBES = {"sharpness": Sharpness()}
ADAM = Partial(optax.adam, 0.01)


def loss(params):
    return jnp.sum(jnp.linspace(0.1, 3.0, P) * params["w"] ** 2) / 2


def elsewhere(params):
    return jnp.sum(params["v"])


def rows(params):
    return jnp.sum(params["w"].reshape(10, 10) ** 2)


@pytest.fixture(scope="module")
def state():
    return train(loss, PARAMS, ADAM, 2, PROBES).state


OTHERS = {
    "no probes": (
        ADAM,
        {},
        r"holds probes\['sharpness'\].* float64\[5, 100\].* and 15 more, which the loss, .* have not",
    ),
    "another name": (ADAM, {"top": Sharpness()}, r"holds probes\['sharpness'\].* go with probes\['top'\]"),
    "one more": (ADAM, {**PROBES, "b": Sharpness()}, r"lacks probes\['b'\]\.last\.vectors float64\[5, 100\]"),
    "another k": (
        ADAM,
        {"sharpness": Sharpness(k=2)},
        r"holds .*motion float64\[1, 100\].* go with .*float64\[2, 100\]",
    ),
    "another block": (
        ADAM,
        {"sharpness": Sharpness(block=6)},
        r"holds .*float64\[5, 100\].* go with .*float64\[7, 100\]",
    ),
    "another optimizer": (
        optax.sgd(0.1),
        PROBES,
        r"holds optimizer\[0\]\.count int32\[\].*, which the loss, .* have not",
    ),
    "with momentum": (
        optax.sgd(0.1, momentum=0.9),
        PROBES,
        r"holds .*\.mu\['w'\] float64\[100\].* go with .*\.trace\['w'\] float64\[100\]",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_state_of_another_run_is_refused(name, state, tmp_path):
    optimizer, probes, message = OTHERS[name]
    with pytest.raises(ValueError, match=f"params is a state that {message}.*or start anew from its params"):
        train(loss, state, optimizer, 2, probes)
    save_state(tmp_path / "state", state)
    with pytest.raises(ValueError, match=f"path is '.*state', a state that {message}"):
        load_state(tmp_path / "state", loss, PARAMS, optimizer, probes)


def test_a_loss_that_does_not_take_the_params_of_a_state_is_refused(state):
    message = (
        r"params is a state that holds params \['w'\] float64\[100\], which loss does not take \(KeyError: 'v'\): "
    )
    with pytest.raises(TypeError, match=message):
        train(elsewhere, state, ADAM, 2, PROBES)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"w": PARAMS["w"].astype(jnp.float32)},
            r"params\['w'\] float64\[100\].* go with params\['w'\] float32\[100\]",
        ),
        ({"w": PARAMS["w"].reshape(10, 10)}, r"params\['w'\] float64\[100\].* go with params\['w'\] float64\[10, 10\]"),
        ({"w": PARAMS["w"], "b": jnp.ones(2)}, r"lacks params\['b'\] float64\[2\]"),
    ],
)
def test_a_file_for_other_params_is_refused(params, message, state, tmp_path):
    save_state(tmp_path / "state", state)
    with pytest.raises(ValueError, match=message):
        load_state(tmp_path / "state", rows, params, ADAM, PROBES)


def test_what_is_no_state_is_refused(tmp_path):
    run = train(loss, PARAMS, ADAM, 2)
    with pytest.raises(TypeError, match=r"params is a Run: pass its state, run\.state, to continue"):
        train(loss, run, ADAM, 2)
    with pytest.raises(TypeError, match=r"state is a Run: it must be a TrainState, such as run\.state"):
        save_state(tmp_path / "state", run)


def test_a_state_is_continued_with_another_tolerance_loss_step_size_or_function(state):
    run = train(rows, state, Partial(optax.adam, 0.02), 2, {"sharpness": Sharpness(rtol=1e-4), "w": lambda p: p["w"]})
    assert int(run.state.step) == 4
    np.testing.assert_allclose(run.probes["sharpness"].values[-1], 2.0, rtol=1e-3)


def test_a_missing_or_damaged_file_is_named(tmp_path, state):
    path = tmp_path / "state"
    with pytest.raises(FileNotFoundError, match=r"path is '.*state', where no file is"):
        load_state(path, loss, PARAMS, ADAM, PROBES)
    save_state(path, state)
    whole = path.read_bytes()
    middle = len(whole) // 2
    foreign = tmp_path / "foreign.npz"
    np.savez(foreign, x=np.ones(3))
    damages = [b"", whole[:100], whole[:middle], whole[:-1], whole[:middle] + b"~~~~" + whole[middle + 4 :], b"text"]
    for damage in [*damages, foreign.read_bytes(), np.ones(3).tobytes()]:
        path.write_bytes(damage)
        with pytest.raises(ValueError, match=r"path is '.*state', which is damaged or was not written by save_state"):
            load_state(path, loss, PARAMS, ADAM, PROBES)


def test_a_save_that_is_killed_leaves_the_file_before(tmp_path, state, monkeypatch):
    path = tmp_path / "state"
    save_state(path, state)

    def killed(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", killed)
    with pytest.raises(KeyboardInterrupt):
        save_state(path, state)
    assert load_state(path, loss, PARAMS, ADAM, PROBES).step == 2


def test_a_file_keeps_every_dtype_and_structure(tmp_path):
    optimizer = optax.chain(
        optax.adam(0.1, mu_dtype=jnp.bfloat16), optax.add_noise(0.1, 0.5, jax.random.key(3, impl="rbg"))
    )
    params = {"a/b": jnp.ones(3), 7: [jnp.ones((2, 0)), jnp.ones((), jnp.float32)], "x": (jnp.ones((2, 2)),)}
    loss = lambda p: sum(jnp.sum(leaf.astype(float) ** 2) for leaf in jax.tree.leaves(p))  # noqa: E731
    params = {str(key): value for key, value in params.items()}
    first = train(loss, params, optimizer, 2).state
    save_state(tmp_path / "state", first)
    second = load_state(tmp_path / "state", loss, params, optimizer)
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert a.dtype == b.dtype
        assert (a == b).all()
    runs = [train(loss, state, optimizer, 3) for state in (first, second)]
    np.testing.assert_array_equal(runs[0].params["a/b"], runs[1].params["a/b"])
