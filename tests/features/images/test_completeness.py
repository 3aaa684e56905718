import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from icebox.features.errors import ItemError
from icebox.features.images.decoding import to_image


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def photo() -> Image.Image:
    """Smooth, in color, black nowhere."""
    coarse = np.random.default_rng(0).integers(60, 256, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((50, 40), Image.Resampling.BICUBIC)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, color: int, rows: bytes, *, interlaced: bool = False) -> bytes:
    """A PNG of raw, filtered rows."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced)
    palette = chunk(b"PLTE", bytes(range(256)) * 3) if color == 3 else b""
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette
    return head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def rewritten(content: bytes, share: float) -> bytes:
    """A PNG of well-formed chunks whose stream ends, cleanly, after a share of the (first) picture."""
    chunks, stream, start = [], b"", 8
    while start < len(content):
        (size,) = struct.unpack(">I", content[start : start + 4])
        kind, data = content[start + 4 : start + 8], content[start + 8 : start + 8 + size]
        stream += data if kind == b"IDAT" else b""
        chunks.append((kind, data))
        start += 12 + size
    rows = zlib.decompress(stream)
    data = iter([zlib.compress(rows[: int(len(rows) * share)])])
    kept = [(kind, next(data, b"") if kind == b"IDAT" else own) for kind, own in chunks]
    return content[:8] + b"".join(chunk(kind, own) for kind, own in kept)


MODES = {
    "RGB": lambda: photo(),
    "RGBA": lambda: photo().convert("RGBA"),
    "L": lambda: photo().convert("L"),
    "LA": lambda: photo().convert("LA"),
    "one bit": lambda: photo().convert("1"),
    "palette of 8 bits": lambda: photo().quantize(200),
    "palette of 4 bits": lambda: photo().quantize(13),
    "palette of 2 bits": lambda: photo().quantize(4),
    "16 bits": lambda: Image.fromarray(np.asarray(photo().convert("L")).astype(np.uint16) * 257),
    "black": lambda: Image.new("RGB", (50, 40)),
}


@pytest.mark.parametrize("mode", MODES)
def test_a_png_whose_stream_ends_early_but_cleanly_is_refused(mode):
    whole = encoded(MODES[mode](), "PNG")
    assert np.array_equal(to_image(rewritten(whole, 1)), to_image(whole))
    for share in (0.02, 0.5, 0.999):
        with pytest.raises(ItemError, match="cut short"):
            to_image(rewritten(whole, share))


def test_a_png_with_a_transparent_color_or_an_animation_is_no_exception():
    still = encoded(photo(), "PNG", transparency=(1, 2, 3))
    moving = encoded(photo(), "PNG", save_all=True, append_images=[photo().rotate(90)])
    for whole in (still, moving):
        assert to_image(whole).size == (50, 40)
        with pytest.raises(ItemError, match="cut short"):
            to_image(rewritten(whole, 0.5))


@pytest.mark.parametrize(("depth", "color", "row_bytes"), [(1, 0, 1), (4, 3, 4), (8, 2, 24), (16, 0, 16)])
def test_an_interlaced_png_that_lacks_its_last_pass_is_refused(depth, color, row_bytes):
    passes = [(1, 1), (1, 1), (1, 2), (2, 2), (2, 4), (4, 4), (4, 8)]  # (rows, pixels a row) of 8×8 pixels
    rows = [(b"\0" + b"\xab" * -(-row_bytes * pixels // 8)) * count for count, pixels in passes]
    assert to_image(png(8, 8, depth, color, b"".join(rows), interlaced=True)).size == (8, 8)
    for cut in (6, 3):
        with pytest.raises(ItemError, match="cut short"):
            to_image(png(8, 8, depth, color, b"".join(rows[:cut]), interlaced=True))


@pytest.mark.parametrize("tag", [257, 278], ids=["height", "rows per strip"])
@pytest.mark.parametrize("mode", ["RGB", "L", "16 bits"])
def test_a_tiff_with_fewer_strips_than_rows_is_refused(mode, tag):
    whole = bytearray(encoded(MODES[mode](), "TIFF"))
    (directory,) = struct.unpack("<I", whole[4:8])
    for entry in range(directory + 2, directory + 2 + 12 * whole[directory], 12):
        number, _, _, value = struct.unpack("<HHII", whole[entry : entry + 12])
        if number == tag:
            whole[entry : entry + 12] = struct.pack("<HHII", number, 4, 1, value * 2 if tag == 257 else value // 2)
    with pytest.raises(ItemError, match="cut short"):
        to_image(bytes(whole))


@pytest.mark.parametrize("options", [{}, {"tile_size": (16, 16)}, {"no_jp2": True}], ids=str)
def test_a_jpeg_2000_without_all_of_its_tiles_or_bytes_is_refused(options):
    whole = encoded(photo(), "JPEG2000", **options)
    assert np.array_equal(to_image(whole), photo())
    size = whole.index(b"\xff\x51") + 6
    claims_more = whole[:size] + struct.pack(">II", 100, 100) + whole[size + 8 :]
    for damaged in (claims_more, whole[: len(whole) // 2], whole[: len(whole) // 2] + b"\xff\xd9"):
        with pytest.raises(ItemError, match=r"cut short"):
            to_image(damaged)


def test_pictures_that_are_black_at_the_bottom_are_whole():
    pixels = np.asarray(photo()).copy()
    pixels[20:] = 0
    for kind in ("PNG", "TIFF", "JPEG2000", "GIF", "BMP", "WEBP"):
        assert to_image(encoded(Image.fromarray(pixels), kind)).size == (50, 40)


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_a_webp_whose_data_ends_early_in_a_well_formed_file_is_refused(lossless, share):
    whole = encoded(photo(), "WEBP", lossless=lossless)
    data = whole[20 : 20 + int((len(whole) - 20) * share)]
    data += b"\0" * (len(data) % 2)
    with pytest.raises(ItemError, match="cut short"):
        to_image(b"RIFF" + struct.pack("<I", len(data) + 12) + whole[8:16] + struct.pack("<I", len(data)) + data)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("pixels", [1, 700, 1599])
def test_a_gif_that_ends_before_its_last_pixel_is_refused(interlaced, pixels):
    assert to_image(gif(40, 40, 1600, interlaced=interlaced)).size == (40, 40)
    with pytest.raises(ItemError, match="cut short"):
        to_image(gif(40, 40, pixels, interlaced=interlaced))


def gif(width: int, height: int, pixels: int, *, interlaced: bool) -> bytes:
    """A GIF, not compressed, that says that it is over after so many pixels."""
    clear, end, bits, data, filled = 256, 257, 0, bytearray(), 0
    codes = [code for i in range(pixels) for code in ([clear] if i % 200 == 0 else []) + [100 + i % 50]] + [end]
    for code in codes:
        bits |= code << filled
        filled += 9
        while filled >= 8:
            data.append(bits & 255)
            bits >>= 8
            filled -= 8
    data.append(bits & 255)
    blocks = b"".join(bytes([len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, len(data), 255))
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0xF7, 0, 0) + bytes(range(256)) * 3
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0x40 if interlaced else 0)
    return screen + frame + b"\x08" + blocks + b"\0;"
