"""What a function computes, read off by tracing it, so that compiled code is found again by that and by nothing else.

JAX keeps compiled code under the identity of a function. That is too little: a bound method of an object that has got
other data is still the same method, and a global that was bound anew leaves the function as it was. It is also too
much: a lambda that is written down in a loop is another function in each turn. So a function is traced anew in every
call, which takes milliseconds where compiling takes seconds: the program without its constants is the key, and the
constants, among them the data of a loss, are arguments of what is compiled.

A function is what it returns when it is called. One that is itself the result of `jax.jit` returns what JAX has kept of
it, here as elsewhere.
"""

import functools
import hashlib
import inspect
from collections.abc import Callable, Hashable, Sequence
from typing import Any, ParamSpec, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Var, jaxpr_as_fun
from jax.sharding import AxisType, PartitionSpec, get_abstract_mesh
from jaxtyping import Array, PyTree

from eosbench.curvature._layout import Layout
from eosbench.curvature._loss import as_scalar, check_callable, check_whole, measurable, warn_of_state
from eosbench.curvature._mesh import is_automatic, on_the_mesh_of, with_automatic_axes, with_explicit_axes

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

ORDERS = 2
"""As many derivatives of a loss are taken by the functions that read it."""

LARGE = 2**20
"""A JAX array inside a program is recognized by identity if it has more entries than this, else by its bytes."""

_RULES = {"jvp_jaxpr_fun", "fwd_jaxpr_thunk", "bwd", "out_trees"}
"""Parameters of an equation that hold the rule of a custom derivative as a Python function, made anew in each trace."""


class Recorded(eqx.Module):
    """A function as it was when it was read; it can be called on arguments of the shapes that it was read with.

    Attributes:
        program: what it computes, equal for any two functions that compute the same but for their constants.
        constants: the arrays that it holds or closes over, as they were.
        layout: of a loss, how its parameters lie in flat vectors; else None.
    """

    program: "_Program" = eqx.field(static=True)
    constants: list[Array]
    layout: Layout | None = eqx.field(static=True, default=None)

    def __call__(self, *arguments: PyTree[Array]) -> PyTree[Array]:
        leaves, jaxpr = jax.tree.leaves(arguments), self.program.jaxpr

        def run(*arrays: Array) -> list[Array]:
            constants, leaves = arrays[: len(self.constants)], arrays[len(self.constants) :]
            results: list[Array] = jaxpr_as_fun(ClosedJaxpr(jaxpr, list(constants)))(*leaves)
            return results

        types: list[Any] = [variable.aval for variable in (*jaxpr.constvars, *jaxpr.invars)]
        shardings = [type.sharding for type in types]
        explicit = [sharding.mesh for sharding in shardings if AxisType.Explicit in sharding.mesh.axis_types]
        if explicit and is_automatic(get_abstract_mesh()):
            specs = [PartitionSpec() if sharding.mesh.empty else sharding.spec for sharding in shardings]
            results = with_explicit_axes(run, explicit[0], specs, *self.constants, *leaves)
        else:
            results = run(*self.constants, *leaves)
        return jax.tree.unflatten(self.program.out_tree, results)


class _Program:
    """A jaxpr and the structure of what it returns, compared by content."""

    def __init__(self, jaxpr: Jaxpr, out_tree: Any, key: Hashable) -> None:
        self.jaxpr, self.out_tree, self.key = jaxpr, out_tree, key
        self._hash = hash(key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Program) and self._hash == other._hash and self.key == other.key


def read(function: Callable[..., PyTree[Array]], *arguments: PyTree[Array]) -> Recorded:
    """A function as it is now, traced on the shapes of the arguments; one that was read already, as it is."""
    return function if isinstance(function, Recorded) else _read(function, arguments)[0]


