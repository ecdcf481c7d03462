"""What goes into a results file can be written, sent and read again."""

import enum
import json

import jax.numpy as jnp
import numpy as np
import pytest

from eosbench.strict_json import dumps, plain


class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (jnp.asarray(3), 3),
        (np.bool_(True), True),
        (float("nan"), "nan"),
        (-np.inf, "-inf"),
        ((1, [None, True]), [1, [None, True]]),
        ({1: np.int64(2)}, {"1": 2}),
        (10**30, 10**30),
        (len, "len"),
        ("a\ud800b", "a?b"),
        ({"\ud800": "x"}, {"?": "x"}),
    ],
)
def test_plain(value, expected):
    assert plain(value) == expected
    assert json.loads(dumps(value).encode("utf-8")) == expected


def test_subclasses_are_unwrapped():
    assert type(plain(Colour.RED)) is str
    assert type(plain(np.str_("x"))) is str
