"""Mutations of a file's bytes, drawn by a seed: damage as disks and transfers do it, and as a hostile hand would."""

from collections.abc import Callable
from random import Random

NUMBERS = (b"-1", b"0", b"1e999", b"NaN", b"9" * 25, b"9" * 5000, b"0.5", b"true", b"null", b'"x"', b"[]", b"{}")
WHOLE = (b"", b"null", b"[]", b"{}", b"0", b'""', b"\xff\xfe\x00\xd8", b"\x00" * 64, b"[" * 10_000, b'{"a":' * 10_000)
TEXTS = (b"\x00", b"\xff", b"\xc3", b"\r", b"\n", b'"', b"'", b",", b"\t", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\\")


def flip_bit(content: bytearray, random: Random) -> None:
    """One bit, as a bad cable does."""
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)


def replace_byte(content: bytearray, random: Random) -> None:
    """One byte."""
    content[random.randrange(len(content))] = random.randrange(256)


def truncate(content: bytearray, random: Random) -> None:
    """The end gone."""
    del content[random.randrange(len(content)) :]


def cut(content: bytearray, random: Random) -> None:
    """A piece gone."""
    start = random.randrange(len(content))
    del content[start : start + random.randint(1, 64)]


def repeat(content: bytearray, random: Random) -> None:
    """A piece twice."""
    start = random.randrange(len(content))
    piece = content[start : start + random.randint(1, 64)]
    content[start:start] = piece * random.choice((1, 1, 20))


def move(content: bytearray, random: Random) -> None:
    """A piece over another one."""
    start, target = (random.randrange(len(content)) for _ in range(2))
    piece = content[start : start + random.randint(1, 32)]
    content[target : target + len(piece)] = piece


def insert_text(content: bytearray, random: Random) -> None:
    """A byte that readers of text stumble over."""
    place = random.randrange(len(content) + 1)
    content[place:place] = random.choice(TEXTS)


def change_number(content: bytearray, random: Random) -> None:
    """A run of digits becomes another value."""
    places = [i for i, byte in enumerate(content) if 48 <= byte <= 57]
    if places:
        start = stop = random.choice(places)
        while stop < len(content) and content[stop] in b"0123456789.eE+-":
            stop += 1
        content[start:stop] = random.choice(NUMBERS)


def fill(content: bytearray, random: Random) -> None:
    """A piece of zeros or ones: a hole in a file that was not written to its end."""
    start = random.randrange(len(content))
    size = min(len(content) - start, random.choice((1, 4, 8, 512)))
    content[start : start + size] = bytes([random.choice((0, 255))]) * size


MUTATIONS: tuple[Callable[[bytearray, Random], None], ...] = (
    flip_bit, replace_byte, truncate, cut, repeat, move, insert_text, change_number, fill,
)  # fmt: skip


def mutate(content: bytes, random: Random) -> bytes:
    """The content with one to four mutations, or now and then something else altogether."""
    if random.random() < 0.05:
        return random.choice(WHOLE)
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        if changed:
            random.choice(MUTATIONS)(changed, random)
    return bytes(changed)