def read_loss(loss: Callable[..., Array], params: PyTree[Array], *batch: PyTree[Array]) -> Recorded:
    """A loss of params, or of params and a batch, as it is now, with the rules of its custom derivatives, if any.

    Raises:
        TypeError: `loss` is not a function that returns a real scalar.
    """
    if isinstance(loss, Recorded):
        return loss
    check_callable(loss)
    loss = with_jax_arrays(loss)
    recorded, has_rules = _read(lambda *arguments: as_scalar(loss(*arguments)), (params, *batch))
    layout = Layout.of(params, recorded.constants, batch)
    if not has_rules:
        return Recorded(recorded.program, recorded.constants, layout)
    # A rule is a Python function, which a jaxpr does not show, but the jaxprs of the derivatives do.
    program = recorded.program
    key = (program.key, _key_of_rules(recorded, params, batch))
    return Recorded(_Program(program.jaxpr, program.out_tree, key), recorded.constants, layout)


def layout_of(loss: Callable[..., Array], params: PyTree[Array]) -> Layout:
    """How params lie in flat vectors for a loss: of one that was read, as it was told then.

    Elsewhere axes may be explicit, in which no solver can take its inner products of vectors that are split; so flat
    vectors are whole there.

    Raises:
        TypeError: a leaf of `params` is split over explicit axes.
    """
    known = loss.layout if isinstance(loss, Recorded) else None
    if known is not None:
        return known
    if AxisType.Explicit not in get_abstract_mesh().axis_types:
        return Layout.of(params)
    check_whole(params)
    return Layout.of(jax.eval_shape(lambda: params))


def read_copied_loss(loss: Callable[..., Array], given: Any, params: PyTree[Array], *batch: PyTree[Array]) -> Recorded:
    """A loss read at `params`, which are float32 copies of those `given` in half precision, or the same.

    Raises:
        TypeError: it takes no copies, for its other arrays are of the short dtype.
    """
    try:
        return read_loss(loss, params, *batch)
    except Exception as error:
        if params is given:
            raise
        told = (str(error).strip() or "no message").splitlines()[0]
        raise TypeError(
            f"loss does not take float32 copies of params in half precision ({type(error).__name__}: {told}): let its "
            "other arrays follow, as in x.astype(params.dtype), for a Hessian needs single precision."
        ) from error


def with_jax_arrays(tree: T) -> T:
    """NumPy arrays as JAX arrays: a NumPy number would become a part of the program, where it is to be an argument."""
    converted: T = jax.tree.map(lambda leaf: jnp.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf, tree)
    return converted


def content(function: Callable[..., PyTree[Array]], *arguments: PyTree[Array]) -> Hashable:
    """A key for what a function computes now, its constants included; traced ones are equal to nothing."""
    closed = jax.make_jaxpr(lambda *arguments: function(*arguments))(*arguments)
    return _Reader().jaxpr(closed.jaxpr, closed.consts)


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """`eqx.filter_jit` for a function of a loss, params and more, which reads the loss anew in each call.

    It is compiled once for what the loss computes and for the shapes of its data. Matrix products in the loss are taken
    at the highest precision: TensorFloat-32 products are off by 1e-3, the accuracy asked for.
    """
    signature = inspect.signature(function)

    @eqx.filter_jit
    @functools.wraps(function)
    def jitted(loss: Recorded, *args: Any, **kwargs: Any) -> R:
        run = with_automatic_axes(lambda args, kwargs: function(*args, **kwargs), layout_of(loss, None).specs)
        result: R = run((loss, *args), kwargs)
        return result

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = signature.bind(*args, **kwargs)
        (name, loss), (second, params), *_ = bound.arguments.items()
        warn_of_state(params)
        given, params = params, measurable(params)
        bound.arguments[second] = params
        with jax.default_matmul_precision("highest"):
            recorded = bound.arguments[name] = read_copied_loss(loss, given, params)
        with on_the_mesh_of(recorded, params):
            return jitted(*bound.args, **bound.kwargs)

    return call


