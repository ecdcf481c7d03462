"""CIFAR-10 and MNIST, from a local folder or a download whose checksum is verified."""

import gzip
import hashlib
import importlib
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from eosbench.problems._digits import Dataset

_CLASSES = 10
_CIFAR_FILE = "cifar-10-python.tar.gz"
_CIFAR_URL = "https://www.cs.toronto.edu/~kriz/"
_CIFAR_HASH = "md5:c58f30108f718f92721af3b95e74349a"
_CIFAR_BATCHES = tuple(f"cifar-10-batches-py/data_batch_{i}" for i in range(1, 6))
_MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_MNIST_HASHES = {
    "train-images-idx3-ubyte.gz": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "md5:d53e105ee54ea40749a09fcbcd1e9432",
}


class DataError(RuntimeError):
    """A data set is missing or damaged. The message is one sentence that names the file and the remedy."""


def cifar10(n: int = 5000, *, seed: int = 0, folder: str | Path | None = None, verify: bool = True) -> Dataset:
    """The first n training images of CIFAR-10 in a random order, standardized per colour; inputs of shape (3, 32, 32).

    Args:
        n: how many.
        seed: of the order.
        folder: where `cifar-10-python.tar.gz` is; by default the environment variable EOSBENCH_DATA, else a download
            into the user's cache.
        verify: whether a local archive must have the published checksum.

    Raises:
        DataError: the archive is missing, damaged or not what was published.
        ValueError: there are not n images.
    """
    path = _file(_CIFAR_FILE, _CIFAR_URL, _CIFAR_HASH, folder, verify)
    try:
        with tarfile.open(path) as archive:
            batches = [_unpickled(archive, name) for name in _CIFAR_BATCHES if name in archive.getnames()]
        images = np.concatenate([np.asarray(batch[b"data"], np.uint8) for batch in batches]).reshape(-1, 3, 32, 32)
        labels = np.concatenate([np.asarray(batch[b"labels"], int) for batch in batches])
    except (tarfile.TarError, EOFError, OSError, KeyError, ValueError, TypeError, pickle.UnpicklingError) as problem:
        raise _damaged(path, problem) from None
    return _subset(images, labels, n, seed, axes=(0, 2, 3), path=path)


def mnist(n: int = 5000, *, seed: int = 0, folder: str | Path | None = None, verify: bool = True) -> Dataset:
    """The first n training images of MNIST in a random order, centred and scaled; inputs of shape (1, 28, 28).

    Arguments and errors are those of `cifar10`; the files are the four-letter ones of the original distribution,
    `train-images-idx3-ubyte.gz` and `train-labels-idx1-ubyte.gz`.
    """
    paths = [_file(name, _MNIST_URL, known, folder, verify) for name, known in _MNIST_HASHES.items()]
    images, labels = (_idx(path) for path in paths)
    return _subset(images.reshape(-1, 1, 28, 28), labels.astype(int), n, seed, axes=(0, 1, 2, 3), path=paths[0])


def _file(name: str, url: str, known: str, folder: str | Path | None, verify: bool) -> Path:
    """The path of a file in the local folder if one is given, else of its verified download."""
    local = folder or os.environ.get("EOSBENCH_DATA")
    if local is None:
        try:
            pooch = importlib.import_module("pooch")  # not needed where the files are local

            return Path(
                pooch.retrieve(url + name, known, fname=name, path=pooch.os_cache("eosbench"), progressbar=False)
            )
        except Exception as problem:
            if isinstance(problem, ValueError) and "hash" in str(problem):
                raise DataError(
                    f"what came from {url}{name} is not the published file (its {known.partition(':')[0]} differs); "
                    "try again, or put the file into a folder and name that folder in EOSBENCH_DATA"
                ) from None
            raise DataError(
                f"{name} could not be downloaded ({type(problem).__name__}); put it into a folder and name that folder "
                "in EOSBENCH_DATA"
            ) from None
    path = Path(local) / name
    if not path.is_file():
        raise DataError(f"{path} is missing; download {url}{name} into that folder, or unset EOSBENCH_DATA")
    algorithm, _, digest = known.partition(":")
    if verify and _digest(path, algorithm) != digest:
        raise DataError(f"{path} is not the published file (its {algorithm} differs); download {url}{name} again")
    return path


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def _damaged(path: Path, problem: Exception) -> DataError:
    reason = str(problem).partition("\n")[0].rstrip(":")
    return DataError(f"{path} is damaged ({type(problem).__name__}: {reason}); download it again")


class _Plain(pickle.Unpickler):
    """CIFAR's batches hold NumPy arrays and plain objects; nothing else is loaded."""

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] in ("numpy", "_codecs") and name in (
            "_reconstruct",
            "ndarray",
            "dtype",
            "encode",
            "_frombuffer",
        ):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def _unpickled(archive: tarfile.TarFile, name: str) -> dict[bytes, Any]:
    stream = archive.extractfile(name)
    if stream is None:
        raise KeyError(name)
    batch = _Plain(stream, encoding="bytes").load()
    if not isinstance(batch, dict):
        raise TypeError(f"{name} holds no batch")
    return batch


def _idx(path: Path) -> Int[np.ndarray, "n ..."]:
    """An array in the IDX format: two zero bytes, the type (8 is a byte), the number of axes, their sizes, the data."""
    try:
        with gzip.open(path) as stream:
            raw = stream.read()
        axes = raw[3]
        if raw[:3] != b"\0\0\x08":
            raise ValueError("it does not begin like an IDX file of bytes")
        shape = np.frombuffer(raw, ">i4", axes, offset=4)
        return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape)
    except (OSError, EOFError, IndexError, ValueError) as problem:
        raise _damaged(path, problem) from None


def _subset(
    images: Int[np.ndarray, "all c h w"],
    labels: Int[np.ndarray, " all"],
    n: int,
    seed: int,
    axes: tuple[int, ...],
    path: Path,
) -> Dataset:
    if len(images) != len(labels):
        raise DataError(f"{path} is damaged ({len(images)} images and {len(labels)} labels); download it again")
    if not 1 <= n <= len(images):
        raise ValueError(f"n is {n}: it must be between 1 and {len(images)}, the images in {path}.")
    chosen = np.random.default_rng(seed).permutation(len(images))[:n]
    pixels: Float[np.ndarray, "n c h w"] = images[chosen].astype(float)
    mean, spread = pixels.mean(axis=axes, keepdims=True), pixels.std(axis=axes, keepdims=True)
    standardized = (pixels - mean) / np.where(spread > 0, spread, 1)
    return Dataset(standardized.astype(np.float32), np.eye(_CLASSES, dtype=np.float32)[labels[chosen]])
