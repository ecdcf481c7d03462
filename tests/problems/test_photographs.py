"""Patches of real photographs, standardized per pixel."""

import numpy as np
import pytest

from eosbench.problems import photographs


def test_patches_are_standardized_balanced_and_reproducible():
    inputs, targets = photographs(60, seed=1)
    assert inputs.shape == (60, 3, 32, 32)
    assert inputs.dtype == targets.dtype == np.float32
    np.testing.assert_allclose(inputs.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(inputs.std(axis=0), 1, rtol=1e-4)
    np.testing.assert_array_equal(targets.sum(axis=0), [10] * 6)
    np.testing.assert_array_equal(photographs(60, seed=1).inputs, inputs)
    assert not np.array_equal(photographs(60, seed=2).inputs, inputs)


def test_label_noise_leaves_the_images():
    clean, noisy = photographs(300, seed=1), photographs(300, seed=1, label_noise=0.3)
    np.testing.assert_array_equal(clean.inputs, noisy.inputs)
    changed = np.mean(clean.targets.argmax(1) != noisy.targets.argmax(1))
    assert changed == pytest.approx(0.3 * 5 / 6, abs=0.08)
    with pytest.raises(ValueError, match="n is 1: it must be at least 2"):
        photographs(1)
