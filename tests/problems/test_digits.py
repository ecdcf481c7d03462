"""The digits are real, standardized, and the same for the same seed."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from eosbench.problems import digits


def test_all_digits_are_standardized_and_labelled():
    inputs, targets = digits()
    assert inputs.shape == (1797, 52)
    assert targets.shape == (1797, 10)
    assert inputs.dtype == targets.dtype == np.float32
    np.testing.assert_allclose(inputs.astype(float).mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(inputs.astype(float).std(axis=0), 1, rtol=1e-6)
    np.testing.assert_array_equal(targets.sum(axis=0), np.bincount(load_digits().target))


def test_an_image_keeps_its_label():
    images, labels = load_digits(return_X_y=True)
    inputs, targets = digits(50, seed=3)
    kept = images.std(axis=0) > 0.8
    standardized = ((images - images.mean(axis=0)) / np.where(kept, images.std(axis=0), 1))[:, kept]
    for row, target in zip(inputs, targets, strict=True):
        (found,) = np.flatnonzero(np.all(np.isclose(standardized, row, atol=1e-5), axis=1))
        assert labels[found] == target.argmax()


def test_label_noise_replaces_its_share_by_random_classes():
    clean, noisy = digits(seed=1), digits(seed=1, label_noise=0.2)
    np.testing.assert_array_equal(clean.inputs, noisy.inputs)
    changed = np.mean(clean.targets.argmax(1) != noisy.targets.argmax(1))
    assert changed == pytest.approx(0.2 * 0.9, abs=0.03)


def test_seeds():
    np.testing.assert_array_equal(digits(20, seed=5).inputs, digits(20, seed=5).inputs)
    assert not np.array_equal(digits(20, seed=5).inputs, digits(20, seed=6).inputs)
    for n in (0, 1798):
        with pytest.raises(ValueError, match=f"n is {n}: it must be between 1 and 1797"):
            digits(n)