def _read(function: Callable[..., PyTree[Array]], arguments: tuple) -> tuple[Recorded, bool]:
    # A new function each time, for JAX keeps traces under the identity of what it traced.
    closed, shapes = jax.make_jaxpr(lambda *arguments: function(*arguments), return_shape=True)(*arguments)
    reader, out_tree = _Reader(), jax.tree.structure(shapes)
    key = (reader.jaxpr(closed.jaxpr), out_tree)
    # NumPy arrays are copied, for their owner may write into them while the compiled code still reads.
    constants = [x if isinstance(x, jax.Array) else jnp.asarray(np.array(x)) for x in closed.consts]
    return Recorded(_Program(closed.jaxpr, out_tree, key), constants), reader.has_rules


def _key_of_rules(loss: Recorded, params: PyTree[Array], batch: tuple) -> Hashable:
    """The derivatives of a loss, up to the order at which no custom rule is left, as a key."""

    def derivative(held: tuple, params: PyTree[Array], direction: PyTree[Array]) -> PyTree[Array]:
        constants, batch = held
        return jax.grad(Recorded(loss.program, constants))(params, *batch)

    keys = []
    for _ in range(ORDERS):
        try:
            closed = jax.make_jaxpr(derivative)((loss.constants, batch), params, params)
        except Exception:  # a derivative that the loss has not, so that no compiled code can rest on it either
            break
        reader = _Reader()
        keys.append(reader.jaxpr(closed.jaxpr, closed.consts))
        if not reader.has_rules:
            break
        derivative = functools.partial(_along, derivative)
    return tuple(keys)


def _along(function: Callable, held: tuple, params: PyTree[Array], direction: PyTree[Array]) -> tuple:
    return jax.jvp(lambda params: function(held, params, direction), (params,), (direction,))


class _Reader:
    """Turns jaxprs into keys, with variables numbered as they appear; notes whether it met a custom derivative."""

    def __init__(self) -> None:
        self.has_rules = False

    def jaxpr(self, jaxpr: Jaxpr, constants: Sequence[Any] = ()) -> Hashable:
        numbers: dict[Var, int] = {}

        def atom(variable: Any) -> Hashable:
            if isinstance(variable, Literal):
                return variable.aval, self.token(variable.val)
            return numbers.setdefault(variable, len(numbers)), variable.aval

        inputs = tuple(map(atom, (*jaxpr.constvars, *jaxpr.invars)))
        equations = tuple(
            (
                equation.primitive,
                tuple(map(atom, equation.invars)),
                tuple((name, self.parameter(name, value)) for name, value in equation.params.items()),
                tuple(map(atom, equation.outvars)),
            )
            for equation in jaxpr.eqns
        )
        return inputs, equations, tuple(map(atom, jaxpr.outvars)), tuple(map(self.token, constants))

    def parameter(self, name: str, value: Any) -> Hashable:
        if name in _RULES:
            self.has_rules = True
            return None
        return self.token(value)

    def token(self, value: Any) -> Hashable:
        """A value that is equal for equal meanings; an object of an unknown kind is equal where it says so itself."""
        if isinstance(value, ClosedJaxpr):
            return self.jaxpr(value.jaxpr, value.consts)
        if isinstance(value, Jaxpr):
            return self.jaxpr(value)
        if isinstance(value, jax.core.Tracer):
            return object()
        if isinstance(value, jax.Array | np.ndarray | np.generic | float | complex):
            return _array_token(value)
        if isinstance(value, tuple | list):
            return type(value), *map(self.token, value)
        if isinstance(value, dict):
            return type(value), *((self.token(key), self.token(item)) for key, item in value.items())
        try:
            hash(value)
        except TypeError:
            return _Same(value)
        return type(value), value


class _Same:
    """An object that is equal to itself alone, and kept alive so that no other one takes its place."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value


def _array_token(value: Any) -> Hashable:
    if isinstance(value, jax.Array):
        if value.size > LARGE:
            return _Same(value)
        if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            return str(value.dtype), _array_token(jax.random.key_data(value))
    array = np.asarray(value)
    return type(value), array.dtype, array.shape, hashlib.sha256(array.tobytes()).digest()
