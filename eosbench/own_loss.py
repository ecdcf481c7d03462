"""A loss and its parameters, found by their names in a module of whoever wrote them."""

import functools
import importlib
import inspect
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from eosbench.raised import told

_REMEDY = "give a pytree of arrays, or a function that makes one without arguments"


class OwnLossError(Exception):
    """There is no such loss, or it has no parameters. The message is one sentence with the remedy."""


def found(loss: str, params: str) -> tuple[Callable[[PyTree[Array]], Any], PyTree[Array]]:
    """The loss "MODULE:LOSS" as a function of arrays alone, and the arrays of what is named `params` in its module.

    What makes the parameters is called: a function of any kind, or a class. A model is a pytree even if it can be
    called; the functions that it holds stay as they are.

    Raises:
        OwnLossError: the module cannot be imported, or does not hold what is named, or that is of another kind.
    """
    module_name, _, name = loss.partition(":")
    if not name or not all(part.isidentifier() for part in module_name.split(".")):
        raise OwnLossError(
            f"{loss!r} names no loss of a module; give MODULE:LOSS as one would import it, such as mymodel:loss"
        )
    module = _imported(module_name)
    for wanted in (name, params):
        if not hasattr(module, wanted):
            raise OwnLossError(f"{module_name} has no {wanted!r}; give MODULE:LOSS and --params NAME")
    function, point = getattr(module, name), getattr(module, params)
    if inspect.isclass(function) or not callable(function):
        kind = "class" if inspect.isclass(function) else type(function).__name__
        raise OwnLossError(f"{loss} is a {kind}; the loss must be a function of {params} that returns a scalar")
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise OwnLossError(f"{loss} computes nothing when it is called; drop its `async` or `yield`")
    if _makes_params(point):
        try:
            point = point()
        except (Exception, SystemExit) as problem:
            raise OwnLossError(
                f"{params} of {module_name} raised {told(problem)}; it must make the pytree without arguments"
            ) from None
    arrays, functions = _split(f"{params} of {module_name}", point)
    if not jax.tree.leaves(functions):
        return function, arrays
    return lambda arrays: function(eqx.combine(arrays, functions)), arrays


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as problem:
        raise OwnLossError(
            f"{name} cannot be imported ({problem}); give MODULE:LOSS of a module in this directory or installed"
        ) from None
    except (Exception, SystemExit) as problem:  # of the module itself, which may hold anything
        raise OwnLossError(f"{name} raised {told(problem)} while it was imported; mend it first") from None


def _makes_params(value: Any) -> bool:
    if inspect.isroutine(value) or inspect.isclass(value) or hasattr(value, "__func__"):
        return True
    return _is_function(value) and not any(hasattr(leaf, "dtype") for leaf in jax.tree.leaves(value))


def _is_function(value: Any) -> bool:
    """Whether this is a function, plain or compiled or with some of its arguments, or a class."""
    known = inspect.isroutine(value) or inspect.isclass(value) or isinstance(value, functools.partial)
    return known or (callable(value) and hasattr(value, "__wrapped__"))


def _split(name: str, point: Any) -> tuple[PyTree[Array], PyTree]:
    """The arrays of a pytree, and the functions in it."""
    if inspect.iscoroutine(point) or isinstance(point, Iterator):
        getattr(point, "close", bool)()  # Python would complain of a coroutine that nobody waited for
        raise OwnLossError(f"{name} is a {type(point).__name__}, which ends after it was read once; {_REMEDY}")
    functions, arrays = eqx.partition(point, _is_function)
    leaves = jax.tree_util.tree_leaves_with_path(arrays)
    if not leaves:
        raise OwnLossError(f"{name} holds no array; {_REMEDY}")
    for path, leaf in leaves:
        part = f"{name}, at {jax.tree_util.keystr(path)}," if path else name
        if getattr(leaf, "is_deleted", bool)():
            raise OwnLossError(f"{part} is an array that was donated or deleted; copy it before, or make it anew")
        if not hasattr(leaf, "dtype") and not isinstance(leaf, float):
            raise OwnLossError(f"{part} is a {type(leaf).__name__} and no array of floats; {_REMEDY}")
    return jax.tree.map(lambda leaf: jnp.asarray(leaf) if isinstance(leaf, float) else leaf, arrays), functions
