import gzip
import os
import threading
from collections import Counter
from functools import partial
from hashlib import md5
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from icebox.features.datasets import fashion_mnist, mnist
from icebox.features.datasets.readers import idx
from icebox.features.errors import IceboxError
from icebox.features.manifest.build import build
from icebox.features.weights import torchvision_models


def as_idx(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes() + values.tobytes()


def put(folder: Path, *, train: int = 20, test: int = 6, zipped: bool = True) -> dict[str, np.ndarray]:
    """Write the four files of a small MNIST into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    arrays = {}
    for split, n in (("train", train), ("t10k", test)):
        arrays[f"{split}-images-idx3-ubyte"] = random.integers(0, 256, (n, 28, 28), np.uint8)
        arrays[f"{split}-labels-idx1-ubyte"] = (np.arange(n) % 10).astype(np.uint8)
    for name, values in arrays.items():
        content = as_idx(values)
        path = folder / (f"{name}.gz" if zipped else name)
        path.write_bytes(gzip.compress(content, mtime=0) if zipped else content)
    return arrays


@pytest.mark.parametrize(("folder", "zipped"), [("MNIST/raw", True), ("MNIST/raw", False), (".", True)])
def test_the_files_are_read_wherever_and_however_they_were_put(tmp_path, folder, zipped):
    arrays = put(tmp_path / folder, zipped=zipped)
    source = mnist.Source(path=str(tmp_path))
    items = list(source.items())
    assert [item.item_id for item in (items[0], items[19], items[20])] == ["train-00000", "train-00019", "test-00000"]
    assert Counter(item.split for item in items) == {"train": 20, "test": 6}
    assert [item.label for item in items[:11]] == list("01234567890")
    np.testing.assert_array_equal(source.read(items[3].source), arrays["train-images-idx3-ubyte"][3])
    np.testing.assert_array_equal(source.read(items[-1].source), arrays["t10k-images-idx3-ubyte"][5])


@pytest.mark.parametrize("place", ["{}", "MNIST/raw/{}", "{0}/{0}"])
def test_files_are_found_as_other_copies_name_them(tmp_path, place):
    arrays = put(tmp_path / "published", zipped=False)
    for name in arrays:
        target = tmp_path / place.format(name.replace("-idx", ".idx"))
        target.parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "published" / name).rename(target)
    assert len(list(mnist.Source(path=tmp_path).items())) == 26


def test_torchvision_reads_the_same(tmp_path):
    put(tmp_path / "MNIST/raw", zipped=False)
    source = mnist.Source(path=tmp_path)
    items = list(source.items())
    for split, train in (("train", True), ("test", False)):
        trusted = torchvision_models.library().datasets.MNIST(tmp_path, train=train)
        ours = [item for item in items if item.split == split]
        np.testing.assert_array_equal(np.stack([source.read(item.source) for item in ours]), trusted.data.numpy())
        assert [int(item.label) for item in ours] == trusted.targets.tolist()


def test_fashion_mnists_labels_are_torchvisions_names(tmp_path):
    put(tmp_path / "FashionMNIST/raw")
    labels = [item.label for item in fashion_mnist.Source(path=tmp_path).items()]
    assert labels[:10] == torchvision_models.library().datasets.FashionMNIST.classes


def test_val_is_drawn_from_train_and_the_official_test_is_kept(tmp_path):
    put(tmp_path, train=200, test=30)
    rows = build(mnist.Source(path=tmp_path), val=0.2, test=0.5, seed=0)
    counts = Counter((row.item_id.split("-")[0], row.split) for row in rows)
    assert counts["test", "test"] == 30
    assert set(counts) == {("test", "test"), ("train", "train"), ("train", "val")}


def test_files_that_are_missing_are_named_and_nothing_is_downloaded(tmp_path, monkeypatch):
    put(tmp_path / "MNIST/raw")
    (tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte.gz").unlink()
    monkeypatch.setattr(idx.IdxDataset, "_fetch", lambda self: pytest.fail("downloads unasked"))
    with pytest.raises(IceboxError, match=r"no t10k-labels-idx1-ubyte in .*MNIST/raw .*put these.*`download: true`"):
        list(mnist.Source(path=tmp_path).items())


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (b"not gzip", "expected an IDX file of unsigned bytes, found one that starts b'not '"),
        (b"\x1f\x8bnot gzip", "can't be read, delete it"),
        (
            gzip.compress(b"\0\0\x08\x03" + b"\xff" * 12 + b"\0" * 9),
            "expected 79,228,162,458,924,105,385,",
        ),
        (gzip.compress(b"\0\0\x08\xff" + b"\xff" * 12), "expected an IDX file of unsigned bytes"),
        (gzip.compress(as_idx(np.zeros((20, 28, 28), np.uint8)))[:-20], "can't be read, delete it"),
        (gzip.compress(b"\0\0\x0d\x03"), "expected an IDX file of unsigned bytes"),
        (gzip.compress(as_idx(np.zeros((20, 28, 28), np.uint8))[:-1]), "expected 15,680 values"),
        (gzip.compress(as_idx(np.zeros((19, 28, 28), np.uint8))), "as many labels"),
    ],
    ids=["no gzip", "broken gzip", "huge", "many axes", "cut short", "not of bytes", "a value less", "an item less"],
)
def test_damaged_files_are_refused(tmp_path, broken, message):
    put(tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(broken)
    with pytest.raises(IceboxError, match=message):
        list(mnist.Source(path=tmp_path).items())


def test_a_label_that_has_no_class_is_refused(tmp_path):
    put(tmp_path, test=2)
    content = as_idx(np.array([3, 10], np.uint8))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(content))
    with pytest.raises(IceboxError, match="labels below 10, found 10"):
        list(mnist.Source(path=tmp_path).items())


@pytest.mark.parametrize("source", ["train/20", "val/0", "test", "train/-1", ""])
def test_rows_that_are_not_there_are_refused(tmp_path, source):
    put(tmp_path)
    with pytest.raises(IceboxError, match="of a row there is"):
        mnist.Source(path=tmp_path).read(source)


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """torchvision looks for MNIST on this machine instead of its own mirrors."""
    published = tmp_path / "published"
    put(published)
    handler = partial(SimpleHTTPRequestHandler, directory=published)
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    library = torchvision_models.library().datasets.MNIST
    sums = [(f"{name}.gz", md5((published / f"{name}.gz").read_bytes()).hexdigest()) for name in idx.FILES]
    monkeypatch.setattr(library, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    monkeypatch.setattr(library, "resources", sums)
    yield published
    server.shutdown()
    server.server_close()


def test_torchvision_downloads_where_asked_to(tmp_path, mirror):
    source = mnist.Source(path=tmp_path / "made", download=True)
    assert len(list(source.items())) == 26
    assert (tmp_path / "made/MNIST/raw/train-images-idx3-ubyte").is_file()
    (mirror / "train-images-idx3-ubyte.gz").unlink()
    assert len(list(mnist.Source(path=tmp_path / "made", download=True).items())) == 26  # nothing is fetched twice


def test_what_cannot_be_downloaded_is_said_with_the_way_by_hand(tmp_path, mirror):
    (mirror / "train-labels-idx1-ubyte.gz").write_bytes(b"something else")
    with pytest.raises(IceboxError, match=r"can't be downloaded: .*by hand: put train-images.*-labels-idx1-ubyte"):
        list(mnist.Source(path=tmp_path / "made", download=True).items())


@pytest.mark.real_data
@pytest.mark.skipif("ICEBOX_REAL_DATA" not in os.environ, reason="ICEBOX_REAL_DATA names no folder")
@pytest.mark.parametrize("family", [mnist, fashion_mnist])
def test_the_published_files_have_7000_items_of_each_class(family):
    name = family.__name__.rpartition(".")[-1]
    source = family.Source(path=Path(os.environ["ICEBOX_REAL_DATA"], name))
    items = list(source.items())
    assert Counter(item.split for item in items) == {"train": 60_000, "test": 10_000}
    assert (np.abs(np.array(list(Counter(item.label for item in items).values())) - 7000) < 900).all()
    means = [source.read(item.source).mean() for item in items[::70]]
    expected = {"mnist": 33.3, "fashion_mnist": 72.9}[name]  # of all 60,000, as is widely published (0.1307, 0.2860)
    assert abs(np.mean(means) - expected) < 2
