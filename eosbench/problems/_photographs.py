"""CIFAR-shaped real images without a download: patches of the two colour photographs that scikit-learn ships."""

import numpy as np
from jaxtyping import UInt8

from eosbench.problems._digits import Dataset

_SIDE = 32
_PICTURES = ("china.jpg", "flower.jpg")
_STRIPS = 3
_CLASSES = len(_PICTURES) * _STRIPS


def photographs(n: int = 300, *, label_noise: float = 0.0, seed: int = 0) -> Dataset:
    """n patches of 32 x 32 pixels in 3 colours, from thirds of two photographs; the class of a patch is its third.

    Every pixel is centred and scaled to unit variance over the patches: without that, brightness alone makes the top
    eigenvalue of the Hessian and nothing sharpens. Inputs have shape (3, 32, 32), as convolutional layers take them.

    Args:
        n: how many patches, in equal shares up to rounding.
        label_noise: the fraction of labels replaced by a random class.
        seed: of the places of the patches and of the noise.

    Raises:
        ValueError: n is below 2.
    """
    if n < 2:
        raise ValueError(f"n is {n}: it must be at least 2, for the patches are standardized together.")
    from sklearn.datasets import load_sample_image  # takes a second, and most problems do without

    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(n) % _CLASSES)
    strips = [strip for name in _PICTURES for strip in np.array_split(load_sample_image(name), _STRIPS, axis=1)]
    patches = np.stack([_patch(strips[label], random) for label in labels]).astype(float)
    spread = patches.std(axis=0)
    standardized = (patches - patches.mean(axis=0)) / np.where(spread > 0, spread, 1)
    noisy = np.where(random.random(n) < label_noise, random.integers(_CLASSES, size=n), labels)
    return Dataset(standardized.astype(np.float32), np.eye(_CLASSES, dtype=np.float32)[noisy])


def _patch(picture: UInt8[np.ndarray, "height width 3"], random: np.random.Generator) -> UInt8[np.ndarray, "3 32 32"]:
    top, left = (random.integers(size - _SIDE + 1) for size in picture.shape[:2])
    return picture[top : top + _SIDE, left : left + _SIDE].transpose(2, 0, 1)
