"""Real images without a download: the 1,797 handwritten digits that scikit-learn ships (8 x 8 pixels, UCI 1998)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

_CLASSES = 10


class Dataset(NamedTuple):
    """Inputs, vectors or images, and one-hot targets, in single precision."""

    inputs: Float[np.ndarray, "n ..."]
    targets: Float[np.ndarray, "n classes"]


def digits(n: int = 1797, *, label_noise: float = 0.0, seed: int = 0) -> Dataset:
    """The first n digits of a random order, each pixel centred and scaled to unit variance over all digits.

    Pixels that hardly vary (standard deviation below 5 % of the range) are left out, which keeps 52 of the 64.
    Without centring, brightness alone makes the top eigenvalue of the Hessian and nothing sharpens.

    Args:
        n: how many images.
        label_noise: the fraction of labels replaced by a random class, so that there is something left to fit.
        seed: of the order and of the noise.

    Raises:
        ValueError: if there are not n digits.
    """
    from sklearn.datasets import load_digits  # takes a second, and most problems do without

    images, labels = load_digits(return_X_y=True)
    if not 1 <= n <= len(images):
        raise ValueError(f"n is {n}: it must be between 1 and {len(images)}, the digits that there are.")
    spread = images.std(axis=0)
    kept = spread > 0.05 * np.ptp(images)
    standardized = (images[:, kept] - images[:, kept].mean(axis=0)) / spread[kept]

    random = np.random.default_rng(seed)
    order = random.permutation(len(images))[:n]
    noisy = np.where(random.random(n) < label_noise, random.integers(_CLASSES, size=n), labels[order])
    return Dataset(standardized[order].astype(np.float32), np.eye(_CLASSES, dtype=np.float32)[noisy])
