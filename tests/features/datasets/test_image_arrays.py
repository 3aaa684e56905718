import gzip
import os
import pickle
import zipfile

import h5py
import numpy as np
import pytest

from icebox.features.datasets.image_arrays import Source
from icebox.features.errors import IceboxError

GREY = np.arange(3 * 5 * 4, dtype=np.uint8).reshape(3, 5, 4)


@pytest.fixture
def saved(tmp_path):
    def save(**arrays):
        np.savez_compressed(tmp_path / "a.npz", **arrays)
        return Source(path=str(tmp_path / "a.npz"))

    return save


@pytest.mark.parametrize("images", [GREY, np.stack([GREY] * 3, axis=-1), np.asfortranarray(GREY)])
def test_rows_are_pictures_in_order(saved, images):
    source = saved(images=images, labels=np.array([7, 2, 7]))
    found = list(source.items())
    assert [(i.item_id, i.label, i.split, i.group) for i in found] == [
        ("0", "7", "", ""), ("1", "2", "", ""), ("2", "7", "", ""),
    ]  # fmt: skip
    for item, image in zip(found, images, strict=True):
        np.testing.assert_array_equal(source.read(item.source), image)


def test_labels_may_be_text_and_split_ids_and_groups_given(saved):
    source = saved(
        images=GREY,
        labels=np.array(["Katze", "犬", "Katze"]),
        split=np.array(["train", "valid", "test"]),
        ids=np.array([11, 12, 13]),
        group=np.array(["p1", "p1", "p2"]),
    )
    assert [(i.item_id, i.label, i.split, i.group) for i in source.items()] == [
        ("11", "Katze", "train", "p1"), ("12", "犬", "val", "p1"), ("13", "Katze", "test", "p2"),
    ]  # fmt: skip


@pytest.mark.parametrize(("images", "labels"), [("{}_images", "{}_labels"), ("x_{}", "y_{}")])
def test_published_layouts_keep_their_splits(saved, images, labels):
    arrays = {images.format("train"): GREY, labels.format("train"): np.array([[0], [1], [0]])}
    arrays |= {images.format("test"): GREY[:2] + 100, labels.format("test"): np.array([[1], [0]])}
    source = saved(**arrays)
    found = list(source.items())
    assert [(i.item_id, i.label, i.split) for i in found] == [
        ("train/0", "0", "train"), ("train/1", "1", "train"), ("train/2", "0", "train"),
        ("test/0", "1", "test"), ("test/1", "0", "test"),
    ]  # fmt: skip
    np.testing.assert_array_equal(source.read(found[3].source), GREY[0] + 100)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": GREY, "labels": np.arange(3)}, "expected arrays images and labels .*found pictures, labels"),
        ({"images": GREY}, "no array 'labels'"),
        ({"images": GREY, "labels": np.arange(2)}, r"labels: expected 3 values, one an image, found \(2,\)"),
        ({"images": GREY / 255, "labels": np.arange(3)}, r"found float64 \(3, 5, 4\); scale to 0..255"),
        ({"images": GREY[:, None], "labels": np.arange(3)}, r"found uint8 \(3, 1, 5, 4\)"),
        ({"images": np.stack([GREY] * 4, -1), "labels": np.arange(3)}, r"\(3, 5, 4, 4\); leave the transparency out"),
        ({"images": GREY, "labels": np.array(["a", "b", None], object)}, "without pickled objects"),
    ],
)
def test_what_is_no_set_of_labelled_pictures_is_refused(saved, arrays, message):
    source = saved(**arrays)
    with pytest.raises(IceboxError, match=message):
        list(source.items())


def test_one_channel_is_grey(saved):
    source = saved(images=GREY[..., None], labels=np.arange(3))
    np.testing.assert_array_equal(source.read("/1"), GREY[1])


def test_arrays_that_nobody_asks_for_are_not_read(tmp_path):
    np.savez(tmp_path / "a.npz", images=GREY, labels=np.arange(3), other=np.array([{}], object))
    assert len(list(Source(path=tmp_path / "a.npz").items())) == 3


def with_member(path, name: str, content: bytes, **settings) -> Source:
    """A file of images and labels, and a member of any bytes."""
    np.savez(path, images=GREY)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), content, **settings)
    return Source(path=path)


@pytest.mark.parametrize("shape", ["(1000000000000,)", f"({10**30},)", "(4,)", "(-3,)", "(3, 10**9)"])
def test_a_header_that_claims_another_size_is_refused_before_room_is_made(tmp_path, shape):
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"abc"
    with pytest.raises(IceboxError, match="can't be read as") as caught:
        list(with_member(tmp_path / "a.npz", "labels.npy", content).items())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", [99, 12, 14])
def test_an_unknown_or_damaged_compression_is_one_line(tmp_path, method):
    source = with_member(tmp_path / "a.npz", "labels.npy", b"x" * 500)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    for signature, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = content.rindex(signature) + place
        content[at : at + 2] = method.to_bytes(2, "little")
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(IceboxError, match="can't be read as") as caught:
        list(source.items())
    assert "\n" not in str(caught.value)


def test_a_file_of_another_kind_is_called_by_its_name(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = GREY
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(GREY))
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"x"))
    for name, kind in (("a.h5", "HDF5, as h5py writes it"), ("a.pkl", "a pickle"), ("a.gz", "gzip")):
        with pytest.raises(IceboxError, match=rf"{name} is {kind}; expected arrays of images and labels"):
            list(Source(path=tmp_path / name).items())


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.npz")
    with pytest.raises(IceboxError, match="is no file, but a folder, pipe"):
        list(Source(path=tmp_path / "a.npz").items())


def test_a_pickle_in_place_of_the_file_is_never_run(tmp_path):
    np.save(tmp_path / "a.npy", np.array([print], object), allow_pickle=True)
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    with pytest.raises(IceboxError, match=r"is one NumPy array \(\.npy\)"):
        list(Source(path=tmp_path / "a.npz").items())


def test_missing_damaged_and_other_files_are_named(tmp_path):
    with pytest.raises(IceboxError, match=r"no file .*none\.npz"):
        list(Source(path=tmp_path / "none.npz").items())
    np.savez(tmp_path / "a.npz", images=GREY, labels=np.arange(3))
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(content[:-60])
    with pytest.raises(IceboxError, match="can't be read as"):
        list(Source(path=tmp_path / "a.npz").items())
    with (tmp_path / "b.npz").open("wb") as stream:
        np.save(stream, GREY)
    with pytest.raises(IceboxError, match="is one NumPy array"):
        list(Source(path=tmp_path / "b.npz").items())


@pytest.mark.parametrize("source", ["/3", "train/0", "/-1", "0"])
def test_rows_that_are_not_there_are_refused(saved, source):
    with pytest.raises(IceboxError, match="has no row"):
        saved(images=GREY, labels=np.arange(3)).read(source)
