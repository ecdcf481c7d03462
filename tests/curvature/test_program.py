"""A loss is what it computes at the time of a call: its data may change, and it may be written down anew."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from eosbench.curvature import (
    MicroBatched,
    dense_hessian,
    dense_sharpness,
    directional_derivatives,
    self_stabilization,
    sharpness,
    sharpness_gradient,
    spectral_density,
    stableness,
    trace,
)
from eosbench.dynamics import (
    angle_to_top,
    edge_point,
    gd_step,
    gradient_flow,
    iterate,
    limiting_flow,
    limiting_map,
    path_integral,
    projection_excess,
    tangent_projection,
    trajectory,
    two_cycle,
)

W = jnp.ones(3)


def parabola(a, x):
    """Its Hessian is a times the identity."""
    return 0.5 * a * jnp.sum(x * x)


class Holder:
    """An object that is no pytree, and whose data changes."""

    def __init__(self, a):
        self.a = a

    def loss(self, x):
        return parabola(jnp.asarray(self.a), x)

    def __call__(self, x):
        return self.loss(x)


class Switch:
    """Hashable, so that it may be a static field, and mutable all the same."""

    def __init__(self, a):
        self.a = a


class Static(eqx.Module):
    switch: Switch = eqx.field(static=True)

    def __call__(self, x):
        return parabola(self.switch.a, x)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def ruled(holder, x):
    return jnp.sum(x)


ruled.defvjp(lambda holder, x: (jnp.sum(x), x), lambda holder, x, g: (g * holder.a * x,))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def slope(holder, x):
    return x


# The rule itself is a function with a rule, so that the second derivative is the first to show the data.
@slope.defjvp
def _(holder, primals, tangents):
    return slope(holder, *primals), holder.a * tangents[0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def twice_ruled(holder, x):
    return jnp.sum(x)


twice_ruled.defvjp(lambda holder, x: (jnp.sum(x), x), lambda holder, x, g: (g * slope(holder, x),))


def in_static_field(holder):
    loss = Static(holder)
    return lambda: loss


def in_a_module_that_is_frozen_last(holder):
    loss = MicroBatched(lambda x, batch: jnp.mean(batch) * holder.loss(x), jnp.ones(4), 3)
    return lambda: loss


KINDS = {
    "bound method": lambda holder: lambda: holder.loss,
    "callable object": lambda holder: lambda: holder,
    "Partial of a method": lambda holder: lambda: Partial(holder.loss),
    "functools.partial": lambda holder: lambda: functools.partial(Holder.loss, holder),
    "closure": lambda holder: (lambda loss: lambda: loss)(lambda x: parabola(holder.a, x)),
    "static field": in_static_field,
    "micro-batches": in_a_module_that_is_frozen_last,
    "custom rule": lambda holder: lambda: functools.partial(ruled, holder),
    "custom rule of a custom rule": lambda holder: lambda: functools.partial(twice_ruled, holder),
    "scan": lambda holder: lambda: lambda x: jax.lax.scan(lambda c, t: (c + holder.loss(t), None), 0.0, x)[0],
    "checkpoint": lambda holder: lambda: jax.checkpoint(holder.loss),
    "branch": lambda holder: lambda: lambda x: jax.lax.cond(x[0] > 0, holder.loss, lambda x: 0.0, x),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_whose_data_changed_is_another_loss(kind):
    holder = Holder(1.0)
    loss = KINDS[kind](holder)
    for a in (1.0, 7.0, 1.0, np.asarray(7.0), jnp.asarray(2.0), jnp.asarray(7.0)):
        holder.a = a
        np.testing.assert_allclose(sharpness(loss(), W).values, float(a), rtol=1e-12)


def test_an_array_that_is_written_into_and_a_global_that_is_bound_anew():
    array = np.ones(3)
    jitted = jax.jit(lambda x: 0.5 * jnp.sum(array * x * x))
    losses = [lambda x: 0.5 * jnp.sum(array * x * x), Partial(lambda a, x: 0.5 * jnp.sum(a * x * x), array), jitted]
    for loss in losses:
        array[:] = 1
        np.testing.assert_allclose(sharpness(loss, W).values, 1.0, rtol=1e-12)
        array[1] = 7
        np.testing.assert_allclose(sharpness(loss, W).values, 7.0, rtol=1e-12)

    module = {"jnp": jnp, "factor": 1.0}
    exec("def loss(x):\n    return 0.5 * factor * jnp.sum(x * x)", module)
    np.testing.assert_allclose(sharpness(module["loss"], W).values, 1.0, rtol=1e-12)
    module["factor"] = 7.0
    np.testing.assert_allclose(sharpness(module["loss"], W).values, 7.0, rtol=1e-12)


def test_an_array_may_be_written_into_as_soon_as_a_call_has_returned():
    array = np.ones(2**22)
    step = gd_step(lambda x: 0.5 * jnp.mean(array) * x**2, 0.5)
    last = iterate(step, 1.0, 3)
    array[:] = 0
    np.testing.assert_allclose(last, 0.125, rtol=1e-12)


def cubic(holder):
    """a |x|^2 / 2 + a x_0^3 / 6: its top eigenvalue is a (1 + x_0), with the eigenvector e_0, where x_0 > 0."""
    return lambda x: 0.5 * holder.a * jnp.sum(x * x) + holder.a * x[0] ** 3 / 6


def valley(holder):
    """Γ is the line x_0 = 0, its curvature a (1 + x_1^2)."""
    return lambda x: 0.5 * holder.a * (1 + x[1] ** 2) * x[0] ** 2


def second(x):
    return x[1]


E0 = jnp.asarray([1.0, 0.0, 0.0])
KEY = jax.random.key(0)
NEAR = jnp.asarray([0.1, 0.5])
AT = jnp.asarray([0.0, 1.0])

# What each function gives at a = 1, and the power of a that it is proportional to.
QUANTITIES = {
    "dense_hessian": (cubic, lambda loss: dense_hessian(loss, W)[0, 0], 2.0, 1),
    "trace": (cubic, lambda loss: trace(loss, W, KEY).value, 4.0, 1),
    "spectral_density": (cubic, lambda loss: spectral_density(loss, W, KEY, 3, 1).nodes.max(), 2.0, 1),
    "stableness": (cubic, lambda loss: stableness(loss, W, 0.1), 0.2, 1),
    "sharpness_gradient": (cubic, lambda loss: sharpness_gradient(loss, W, E0)[0], 1.0, 1),
    "self_stabilization": (cubic, lambda loss: self_stabilization(loss, W, E0).alpha, -1.5, 2),
    "directional_derivatives": (cubic, lambda loss: directional_derivatives(loss, W, E0)[3], 1.0, 1),
    "dense_sharpness": (cubic, lambda loss: dense_sharpness(loss, W), 2.0, 1),
    "edge_point": (cubic, lambda loss: 1 / edge_point(loss, W).eta, 0.5, 1),
    "gradient_flow": (
        cubic,
        lambda loss: -jnp.log(gradient_flow(loss, W, jnp.asarray([0.0, 1e-2]))[1, 1]),
        0.01,
        1,
    ),
    "path_integral": (cubic, lambda loss: 1 / path_integral(loss, W, second), 1.0, 1),
    "iterate": (cubic, lambda loss: 1 - iterate(gd_step(loss, 0.01), W, 1)[1], 0.01, 1),
    "trajectory": (cubic, lambda loss: 1 - trajectory(gd_step(loss, 0.01), W, 1)[1, 1], 0.01, 1),
    "observe": (cubic, lambda loss: trajectory(jnp.positive, W, 1, loss)[0], 1.5 + 1 / 6, 1),
    "limiting_flow": (
        valley,
        lambda loss: (
            1 - limiting_flow(loss, AT, jnp.asarray([0.0, 1e-6]), coefficient=1.0, functional=jnp.positive)[1, 1]
        ),
        2e-6,
        1,
    ),
    # Along the flow x_0^2/2 - ln x_1 - x_1^2/2 stays, so that it ends at x_1 = 0.49800, where the curvature is 1.24801.
    "projection_excess": (valley, lambda loss: projection_excess(loss, NEAR, 0.0)[0], 0.124801, 1),
}


@pytest.mark.parametrize("name", QUANTITIES)
def test_every_quantity_follows_the_data_of_a_loss(name):
    family, quantity, at_one, power = QUANTITIES[name]
    holder = Holder(1.0)
    loss = family(holder)
    np.testing.assert_allclose(quantity(loss), at_one, rtol=1e-3, atol=1e-12)
    holder.a = 3.0
    np.testing.assert_allclose(quantity(loss), at_one * 3.0**power, rtol=1e-3, atol=1e-12)


def test_the_geometry_of_a_manifold_follows_the_data_of_a_loss():
    holder = Holder(0)

    def loss(x):
        """Γ is the axis x_(1 - a)."""
        return 0.5 * x[holder.a] ** 2 * (1 + x[1 - holder.a] ** 2)

    for a in (0, 1):
        holder.a, across = a, np.eye(2)[a]
        np.testing.assert_allclose(limiting_map(loss, jnp.asarray([0.1, 0.1])).point @ across, 0, atol=1e-9)
        np.testing.assert_allclose(tangent_projection(loss, jnp.zeros(2)), np.diag(1 - across), atol=1e-12)
        np.testing.assert_allclose(angle_to_top(loss, jnp.asarray([0.01, 0.01]), 1.0), 0, atol=1e-6)


def test_a_two_cycle_follows_the_data_of_a_loss():
    # (x^2 - c)^2/4 has the two-cycle of c = 1 scaled by sqrt(c), at eta/c.
    holder = Holder(1.0)
    loss = lambda x: jnp.sum((x**2 - holder.a) ** 2) / 4  # noqa: E731
    first = two_cycle(loss, 1.05, 1.0)
    holder.a = 4.0
    np.testing.assert_allclose(two_cycle(loss, 1.05 / 4, 2.0), 2 * first, rtol=1e-9)


def test_what_computes_the_same_is_compiled_once(compilations):
    holder, data = Holder(jnp.asarray(2.0)), [np.arange(3.0), np.arange(3.0) + 1]

    def losses(i):
        yield from (holder.loss, holder, Partial(holder.loss), lambda x: holder.loss(x), Static(Switch(2.0)))
        yield from (lambda x: jnp.sum(jax.nn.softplus(data[i] * x)), jax.checkpoint(holder.loss))
        yield lambda x: jnp.sum(data[i] * jax.lax.scan(lambda c, t: (c + t, t * c), 0.0, x)[1])
        yield MicroBatched(lambda x, batch: jnp.mean((batch - x[0]) ** 2), data[i], 2)

    for loss in losses(0):
        sharpness(loss, W)
    assert compilations() > 0
    holder.a = jnp.asarray(3.0)
    for loss in losses(1):
        sharpness(loss, W)
    assert compilations() == 0


def test_a_loss_is_read_once_in_a_call():
    traces = []

    def counted(x):
        traces.append(1)
        return jnp.sum(x**4)

    for _ in range(2):
        stableness(counted, W, 0.1)
    assert len(traces) == 2


def test_inside_other_transformations_a_loss_may_hold_what_is_traced():
    def top(a):
        return sharpness(lambda x: parabola(a, x), W).values[0]

    def ruled_top(a):
        return sharpness(functools.partial(ruled, Holder(a)), W).values[0]

    for quantity in (top, ruled_top):
        for a in (1.0, 7.0):
            np.testing.assert_allclose(jax.jit(quantity)(a), a, rtol=1e-12)
            np.testing.assert_allclose(jax.vmap(quantity)(jnp.asarray([a, 2 * a])), [a, 2 * a], rtol=1e-12)
    holder = Holder(1.0)
    for a in (1.0, 7.0):
        holder.a = a
        np.testing.assert_allclose(jax.jit(lambda x: sharpness(holder.loss, x).values[0])(W), a, rtol=1e-12)


def test_what_a_loss_returns_is_looked_at_in_every_call():
    holder = Holder(1.0)
    loss = lambda x: x if holder.a == 2.0 else holder.loss(x)  # noqa: E731
    sharpness(loss, W)
    holder.a = 2.0
    with pytest.raises(TypeError, match=r"loss must return a real scalar, but returned shape \(3,\)"):
        sharpness(loss, W)


@pytest.mark.parametrize("number", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
def test_a_number_of_a_loss_that_is_an_array_is_an_argument(compilations, number):
    for i, scale in enumerate((1.0, 2.0, 3.0)):
        loss, w = Partial(lambda scale, w: scale * jnp.sum(w**2) / 2, number(scale)), jnp.ones(5)
        compilations()
        np.testing.assert_allclose(sharpness(loss, w).values, scale, rtol=1e-12)
        assert compilations() == 0 or i == 0
