"""The stability threshold of every optimizer of optax beside an oracle that shares no code with it: prints two tables.

    python benchmarks/thresholds.py [write] [name ...]

`write` puts the tables into docs/optimizers.md; names choose among the settings. The exit status is 1 if two numbers
differ by more than 1e-8.

Each optimizer takes 300 steps with random gradients of unequal sizes on three parameters. Then its next step is
linearized at a zero gradient on quadratics with Hessian t H, H a full matrix. The oracle forms the Jacobian of (state,
parameters) -> (state, parameters) and bisects t until an eigenvalue left of 0 leaves the unit circle; it must be -1.
"""

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
from jax.flatten_util import ravel_pytree
from tabulate import tabulate

from eosbench import stability

PAGE = Path(__file__).parents[1] / "docs" / "optimizers.md"
STEPS = 300
TOLERANCE = 1e-8

ETA, B, OMEGA = 0.01, 0.9, 0.3
NESTEROV = "(1+b)(2+2b)/(1+2b)", (1 + B) * (2 + 2 * B) / (1 + 2 * B)
HEAVY = "2+2b", 2 + 2 * B
PLAIN = "2", 2.0
OPEN = "", None
C = 1 / (STEPS + 1)  # what schedule-free averaging gives to the next iterate
FREE = "(4-2c)(1-b+bc)/((1-b)(2-c)+bc)", (4 - 2 * C) * (1 - B + B * C) / ((1 - B) * (2 - C) + B * C)


class Setting(NamedTuple):
    """An optimizer, its threshold in closed form as l1(R H) where one is known, and calls of `update` to a step."""

    name: str
    make: Callable[[], Any]
    form: tuple[str, float | None] = OPEN
    calls: int = 1


def chain(*parts: Any) -> Callable[[], Any]:
    return lambda: optax.chain(*parts)


contrib = optax.contrib
decay = optax.add_decayed_weights
THRESHOLDS = [
    Setting("sgd", lambda: optax.sgd(ETA), PLAIN),
    Setting("sgd, momentum b", lambda: optax.sgd(ETA, B), HEAVY),
    Setting("sgd, momentum b, nesterov", lambda: optax.sgd(ETA, B, nesterov=True), NESTEROV),
    Setting("ema b, then sgd", chain(optax.ema(B, debias=False), optax.sgd(ETA)), HEAVY),
    Setting("sgd, decay w", chain(decay(OMEGA), optax.sgd(ETA)), ("2-ηw", 2 - ETA * OMEGA)),
    Setting(
        "decay w, then sgd, momentum b", chain(decay(OMEGA), optax.sgd(ETA, B)), ("2+2b-ηw", 2 + 2 * B - ETA * OMEGA)
    ),
    Setting(
        "trace b, then decay w, then sgd",
        chain(optax.trace(B), decay(OMEGA), optax.sgd(ETA)),
        ("(2-ηw)(1+b)", (2 - ETA * OMEGA) * (1 + B)),
    ),
    Setting(
        "ema b, then decay w, then sgd",
        chain(optax.ema(B, debias=False), decay(OMEGA), optax.sgd(ETA)),
        ("(2-ηw)(1+b)", (2 - ETA * OMEGA) * (1 + B)),
    ),
    Setting("optimistic_gradient_descent", lambda: optax.optimistic_gradient_descent(ETA), ("4/3", 4 / 3)),
    Setting("sgd, schedule", lambda: optax.sgd(optax.linear_schedule(0, ETA, 1000), B), HEAVY),
    Setting("noisy_sgd", lambda: optax.noisy_sgd(ETA, key=jax.random.key(0)), PLAIN),
    Setting("clip, inactive, then sgd", chain(optax.clip(1.0), optax.sgd(ETA)), PLAIN),
    Setting("adam", lambda: optax.adam(ETA, B), HEAVY),
    Setting("adam, nesterov", lambda: optax.adam(ETA, B, nesterov=True), NESTEROV),
    Setting("adam, eps in the root", lambda: optax.adam(ETA, B, eps=0, eps_root=1e-3), HEAVY),
    Setting(
        "adamw, decay w", lambda: optax.adamw(ETA, B, weight_decay=OMEGA), ("(2-ηw)(1+b)", (2 - ETA * OMEGA) * (1 + B))
    ),
    Setting("decay w, then adam", chain(decay(OMEGA), optax.adam(ETA, B))),
    Setting("nadam", lambda: optax.nadam(ETA, B), NESTEROV),
    Setting("amsgrad", lambda: optax.amsgrad(ETA, B), HEAVY),
    Setting("adamax", lambda: optax.adamax(ETA, B), HEAVY),
    Setting(
        "adamaxw, decay w",
        lambda: optax.adamaxw(ETA, B, weight_decay=OMEGA),
        ("(2-ηw)(1+b)", (2 - ETA * OMEGA) * (1 + B)),
    ),
    Setting("radam", lambda: optax.radam(ETA, B), HEAVY),
    Setting("yogi", lambda: optax.yogi(ETA, B), HEAVY),
    Setting("adabelief", lambda: optax.adabelief(ETA, B)),
    Setting("adan", lambda: optax.adan(ETA)),
    Setting("optimistic_adam_v2", lambda: optax.optimistic_adam_v2(ETA)),
    Setting("rmsprop", lambda: optax.rmsprop(ETA), PLAIN),
    Setting("rmsprop, centered", lambda: optax.rmsprop(ETA, centered=True), PLAIN),
    Setting("rmsprop, momentum b", lambda: optax.rmsprop(ETA, momentum=B), HEAVY),
    Setting("rmsprop, momentum b, nesterov", lambda: optax.rmsprop(ETA, momentum=B, nesterov=True), NESTEROV),
    Setting("adagrad", lambda: optax.adagrad(ETA), PLAIN),
    Setting("adadelta", lambda: optax.adadelta(ETA), PLAIN),
    Setting("sm3", lambda: optax.sm3(ETA, B), HEAVY),
    Setting("acprop", lambda: contrib.acprop(ETA), PLAIN),
    Setting("ademamix", lambda: contrib.ademamix(ETA)),
    Setting("simplified_ademamix", lambda: contrib.simplified_ademamix(ETA)),
    Setting("adopt", lambda: contrib.adopt(ETA), HEAVY),
    Setting("madgrad", lambda: contrib.madgrad(ETA, B), HEAVY),
    Setting("cocob", lambda: contrib.cocob()),
    Setting("dog", lambda: contrib.dog(), PLAIN),
    Setting("dowg", lambda: contrib.dowg(), PLAIN),
    Setting("dadapt_adamw", lambda: contrib.dadapt_adamw(betas=(B, 0.999)), HEAVY),
    Setting("prodigy", lambda: contrib.prodigy(betas=(B, 0.999)), HEAVY),
    Setting("muon, of vectors", lambda: contrib.muon(ETA, adam_b1=B), NESTEROV),
    Setting("schedule_free_sgd", lambda: contrib.schedule_free_sgd(ETA, b1=B), FREE),
    Setting("schedule_free_adamw", lambda: contrib.schedule_free_adamw(ETA, b1=B), FREE),
    Setting("inject_hyperparams of adam", lambda: optax.inject_hyperparams(optax.adam)(ETA, B), HEAVY),
    Setting("apply_if_finite of adam", lambda: optax.apply_if_finite(optax.adam(ETA, B), 3), HEAVY),
    Setting("flatten of adam", lambda: optax.flatten(optax.adam(ETA, B)), HEAVY),
    Setting("MultiSteps of adam, 4 calls", lambda: optax.MultiSteps(optax.adam(ETA, B), 4), HEAVY, 4),
    Setting("apply_every, 3 calls, then sgd", chain(optax.apply_every(3), optax.sgd(ETA)), PLAIN, 3),
]

