"""CIFAR-10 and MNIST are read from files of the published formats; a bad file is a sentence with the remedy."""

import gzip
import io
import pickle
import struct
import tarfile

import numpy as np
import pytest

from eosbench.problems import DataError, cifar10, mnist

RANDOM = np.random.default_rng(0)
CIFAR = "cifar-10-python.tar.gz"
IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"


def write_cifar(folder, batches):
    with tarfile.open(folder / CIFAR, "w:gz") as archive:
        for i, batch in enumerate(batches, 1):
            raw = pickle.dumps(batch, protocol=2)
            entry = tarfile.TarInfo(f"cifar-10-batches-py/data_batch_{i}")
            entry.size = len(raw)
            archive.addfile(entry, io.BytesIO(raw))


@pytest.fixture
def batches():
    return [
        {
            b"data": RANDOM.integers(256, size=(20, 3072), dtype=np.uint8),
            b"labels": RANDOM.integers(10, size=20).tolist(),
        }
        for _ in range(5)
    ]


def test_cifar_images_keep_their_labels_and_are_standardized_per_colour(tmp_path, batches):
    write_cifar(tmp_path, batches)
    inputs, targets = cifar10(100, seed=3, folder=tmp_path, verify=False)
    assert inputs.shape == (100, 3, 32, 32)
    assert inputs.dtype == targets.dtype == np.float32
    np.testing.assert_allclose(inputs.mean(axis=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(inputs.std(axis=(0, 2, 3)), 1, rtol=1e-5)
    order = np.random.default_rng(3).permutation(100)
    raw = np.concatenate([batch[b"data"] for batch in batches])[order].reshape(100, 3, 32, 32).astype(float)
    centred = (raw - raw.mean(axis=(0, 2, 3), keepdims=True)) / raw.std(axis=(0, 2, 3), keepdims=True)
    np.testing.assert_allclose(inputs, centred, atol=1e-5)
    np.testing.assert_array_equal(targets.argmax(1), np.concatenate([batch[b"labels"] for batch in batches])[order])


def write_mnist(folder, images, labels):
    for name, array in ((IMAGES, images), (LABELS, labels)):
        head = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape)
        (folder / name).write_bytes(gzip.compress(head + array.tobytes()))


def test_mnist(tmp_path, monkeypatch):
    images, labels = RANDOM.integers(256, size=(30, 28, 28), dtype=np.uint8), np.arange(30, dtype=np.uint8) % 10
    write_mnist(tmp_path, images, labels)
    monkeypatch.setenv("EOSBENCH_DATA", str(tmp_path))
    inputs, targets = mnist(12, seed=1, verify=False)
    order = np.random.default_rng(1).permutation(30)[:12]
    raw = images[order].astype(float)
    np.testing.assert_allclose(inputs[:, 0], (raw - raw.mean()) / raw.std(), atol=1e-5)
    np.testing.assert_array_equal(targets.argmax(1), labels[order])


def test_what_is_missing_or_damaged_is_said_with_the_remedy(tmp_path, batches):
    with pytest.raises(DataError, match=r"is missing; download https://www\.cs\.toronto\.edu/"):
        cifar10(5, folder=tmp_path)
    write_cifar(tmp_path, batches)
    with pytest.raises(DataError, match=r"is not the published file \(its md5 differs\); download .* again"):
        cifar10(5, folder=tmp_path)
    with pytest.raises(ValueError, match=r"n=101: .* has 100 images; ask for 1 to 100"):
        cifar10(101, folder=tmp_path, verify=False)
    whole = (tmp_path / CIFAR).read_bytes()
    for raw in (whole[: len(whole) // 2], b"no archive", b""):
        (tmp_path / CIFAR).write_bytes(raw)
        with pytest.raises(DataError, match=r"is damaged .* download it again"):
            cifar10(5, folder=tmp_path, verify=False)


def test_a_batch_that_names_code_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return print, ("run",)

    write_cifar(tmp_path, [Trap()])
    with pytest.raises(DataError, match=r"is damaged \(UnpicklingError: it names .*print\)"):
        cifar10(1, folder=tmp_path, verify=False)


def test_damaged_mnist(tmp_path):
    images = np.zeros((4, 28, 28), np.uint8)
    write_mnist(tmp_path, images, np.zeros(3, np.uint8))
    with pytest.raises(DataError, match=r"damaged \(4 images and 3 labels\)"):
        mnist(2, folder=tmp_path, verify=False)
    (tmp_path / IMAGES).write_bytes(gzip.compress(b"\0\0\x08\x03 short"))
    with pytest.raises(DataError, match="is damaged"):
        mnist(2, folder=tmp_path, verify=False)
