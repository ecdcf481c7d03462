"""The compiled training loop against iterations that are known in closed form."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import Partial

from eosbench.dynamics import Every, load_state, progress_line, save_state, train
from eosbench.dynamics._training import _advance_in_place, _begin, _model, _read_step
from eosbench.probes import Sharpness


def quadratic(eigenvalues, x):
    return 0.5 * jnp.sum(eigenvalues * x * x)


def test_gradient_descent_on_a_quadratic_is_the_known_power():
    eigenvalues = jnp.asarray([1.0, 2.0, 5.0])
    run = train(Partial(quadratic, eigenvalues), jnp.ones(3), optax.sgd(0.1), 7)
    np.testing.assert_allclose(run.params, (1 - 0.1 * eigenvalues) ** 7, rtol=1e-14)
    assert run.loss.shape == (7,)
    np.testing.assert_allclose(run.loss[0], 4.0)


@pytest.mark.parametrize("p", [5, 400])
def test_sharpness_at_every_step_of_a_quadratic(p):
    eigenvalues = jnp.linspace(0.0, 1.0, p).at[-1].set(3.0)
    run = train(Partial(quadratic, eigenvalues), jnp.ones(p), optax.adam(0.1), 6, {"sharpness": Sharpness(k=2)})
    track = run.probes["sharpness"]
    assert track.values.shape == (6, 2)
    np.testing.assert_allclose(track.values[:, 0], 3.0, rtol=1e-3)
    assert track.converged.all()


def test_probes_are_measured_where_the_loss_is():
    probes = {"x": lambda x: x, "third": Every(3, Sharpness())}
    run = train(Partial(quadratic, jnp.ones(4)), jnp.ones(4), optax.sgd(0.5), 7, probes)
    np.testing.assert_allclose(run.probes["x"][:, 0], 0.5 ** np.arange(7))
    assert run.probes["third"].values.shape == (3, 1)


def test_a_diverging_run_completes():
    run = train(Partial(quadratic, jnp.ones(100)), jnp.ones(100), optax.sgd(1e30), 20, {"sharpness": Sharpness()})
    assert not np.isfinite(run.loss[-1])
    assert not run.probes["sharpness"].converged[-1]


def test_another_start_or_step_size_does_not_compile_again(compilations):
    starts, probes = [jnp.full(5, 0.5 + i) for i in range(3)], {"sharpness": Sharpness()}
    for i, eta in enumerate((0.1, 0.2, 0.3)):
        run = train(Partial(quadratic, starts[i]), starts[i], Partial(optax.sgd, eta), 100, probes)
        assert (compilations() > 0) == (i == 0)
    assert run.params.dtype == jnp.float64


def test_a_recipe_in_single_precision_stays_there():
    run = train(Partial(quadratic, jnp.ones(3, jnp.float32)), jnp.ones(3, jnp.float32), Partial(optax.adam, 0.1), 3)
    assert run.params.dtype == jnp.float32


def test_a_bad_argument_is_named():
    with pytest.raises(ValueError, match="steps is 0"):
        train(jnp.sum, jnp.ones(3), optax.sgd(0.1), 0)
    with pytest.raises(TypeError, match="probes\\['x'\\] is a int"):
        train(jnp.sum, jnp.ones(3), optax.sgd(0.1), 1, {"x": 3})
    with pytest.raises(ValueError, match="k of a Sharpness probe is 4"):
        train(jnp.sum, jnp.ones(3), optax.sgd(0.1), 1, {"x": Sharpness(k=4)})


@pytest.mark.parametrize(("steps", "chunk", "name"), [(3.0, None, "steps"), ("3", None, "steps"), (3, 2.5, "chunk")])
def test_a_number_of_steps_is_an_integer(steps, chunk, name):
    with pytest.raises(TypeError, match=f"{name} is .*: it must be an integer"):
        train(jnp.sum, jnp.ones(3), optax.sgd(0.1), steps, chunk=chunk)


def test_an_integer_of_any_type_is_one():
    loss, x = Partial(quadratic, jnp.linspace(0.0, 1.0, 20)), jnp.ones(20)
    probe = Sharpness(k=2, max_hvps=30, block=5, seed=1)
    expected = train(loss, x, optax.sgd(0.5), 5, {"sharpness": probe}, chunk=2)
    for make in (np.int64, jnp.asarray):
        numbers = {name: make(getattr(probe, name)) for name in ("k", "max_hvps", "block", "seed")}
        run = train(loss, x, optax.sgd(0.5), make(5), {"sharpness": Sharpness(**numbers)}, chunk=make(2))
        assert_same_bits((run.loss, run.probes), (expected.loss, expected.probes))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 2.0}, "k of a Sharpness probe is 2.0, a float: it must be an integer"),
        ({"block": 0}, "block of a Sharpness probe is 0: it must be at least 1"),
        ({"max_hvps": None}, "max_hvps of a Sharpness probe is None"),
        ({"seed": 0.0}, "seed of a Sharpness probe is 0.0"),
        ({"rtol": np.float32(-1)}, "rtol of a Sharpness probe is -1.0: it must be a number between 0 and 1"),
        ({"rtol": np.inf}, "rtol of a Sharpness probe is inf"),
    ],
)
def test_a_bad_option_of_the_probe_is_named(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Sharpness(**options)


def test_a_seed_may_be_traced():
    loss, x = Partial(quadratic, jnp.linspace(0.0, 1.0, 300)), jnp.ones(300)
    run = jax.vmap(lambda seed: train(loss, x, optax.sgd(0.5), 2, {"s": Sharpness(seed=seed)}).probes["s"])
    assert jax.eval_shape(run, jnp.arange(3)).values.shape == (3, 2, 1)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (0.1, "optimizer is 0.1, a float: .*optax.sgd"),
        (None, "optimizer is None, a NoneType: "),
        (Partial(lambda: 0.1), "optimizer returned a float: .*optax.sgd"),
    ],
)
def test_what_is_no_optimizer_is_refused(optimizer, message):
    with pytest.raises(TypeError, match=message):
        train(jnp.sum, jnp.ones(3), optimizer, 1)


class Silent:
    def init(self, point):
        return None

    def measure(self, point, state):
        return None


@pytest.mark.parametrize(
    ("probes", "message"),
    [
        ([Sharpness()], "probes is a list: it must map names to probes"),
        (Sharpness(), "probes is a Sharpness: it must map names to probes"),
        ({"x": Sharpness}, "probes\\['x'\\] is the class Sharpness: it must be an instance, Sharpness\\(\\)"),
        ({"x": lambda params: None}, "probes\\['x'\\] returned None: it must return an array"),
        ({"x": lambda params: "tall"}, "probes\\['x'\\] returned 'tall'"),
        ({"x": Silent()}, "probes\\['x'\\] measured None: it must return a pair"),
    ],
)
def test_what_is_no_probe_is_refused(probes, message):
    with pytest.raises(TypeError, match=message):
        train(jnp.sum, jnp.ones(3), optax.sgd(0.1), 1, probes)


PROBES = {"sharpness": Sharpness(k=2), "third": lambda x: x[:3]}


def quartic(eigenvalues, x):
    return quadratic(eigenvalues, x) + jnp.sum(x**4) / 4 + jnp.sum(x) ** 2 / 100


def assert_same_bits(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope="module")
def long_run():
    loss, x, recipe = (
        Partial(quartic, jnp.linspace(0.1, 3.0, 300)),
        jnp.linspace(-1.0, 1.0, 300),
        Partial(optax.adam, 0.01),
    )
    return loss, x, recipe, train(loss, x, recipe, 24, PROBES)


def test_a_run_resumed_from_a_file_is_the_uninterrupted_run(tmp_path, long_run):
    loss, x, recipe, whole = long_run
    first = train(loss, x, recipe, 7, PROBES)
    save_state(tmp_path / "state.eqx", first.state)
    state = load_state(tmp_path / "state.eqx", loss, x, recipe, PROBES)
    second = train(loss, state, recipe, 17, PROBES)
    assert_same_bits(second.params, whole.params)
    joined = jax.tree.map(lambda a, b: np.concatenate([a, b]), first.probes, second.probes)
    assert_same_bits(joined, whole.probes)


def test_a_run_in_chunks_is_the_run_in_one(long_run):
    loss, x, recipe, whole = long_run
    seen = []
    parts = train(loss, x, recipe, 24, PROBES, chunk=17, on_chunk=lambda run: seen.append(len(run.loss)))
    assert seen == [17, 7]
    assert isinstance(parts.loss, np.ndarray)
    assert_same_bits((parts.loss, parts.params, parts.probes), (whole.loss, whole.params, whole.probes))


def test_states_that_were_seen_can_be_continued(long_run):
    loss, x, recipe, whole = long_run
    seen = []
    train(loss, x, recipe, 24, PROBES, chunk=7, on_chunk=lambda run: seen.append(run.state))
    for _ in range(2):
        assert_same_bits(train(loss, seen[0], recipe, 17, PROBES).params, whole.params)
    assert_same_bits(seen[-1].params, whole.params)
    assert_same_bits(train(loss, x, recipe, 24, PROBES).params, whole.params)


def test_a_state_gives_its_memory_to_the_next(long_run):
    loss, x, recipe, _ = long_run
    step, init = _read_step(_model(loss, (), None, recipe, PROBES), x)
    state = _begin(step.problem, init, x)
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(state) if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))
    program = _advance_in_place.lower(step, state, 5, False).compile().compiled
    assert program.memory_analysis().alias_size_in_bytes >= held


def test_measurements_keep_their_steps_across_a_resumption():
    loss, x = Partial(quadratic, jnp.ones(4)), jnp.ones(4)
    probes = {"third": Every(3, Sharpness())}
    first = train(loss, x, optax.sgd(0.5), 4, probes)
    assert first.probes["third"].values.shape == (2, 1)
    assert train(loss, first.state, optax.sgd(0.5), 4, probes).probes["third"].values.shape == (1, 1)


def test_progress_is_told_by_the_chunk():
    told = io.StringIO()
    train(Partial(quartic, jnp.ones(3)), jnp.ones(3), optax.sgd(0.1), 25, chunk=10, on_chunk=progress_line(25, told))
    lines = told.getvalue().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step 10 of 25", "step 20 of 25", "step 25 of 25"]
    assert lines[-1].endswith("0 s left")
    assert "loss " in lines[0]


def test_data_go_in_args():
    def loss(params, data):
        return jnp.sum(data * params**2) / 2

    run = train(loss, jnp.ones(2), optax.sgd(0.5), 2, args=(jnp.asarray([1.0, 2.0]),))
    np.testing.assert_allclose(run.loss, [1.5, 0.125])
    np.testing.assert_allclose(run.params, [0.25, 0.0])
    with pytest.raises(TypeError, match="args is a float: it must be a tuple"):
        train(loss, jnp.ones(2), optax.sgd(0.5), 2, args=1.0)