WITHOUT = [
    Setting("lion", lambda: optax.lion(ETA)),
    Setting("sign_sgd", lambda: optax.sign_sgd(ETA)),
    Setting("signum", lambda: optax.signum(ETA)),
    Setting("rprop", lambda: optax.rprop(ETA)),
    Setting("trace b, then clip, active", chain(optax.trace(B), optax.clip(1e-9), optax.sgd(ETA))),
    Setting("normalize_by_update_norm, then sgd", chain(optax.normalize_by_update_norm(), optax.sgd(ETA))),
    Setting("novograd", lambda: optax.novograd(ETA)),
    Setting("adafactor", lambda: optax.adafactor(ETA)),
    Setting("lamb", lambda: optax.lamb(ETA)),
    Setting("lars", lambda: optax.lars(ETA)),
    Setting("fromage", lambda: optax.fromage(ETA)),
    Setting("muon, of matrices", lambda: contrib.muon(ETA)),
    Setting("sam", lambda: contrib.sam(optax.sgd(ETA), chain(contrib.normalize(), optax.sgd(ETA))())),
    Setting("trace b, twice, then sgd", chain(optax.trace(B), optax.trace(B), optax.sgd(ETA))),
    Setting("lookahead of sgd", lambda: optax.lookahead(optax.sgd(ETA), 5, 0.5)),
    Setting("polyak_sgd", lambda: optax.polyak_sgd(ETA)),
    Setting("lbfgs", lambda: optax.lbfgs(ETA)),
    Setting("momo", lambda: contrib.momo(ETA)),
    Setting("sophia", lambda: contrib.sophia(ETA)),
]


def hessian() -> np.ndarray:
    """A full matrix with eigenvalues 1, 0.5 and 0.1."""
    basis, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))
    return basis @ np.diag([1.0, 0.5, 0.1]) @ basis.T


