"""The error up to which a value is accepted."""

import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import eosbench
from eosbench.curvature._bounds import ROUNDING, rounding, tolerance


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_the_tolerance_of_the_value_and_the_rounding_of_the_matrix(dtype):
    accepted = tolerance(jnp.asarray([2.0, 0.0], dtype), 0.25, rounding(jnp.asarray(4.0, dtype), dtype))
    np.testing.assert_array_equal(accepted, np.asarray([0.5, 0.0], dtype) + dtype(4 * ROUNDING) * np.finfo(dtype).eps)


def test_the_units_of_rounding_are_a_number_in_one_place_alone():
    home = Path(eosbench.__file__).parent
    spelled = re.compile(r"\d+ eps norm|\d+ \* float\(jnp\.finfo")
    assert [file.name for file in home.rglob("*.py") if spelled.search(file.read_text(encoding="utf-8"))] == []
