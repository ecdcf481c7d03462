"""Mini-batches: which examples each step of training sees."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray, PyTree

from eosbench.curvature._arguments import as_integer
from eosbench.curvature._batches import examples, examples_to_draw_from
from eosbench.curvature._program import with_jax_arrays


class Batches(eqx.Module):
    """The mini-batches of a data set that `train` steps on, drawn by a key and the number of the step alone.

    Without replacement each epoch takes the examples in another order, n // size batches of them; the n % size examples
    that are left over come in another epoch. With replacement each step draws anew.

    Attributes:
        data: a pytree of arrays with the n examples along the leading axis; they stay on the device.
        size: examples in a batch, from 1 to n.
        replace: whether an example may come twice in a batch, and before all others were seen.
        key: for the orders; a run that is continued with another key changes over at the next epoch.
    """

    data: PyTree[Array] = eqx.field(converter=with_jax_arrays)
    size: int = eqx.field(static=True, converter=lambda size: as_integer("size of Batches", size))
    replace: bool = eqx.field(static=True, default=False)
    key: PRNGKeyArray = eqx.field(default_factory=lambda: jax.random.key(0))

    def __check_init__(self) -> None:
        examples_to_draw_from("Batches", self.data, self.size)
        if not isinstance(self.replace, bool):
            raise TypeError(f"replace of Batches is {self.replace!r}: it must be True or False.")

    def start(self) -> Int[Array, " n"] | None:
        """The order of the first epoch; None with replacement, where there is none."""
        return None if self.replace else self._order(jnp.asarray(0))

    def draw(
        self, step: Int[Array, ""], order: Int[Array, " n"] | None
    ) -> tuple[PyTree[Array], Int[Array, " n"] | None]:
        """The batch of a step, and the order of its epoch, given that of the step before."""
        n = examples("Batches", self.data)
        if order is None:
            rows = jax.random.randint(jax.random.fold_in(self.key, step), (self.size,), 0, n)
        else:
            epoch, i = jnp.divmod(step, n // self.size)
            order = jax.lax.cond(i == 0, lambda: self._order(epoch), lambda: order)
            rows = jax.lax.dynamic_slice_in_dim(order, i * self.size, self.size)
        return jax.tree.map(lambda array: array[rows], self.data), order

    def _order(self, epoch: Int[Array, ""]) -> Int[Array, " n"]:
        n = examples("Batches", self.data)
        return jax.random.permutation(jax.random.fold_in(self.key, epoch), n).astype(jnp.int32)