def after_steps(optimizer: Any, calls: int) -> tuple[Any, jax.Array]:
    """State and parameters after random gradients of three sizes, the same in all calls of one step."""
    random = np.random.default_rng(0)
    params = jnp.asarray([1.0, -2.0, 0.5])
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    for _ in range(STEPS // calls):
        gradient = jnp.asarray(random.standard_normal(3) * [1.0, 3.0, 0.3])
        for _ in range(calls):
            updates, state = update(gradient, state, params)
            params = optax.apply_updates(params, updates)
    return state, params


def jacobian_of(optimizer: Any, state: Any, minimum: jax.Array, calls: int) -> Callable[[np.ndarray], np.ndarray]:
    """H -> the Jacobian of (state, parameters) -> (state, parameters) at the minimum of a quadratic with Hessian H."""
    moving, fixed = eqx.partition(state, eqx.is_inexact_array)
    start, unravel = ravel_pytree((moving, minimum))

    def step(flat: jax.Array, matrix: jax.Array) -> jax.Array:
        moving, params = unravel(flat)
        state = eqx.combine(moving, fixed)
        for _ in range(calls):
            updates, state = optimizer.update(matrix @ (params - minimum), state, params)
            params = optax.apply_updates(params, updates)
        return ravel_pytree((eqx.filter(state, eqx.is_inexact_array), params))[0]

    jacobian = jax.jit(jax.jacfwd(step))
    return lambda matrix: np.asarray(jacobian(start, jnp.asarray(matrix)), np.float64)


def bisection(jacobian: Callable[[np.ndarray], np.ndarray], matrix: np.ndarray) -> tuple[float, complex]:
    """The smallest t for which the Jacobian has an eigenvalue left of 0 on the unit circle, and that eigenvalue."""

    def leftmost(t: float) -> complex:
        eigenvalues = np.linalg.eigvals(jacobian(t * matrix))
        left = eigenvalues[eigenvalues.real < 0]
        return left[np.abs(left).argmax()] if left.size else 0.0

    high = 1e-3
    while abs(leftmost(high)) <= 1:
        high *= 2
    low = high / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if abs(leftmost(middle)) > 1 else (middle, high)
    return high, leftmost(high)


def largest(diagonal: np.ndarray, matrix: np.ndarray) -> float:
    """l1(diag H), by the symmetric form."""
    root = np.sqrt(np.asarray(diagonal, np.float64))
    return float(np.linalg.eigvalsh(root[:, None] * matrix * root)[-1])


def measure(setting: Setting) -> tuple[list[Any], float]:
    """A line of the first table and its largest relative difference."""
    optimizer = setting.make()
    state, params = after_steps(optimizer, setting.calls)
    found = stability(optimizer, state, params)
    if found.reason is not None:
        raise SystemExit(f"{setting.name}: no linear threshold: {found.reason}")
    matrix = hessian()
    edge, eigenvalue = bisection(jacobian_of(optimizer, state, params, setting.calls), matrix)
    if abs(eigenvalue + 1) > 1e-6:
        raise SystemExit(f"{setting.name}: the eigenvalue that leaves is {eigenvalue}, not -1")
    unit = largest(found.response, matrix)
    ours, theirs = 2 / largest(found.scale, matrix) * unit, edge * unit
    formula, exact = setting.form
    difference = max(abs(ours / theirs - 1), abs(ours / exact - 1) if exact else 0.0)
    return [setting.name, formula, f"{ours:.10g}", f"{theirs:.10g}", f"{difference:.0e}"], difference


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="write, and names of settings; all by default")
    names = set(parser.parse_args().names)
    write = "write" in names
    names -= {"write"}
    jax.config.update("jax_enable_x64", True)

    measured = [measure(setting) for setting in THRESHOLDS if not names or setting.name in names]
    headers = ["optimizer", "l1(R H) at the edge", "`stability`", "bisection", "difference"]
    tables = [tabulate([line for line, _ in measured], headers, tablefmt="pipe", disable_numparse=True)]
    without = [setting for setting in WITHOUT if not names or setting.name in names]
    reasons = []
    for setting in without:
        params = jnp.ones((3, 2)) + jnp.arange(2) if "matrices" in setting.name else None
        found = stability(setting.make(), params=params)
        if found.reason is None:
            raise SystemExit(f"{setting.name} has a threshold: {found}")
        reasons.append([setting.name, found.reason])
    tables.append(tabulate(reasons, ["optimizer", "no linear threshold, because"], tablefmt="pipe"))
    worst = max((difference for _, difference in measured), default=0.0)
    tables[0] += f"\n\n{len(measured)} settings; the largest relative difference is {worst:.1e}."
    print("\n\n".join(tables))
    if write and names:
        raise SystemExit("the page has all settings: write it without names")
    if write:
        text = PAGE.read_text()
        for mark, table in zip(("thresholds", "without"), tables, strict=True):
            pattern = rf"(<!-- {mark} -->\n).*?(<!-- end -->)"
            text = re.sub(pattern, lambda m, table=table: f"{m[1]}\n{table}\n\n{m[2]}", text, flags=re.DOTALL)
        PAGE.write_text(text)
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
