import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from icebox.features.abc.account import Account
from icebox.features.datasets import image_folder
from icebox.features.errors import IceboxError
from icebox.features.images.bit_depth import BitDepths, bits_needed, scaled
from icebox.features.manifest.build import build


def encoded(values: np.ndarray, kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, kind)
    return stream.getvalue()


def ramp(bits: int) -> np.ndarray:
    return np.linspace(0, 2**bits - 1, 60).round().astype(np.uint16).reshape(6, 10)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_the_bits_of_a_16_bit_picture_are_those_of_its_largest_value(kind, bits):
    assert bits_needed(encoded(ramp(bits), kind)) == bits


def test_other_contents_have_none():
    grey = np.zeros((3, 3), np.uint8)
    for content in (
        encoded(grey, "PNG"),
        encoded(grey, "JPEG"),
        encoded(grey, "TIFF"),
        b"",
        b"no picture",
        "text",
        grey,
    ):
        assert bits_needed(content) is None
    assert bits_needed(encoded(ramp(12), "PNG")[:60]) is None


def test_signed_values_are_no_few_bits():
    assert bits_needed(encoded(np.linspace(-900, 300, 60, dtype=np.int32).reshape(6, 10), "TIFF")) is None


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_bits_scale_the_values_to_all_256_levels(kind, bits):
    picture = scaled(encoded(ramp(bits), kind), bits, "a.png")
    assert picture.dtype == np.uint8
    assert np.array_equal(picture, np.rint(ramp(bits) * (255 / (2**bits - 1))))


def test_bits_leave_other_pictures_as_they_are_and_refuse_values_that_need_more():
    grey = encoded(np.zeros((3, 3), np.uint8), "PNG")
    assert scaled(grey, 12, "a.png") is grey
    damaged = encoded(ramp(12), "PNG")[:60]
    assert scaled(damaged, 12, "a.png") is damaged
    assert scaled(encoded(ramp(16), "PNG"), None, "a.png") == encoded(ramp(16), "PNG")
    with pytest.raises(IceboxError, match=r"^bits: a\.png has a value of 16383, which needs 14 bits; expected 12 "):
        scaled(encoded(ramp(14), "PNG"), 12, "a.png")


def test_a_dataset_of_12_bits_in_16_is_a_finding_and_one_dark_picture_is_none():
    for others, found in (([12, 11], 1), ([16], 0)):
        depths, account = BitDepths(), Account()
        for number, bits in enumerate([9, *others]):
            depths.look_at(encoded(ramp(bits), "PNG"), f"{number}.png", "ff")
        depths.note(account)
        assert len(account.remarks()) == found
    depths, account = BitDepths(), Account()
    depths.look_at(encoded(ramp(12), "PNG"), "a.png", "ff")
    depths.note(account)
    (remark,) = account.remarks()
    assert (remark.kind, remark.count, remark.examples) == ("few_of_16_bits", 1, ["a.png"])
    assert "no more than 12 bits and come out in 16 levels of 256; `bits: 12`" in remark.description


def test_the_manifest_notes_it_until_bits_are_set(tmp_path: Path):
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for bits in (11, 12):
            (tmp_path / label / f"{bits}.png").write_bytes(encoded(ramp(bits) + ord(label), "PNG"))
    plain, twelve = image_folder.Source(path=tmp_path), image_folder.Source(path=tmp_path, bits=13)
    keys = [[row.item_key for row in build(source, val=0, test=0, seed=0)] for source in (plain, twelve)]
    assert [remark.kind for remark in plain.account.remarks()] == ["few_of_16_bits"]
    assert twelve.account.remarks() == []
    assert not set(keys[0]) & set(keys[1])
    assert twelve.read("a/12.png").max() > 120


def test_color_of_16_bits_is_looked_at_too_and_refused_where_it_would_be_scaled():
    import struct
    import zlib

    rows = b"".join(b"\0" + struct.pack(">H", 4095) * 12 for _ in range(4))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    packed = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    content = b"\x89PNG\r\n\x1a\n" + b"".join(packed)
    assert bits_needed(content) == 12
    with pytest.raises(IceboxError, match=r"^bits: a\.png is color of 16 bits"):
        scaled(content, 12, "a.png")
