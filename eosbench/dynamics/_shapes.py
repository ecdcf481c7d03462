"""Trees of arrays told in words: what each entry is, and where two of them differ."""

from typing import Any

import jax
from jaxtyping import PyTree

SHOWN = 3
"""As many entries are named in a sentence."""


def shapes(tree: PyTree) -> dict[str, str]:
    """For the path of each array its dtype and shape, as in `{"['w']": "float32[3, 4]"}`."""
    return {jax.tree_util.keystr(path): _told(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def difference(first: dict[str, str], second: dict[str, str]) -> tuple[str, str]:
    """The entries that are not the same in both, in words for each of the two."""
    own = {path: what for path, what in first.items() if second.get(path) != what}
    other = {path: what for path, what in second.items() if first.get(path) != what}
    return listed(own), listed(other)


def listed(entries: dict[str, str]) -> str:
    """The first entries, in words; empty if there are none."""
    words = [f"{path} {what}".strip().removeprefix(".") for path, what in entries.items()]
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return ", ".join(words[:SHOWN]) + more


def _told(leaf: Any) -> str:
    return f"{leaf.dtype}[{', '.join(map(str, leaf.shape))}]" if hasattr(leaf, "dtype") else type(leaf).__name__
