"""CIFAR-10 and MNIST are read from files of the published formats; a bad file is a sentence with the remedy."""

import gzip
import hashlib
import importlib
import io
import pickle
import struct
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jax
import numpy as np
import pytest

from eosbench.claim import check_of
from eosbench.evidence import Evidence, OutOfScope
from eosbench.problems import DataError, cifar10, mnist
from eosbench.problems import _images as images

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
    with pytest.raises(ValueError, match=r"n is 101: it must be between 1 and 100, the images in"):
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


def publish(path, monkeypatch):
    """Take the file as the published archive of CIFAR-10."""
    monkeypatch.setattr(images, "_CIFAR_HASH", f"md5:{hashlib.md5(path.read_bytes()).hexdigest()}")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        self.server.requests.append(self.path)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server of a folder, from which images are downloaded into a cache of this test's own."""
    (tmp_path / "published").mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "published")) as server:
        server.requests = []
        monkeypatch.setattr(images, "_CIFAR_URL", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.delenv("EOSBENCH_DATA", raising=False)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_download_is_verified_and_kept(server, tmp_path, batches, monkeypatch):
    write_cifar(tmp_path / "published", batches)
    publish(tmp_path / "published" / CIFAR, monkeypatch)
    downloaded = cifar10(30, seed=2)
    np.testing.assert_array_equal(downloaded.inputs, cifar10(30, seed=2, folder=tmp_path / "published").inputs)
    cifar10(30)
    assert len(server.requests) == 1


def test_a_download_that_differs_from_what_was_published_is_refused(server, tmp_path, batches, monkeypatch):
    write_cifar(tmp_path / "published", batches)
    publish(tmp_path / "published" / CIFAR, monkeypatch)
    with (tmp_path / "published" / CIFAR).open("r+b") as stream:
        stream.seek(100)
        stream.write(b"damaged")
    for _ in range(2):  # nothing of it stays in the cache
        with pytest.raises(
            DataError, match=r"is not the published file \(its md5 differs\); try again, or .*EOSBENCH_DATA$"
        ):
            cifar10(30)


def test_without_a_network_the_remedy_is_a_folder(server, monkeypatch):
    with pytest.raises(DataError, match=r"could not be downloaded \(HTTPError\); put it into a folder"):
        cifar10(30)
    monkeypatch.setattr(images, "_CIFAR_URL", "http://127.0.0.1:9/")
    with pytest.raises(DataError, match=r"could not be downloaded \(ConnectionError\); put it into a folder") as raised:
        cifar10(30)
    assert "\n" not in str(raised.value)


@pytest.fixture
def quick_compilation():
    """For what is compiled once and hardly runs."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def paper_size(monkeypatch):
    """For a check of a claim about CIFAR-10: the check, and evidence for it at the paper's size."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2])

    def load(check):
        function = getattr(importlib.import_module(f"claims.edge.{check}"), check)
        registered = check_of(function)
        return function, Evidence(registered.claim, registered.cases[0], "paper")

    return load


def test_figure_1_at_the_papers_size_runs_on_the_published_format(
    tmp_path, batches, monkeypatch, quick_compilation, paper_size
):
    write_cifar(tmp_path, batches)
    publish(tmp_path / CIFAR, monkeypatch)
    monkeypatch.setenv("EOSBENCH_DATA", str(tmp_path))
    figure_1, evidence = paper_size("test_figure_1")
    figure_1(evidence, 7.0, steps=4, images=40, width=8)
    start = next(record for record in evidence.records if record.name.startswith("the sharpness starts"))
    assert start.met
    rise = evidence.curves[0]
    assert rise.x == [0, 100]
    assert rise.y[0] == pytest.approx(4.6 / 7, rel=1e-2)  # the proportion of the small size


def test_vgg_at_the_papers_size_runs_in_micro_batches(tmp_path, batches, monkeypatch, quick_compilation, paper_size):
    write_cifar(tmp_path, batches)
    publish(tmp_path / CIFAR, monkeypatch)
    monkeypatch.setenv("EOSBENCH_DATA", str(tmp_path))
    test_vgg, evidence = paper_size("test_vgg")
    with pytest.raises(OutOfScope, match=r"needs a GPU; install eosbench\[cuda\]"):
        test_vgg(evidence, 0)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    test_vgg(evidence, 0, steps=1, images=10, layers=11, width=1, batch=5)
    assert len(evidence.records) == 6
    assert evidence.curves[0].y[0] == pytest.approx(4.6 / 20, rel=2e-2)


@pytest.mark.parametrize("check", ["test_figure_1", "test_vgg"])
def test_without_the_data_the_papers_size_is_out_of_scope(check, tmp_path, monkeypatch, paper_size):
    monkeypatch.setenv("EOSBENCH_DATA", str(tmp_path))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    function, evidence = paper_size(check)
    with pytest.raises(OutOfScope, match=r"is missing; download https://.* into that folder, or unset EOSBENCH_DATA$"):
        function(evidence, 1)
