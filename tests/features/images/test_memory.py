import io
import struct
import subprocess
import sys
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from icebox.features.errors import ItemError
from icebox.features.images import memory
from icebox.features.images.decoding import to_image, to_pixels

BOMBS = """
import resource
from concurrent.futures import ThreadPoolExecutor
from icebox.features.errors import ItemError
from icebox.features.images import memory
from icebox.features.images.decoding import to_pixels
from tests.features.images.test_memory import png, webp

def prepare(content):
    with memory.budget.kept():
        try:
            to_pixels(content)
        except ItemError:
            pass

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

before = peak()
large = [webp(9000, 9000), webp(3000, 2000), png(2000, 2000, 16, 0, 16)]
with ThreadPoolExecutor(8) as pool:
    list(pool.map(prepare, large * 2))
print(peak(), peak() - before)
"""


def png(width: int, height: int, depth: int, color: int, pixel_bits: int) -> bytes:
    """A black PNG."""
    rows = (b"\0" * (1 + -(-width * pixel_bits // 8))) * height
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    packed = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def webp(width: int, height: int) -> bytes:
    """A lossless WebP of one color, in 34 bytes."""
    bits = (width - 1) | (height - 1) << 14 | 1 << 28
    codes = bytes([0x88, 0x88, 0x08])  # no transforms, no cache; five codes of one symbol, 0, each
    data = b"\x2f" + struct.pack("<I", bits) + codes + b"\0\0"
    return b"RIFF" + struct.pack("<I", 12 + len(data)) + b"WEBPVP8L" + struct.pack("<I", len(data)) + data


def test_small_bombs_stay_below_two_gigabytes_with_eight_threads():
    """A process of its own: the peak is the process's."""
    run = subprocess.run([sys.executable, "-c", BOMBS], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    total_mib, bombs_mib = map(float, run.stdout.split())
    assert bombs_mib < 1200
    assert total_mib < 2000


@pytest.mark.parametrize("side", [9_500, 30_000])  # Pillow warns of the first and raises at the second
@pytest.mark.parametrize("action", ["error", "ignore"])
def test_a_picture_that_claims_too_many_pixels_is_refused_under_every_warning_filter(side, action):
    header = struct.pack(">II", side, side) + b"\x08\x00\x00\x00\x00"
    chunk = b"IHDR" + header
    bomb = bytearray(png(1, 1, 8, 0, 8))
    bomb[12:33] = chunk + struct.pack(">I", zlib.crc32(chunk))
    with warnings.catch_warnings(action=action), pytest.raises(ItemError, match="too large to decode"):
        to_image(bytes(bomb))


def test_a_picture_that_needs_too_much_memory_is_refused_before_it_is_decoded():
    with pytest.raises(ItemError, match=r"9000×9000 pixels of WEBP RGBA need 1,853 MiB of memory, the limit is 1,024"):
        to_pixels(webp(9000, 9000))


def test_a_tile_larger_than_its_tiff_counts():
    tags = {256: 64, 257: 64, 258: 8, 259: 8, 262: 1, 277: 1, 322: 60_000, 323: 60_000, 324: 8, 325: 4}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    tiff = b"II*\0" + struct.pack("<I", 12) + b"\0" * 4 + struct.pack("<H", len(tags)) + entries + b"\0" * 4
    with pytest.raises(ItemError, match="64×64 pixels of TIFF L need 3,433 MiB"):
        to_pixels(tiff)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA", "1", "CMYK"])
def test_strips_give_the_pixels_of_the_whole(mode, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (23, 17, 4), np.uint8)
    image = Image.fromarray(pixels, "RGBA")
    image = image.convert("RGB").convert(mode) if mode in ("P", "1", "CMYK") else image.convert(mode)
    stream = io.BytesIO()
    image.save(stream, "TIFF" if mode in ("CMYK", "PA") else "PNG", **({"transparency": 3} if mode == "P" else {}))
    whole = np.asarray(to_image(stream.getvalue()))
    monkeypatch.setattr(memory, "STRIP_PIXELS", 40)
    assert np.array_equal(to_image(stream.getvalue()), whole)
    assert np.array_equal(to_pixels(stream.getvalue()), whole)


def test_threads_wait_for_memory_and_none_waits_for_ever():
    budget, held, most = memory.Budget(3 * memory.SMALL_BYTES), [0], [0]
    lock = threading.Lock()

    def prepare() -> None:
        for _ in range(20):
            with budget.kept():
                for _ in range(2):  # the second is taken at once: who holds some never waits
                    budget.reserve(memory.SMALL_BYTES + 1)
                with lock:
                    held[0] += 1
                    most[0] = max(most[0], held[0])
                with budget.kept():
                    budget.reserve(1)
                with lock:
                    held[0] -= 1

    threads = [threading.Thread(target=prepare) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert 1 <= most[0] <= 2
    assert budget.used_bytes == 0
