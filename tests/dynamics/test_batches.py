"""Training on mini-batches beside the same steps in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import Partial

from eosbench import Batches, EdgeDistance, Every, OnBatch, Sharpness, load_state, save_state, train

N, P, SIZE, ETA = 23, 3, 5, 0.1
RANDOM = np.random.default_rng(11)
X, Y = RANDOM.normal(size=(N, P)), RANDOM.normal(size=N)
START = np.asarray([1.0, -1.0, 0.5])
DATA = {"x": jnp.asarray(X), "y": jnp.asarray(Y)}


def loss(w, batch):
    return jnp.mean((batch["x"] @ w - batch["y"]) ** 2) / 2


def rows_of(step, key, replace):
    """Which examples a step sees: what the documentation of `Batches` says."""
    if replace:
        return np.asarray(jax.random.randint(jax.random.fold_in(key, step), (SIZE,), 0, N))
    epoch, i = divmod(step, N // SIZE)
    return np.asarray(jax.random.permutation(jax.random.fold_in(key, epoch), N))[i * SIZE : (i + 1) * SIZE]


def by_hand(steps, key, replace):
    w, losses, points = START, [], []
    for step in range(steps):
        rows = rows_of(step, key, replace)
        rest = X[rows] @ w - Y[rows]
        losses.append(np.mean(rest**2) / 2)
        points.append((w, rows))
        w = w - ETA * X[rows].T @ rest / SIZE
    return w, losses, points


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("seed", [0, 3])
def test_each_step_is_that_of_its_batch(replace, seed):
    key = jax.random.key(seed)
    batches = Batches(DATA, SIZE, replace, key)
    probes = {"whole": Sharpness(), "own": OnBatch(Sharpness()), "params": lambda w: w}
    run = train(loss, jnp.asarray(START), optax.sgd(ETA), 11, probes, batches=batches)
    w, losses, points = by_hand(11, key, replace)
    np.testing.assert_allclose(run.loss, losses, rtol=1e-12)
    np.testing.assert_allclose(run.params, w, rtol=1e-12)
    np.testing.assert_allclose(run.probes["params"], [w for w, _ in points], rtol=1e-12)
    own = [np.linalg.eigvalsh(X[rows].T @ X[rows] / SIZE)[-1] for _, rows in points]
    np.testing.assert_allclose(run.probes["own"].values[:, 0], own, rtol=1e-9)
    np.testing.assert_allclose(run.probes["whole"].values, np.linalg.eigvalsh(X.T @ X / N)[-1], rtol=1e-9)


def test_an_epoch_sees_each_example_once_and_the_next_one_in_another_order():
    seen = {"rows": jnp.arange(N, dtype=float)}
    observed = []

    def noting(w, batch):
        jax.debug.callback(lambda rows: observed.append(np.asarray(rows)), batch["rows"], ordered=True)
        return jnp.sum(w**2) + 0 * jnp.sum(batch["rows"])

    train(noting, jnp.ones(1), optax.sgd(0.0), 8, batches=Batches(seen, SIZE))
    jax.effects_barrier()
    epochs = np.concatenate(observed).reshape(2, 4 * SIZE)
    assert all(len(set(epoch)) == 4 * SIZE for epoch in epochs)
    assert (epochs[0] != epochs[1]).any()


@pytest.mark.parametrize("replace", [False, True])
def test_a_run_that_is_continued_or_cut_is_the_same_to_the_bit(tmp_path, replace):
    batches, ball = Batches(DATA, SIZE, replace), optax.sgd(ETA, 0.9)
    probes = {"edge": EdgeDistance(ball), "own": OnBatch(Sharpness()), "some": Every(3, Sharpness())}
    whole = train(loss, jnp.asarray(START), ball, 13, probes, batches=batches)
    chunked = train(loss, jnp.asarray(START), ball, 13, probes, batches=batches, chunk=5)
    first = train(loss, jnp.asarray(START), ball, 6, probes, batches=batches)
    save_state(tmp_path / "state.npz", first.state)
    state = load_state(tmp_path / "state.npz", loss, jnp.asarray(START), ball, probes, batches=batches)
    rest = train(loss, state, ball, 7, probes, batches=batches)
    for run in (chunked, rest):
        assert jax.tree.all(jax.tree.map(np.array_equal, run.params, whole.params))
    assert np.array_equal(np.concatenate([first.loss, rest.loss]), whole.loss)
    assert np.array_equal(chunked.loss, whole.loss)
    for name in probes:
        joined = jax.tree.map(lambda a, b: np.concatenate([a, b]), first.probes[name], rest.probes[name])
        assert jax.tree.all(jax.tree.map(np.array_equal, joined, whole.probes[name])), name
        assert jax.tree.all(jax.tree.map(np.array_equal, chunked.probes[name], whole.probes[name])), name


def test_a_batch_of_all_examples_is_full_batch_training_up_to_rounding():
    whole = train(loss, jnp.asarray(START), optax.sgd(ETA), 9, args=(DATA,))
    batched = train(loss, jnp.asarray(START), optax.sgd(ETA), 9, batches=Batches(DATA, N))
    np.testing.assert_allclose(batched.loss, whole.loss, rtol=1e-12)


def test_arguments_come_before_the_batch():
    def weighted(w, weight, batch):
        return weight * loss(w, batch)

    twice = train(weighted, jnp.asarray(START), optax.sgd(ETA / 2), 9, args=(2.0,), batches=Batches(DATA, SIZE))
    once = train(loss, jnp.asarray(START), optax.sgd(ETA), 9, batches=Batches(DATA, SIZE))
    np.testing.assert_allclose(twice.params, once.params, rtol=1e-12)
    np.testing.assert_allclose(twice.loss, 2 * once.loss, rtol=1e-12)


def test_a_line_search_looks_at_the_batch():
    """A backtracking search on one example at a time: the Polyak step of optax with the value of the batch."""
    run = train(loss, jnp.asarray(START), optax.polyak_sgd(1.0), 4, batches=Batches(DATA, SIZE))
    w = START
    for step in range(4):
        rows = rows_of(step, jax.random.key(0), replace=False)
        rest = X[rows] @ w - Y[rows]
        gradient = X[rows].T @ rest / SIZE
        w = w - min(1.0, (np.mean(rest**2) / 2) / (gradient @ gradient)) * gradient
    np.testing.assert_allclose(run.params, w, rtol=1e-9)


def passes_over(n, probes, steps):
    """How often a loss over n examples is computed in a run."""
    count = []

    def counted(w, batch):
        size = batch["y"].shape[0]
        jax.debug.callback(lambda: count.append(size))
        return loss(w, batch)

    train(counted, jnp.asarray(START), optax.sgd(ETA), steps, probes, batches=Batches(DATA, SIZE))
    jax.effects_barrier()
    return count.count(n)


def test_all_data_are_passed_over_where_a_probe_measures_and_nowhere_else():
    assert passes_over(N, None, 10) == 0
    assert passes_over(SIZE, None, 10) == 10
    assert passes_over(N, {"own": OnBatch(Sharpness())}, 10) == 0
    at_the_start = passes_over(N, {"some": Every(100, Sharpness())}, 1)
    assert passes_over(N, {"some": Every(100, Sharpness())}, 10) == at_the_start


def test_another_step_size_or_key_compiles_nothing_again(compilations):
    def run(eta, seed):
        batches = Batches(DATA, SIZE, key=jax.random.key(seed))
        recipe = Partial(optax.sgd, eta)
        return train(loss, jnp.asarray(START), recipe, 7, {"own": OnBatch(Sharpness())}, batches=batches)

    run(0.1, 0)
    assert compilations() > 0
    run(0.2, 1)
    assert compilations() == 0


def test_runs_with_many_keys_are_one_under_vmap():
    keys = jax.random.split(jax.random.key(4), 3)
    run = lambda key: train(loss, jnp.asarray(START), optax.sgd(ETA), 6, batches=Batches(DATA, SIZE, key=key))  # noqa: E731
    together = jax.vmap(lambda key: run(key).params)(keys)
    np.testing.assert_allclose(together, [run(key).params for key in keys], rtol=1e-12)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda: Batches(DATA, N + 1), f"size of Batches is {N + 1}: it must be at most {N}"),
        (lambda: Batches(DATA, 0), "size of Batches is 0: it must be at least 1"),
        (lambda: Batches(DATA, 2.5), "size of Batches is 2.5, a float: it must be an integer"),
        (lambda: Batches({"x": DATA["x"], "y": DATA["y"][:3]}, 2), r"data of Batches has leading axes \[3, 23\]"),
        (lambda: Batches(DATA, 2, "yes"), "replace of Batches is 'yes': it must be True or False"),
        (
            lambda: train(loss, jnp.asarray(START), optax.sgd(ETA), 2, batches=(DATA, 5)),
            r"batches is a tuple: it must be a Batches, such as Batches\(\(x, y\), size=64\)",
        ),
        (
            lambda: train(loss, jnp.asarray(START), optax.sgd(ETA), 2, {"s": OnBatch(Sharpness())}, args=(DATA,)),
            r"probes\['s'\] is an OnBatch, and the run takes no mini-batches: pass batches=",
        ),
        (lambda: OnBatch(Every(2, Sharpness())), r"probe of OnBatch is an Every: write Every\(n, OnBatch\(probe\)\)"),
        (
            lambda: train(
                loss,
                jnp.asarray(START),
                optax.sgd(ETA),
                2,
                {"f": OnBatch(jnp.sum)},
                batches=Batches(DATA, SIZE),
            ),
            r"probes\['f'\] is OnBatch.*pass it without OnBatch",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(made, told):
    with pytest.raises((TypeError, ValueError), match=told):
        made()


def test_a_state_is_continued_with_the_same_kind_of_batches():
    first = train(loss, jnp.asarray(START), optax.sgd(ETA), 3, batches=Batches(DATA, SIZE))
    with pytest.raises(
        ValueError, match=r"holds order int32\[23\], which the loss, optimizer, probes and batches given"
    ):
        train(loss, first.state, optax.sgd(ETA), 3, args=(DATA,))
    with pytest.raises(ValueError, match=r"holds order int32\[23\], which .* have not"):
        train(loss, first.state, optax.sgd(ETA), 3, batches=Batches(DATA, SIZE, replace=True))
