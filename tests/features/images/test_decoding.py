import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from icebox.features.errors import ItemError
from icebox.features.images import jpeg, remarks
from icebox.features.images.decoding import to_image, to_pixels

RED, WHITE = (255, 0, 0), (255, 255, 255)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def noise(height: int = 20, width: int = 30) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_files_give_their_pixels_back(kind):
    assert np.array_equal(to_image(encoded(Image.fromarray(noise()), kind)), noise())


@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "L"), ("WEBP", "RGB")])  # WebP has no grey
def test_lossy_grey_keeps_the_mode_that_its_format_has(kind, mode):
    image = to_image(encoded(Image.new("L", (6, 4), 100), kind))
    assert (image.mode, image.size) == (mode, (6, 4))
    assert np.abs(np.asarray(image).astype(int) - 100).max() <= 1


def test_a_palette_becomes_its_colours():
    image = to_image(encoded(Image.new("RGB", (3, 2), RED).convert("P", palette=Image.Palette.ADAPTIVE)))
    assert (image.mode, image.getpixel((0, 0))) == ("RGB", RED)


def test_cmyk_becomes_rgb():
    image = to_image(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100))
    assert image.mode == "RGB"
    assert np.abs(np.asarray(image).astype(int) - RED).max() <= 2


def test_one_bit_becomes_black_and_white():
    image = to_image(encoded(Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).convert("1")))
    assert (image.mode, np.asarray(image).tolist()) == ("L", [[0, 255]])


def test_transparency_lies_on_white():
    picture = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    picture.putpixel((1, 0), (0, 0, 0, 0))
    image = to_image(encoded(picture))
    assert [image.mode, image.getpixel((0, 0)), image.getpixel((1, 0))] == ["RGB", RED, WHITE]


def test_half_transparent_grey_stays_grey_and_is_lightened_by_half():
    image = to_image(encoded(Image.new("LA", (1, 1), (0, 128))))
    assert (image.mode, image.getpixel((0, 0))) == ("L", 127)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_palette_with_a_transparent_colour_lies_on_white(kind):
    picture = Image.new("P", (2, 1), 0)
    picture.putpalette([0, 0, 0, 255, 0, 0])
    picture.putpixel((1, 0), 1)
    image = to_image(encoded(picture, kind, transparency=0))
    assert [image.mode, image.getpixel((0, 0)), image.getpixel((1, 0))] == ["RGB", WHITE, RED]


def test_a_transparent_colour_of_an_rgb_png_lies_on_white():
    image = to_image(encoded(Image.new("RGB", (1, 1), (0, 0, 0)), transparency=(0, 0, 0)))
    assert (image.mode, image.getpixel((0, 0))) == ("RGB", WHITE)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_of_grey_are_scaled_and_not_clipped(kind):
    values = np.array([[0, 257, 100 * 257 + 128, 65535]], dtype=np.uint16)
    image = to_image(encoded(Image.fromarray(values), kind))
    assert (image.mode, np.asarray(image).tolist()) == ("L", [[0, 1, 100, 255]])


def test_pixels_of_32_bits_or_floating_point_are_refused_for_want_of_a_range():
    with pytest.raises(ItemError, match=r"16 bits.*70000"):
        to_image(encoded(Image.fromarray(np.array([[70000]], dtype=np.int32)), "TIFF"))
    with pytest.raises(ItemError, match="floating-point"):
        to_image(encoded(Image.fromarray(np.array([[0.5]], dtype=np.float32)), "TIFF"))


def test_a_photo_is_turned_as_its_exif_says():
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the scene is on the stored picture's left
    picture = Image.fromarray(noise())
    image = to_image(encoded(picture, "PNG", exif=exif))
    assert image.size == (20, 30)
    assert np.array_equal(image, np.rot90(noise(), k=-1))


def test_a_damaged_exif_block_leaves_the_picture_as_stored():
    image = to_image(encoded(Image.fromarray(noise()), "PNG", exif=b"Exif\0\0not a tiff header"))
    assert np.array_equal(image, noise())


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, WHITE)]
    image = to_image(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert (image.mode, image.getpixel((0, 0))) == ("RGB", RED)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_file_that_was_cut_short_is_refused(kind):
    whole = encoded(Image.fromarray(noise(64, 64)), kind)
    with pytest.raises(ItemError, match=r"cut short|not an image"):
        to_image(whole[: len(whole) * 2 // 3])


def test_an_empty_file_and_other_files_say_what_they_are():
    with pytest.raises(ItemError, match="empty"):
        to_image(b"")
    with pytest.raises(ItemError, match=r"not an image.*that start with b'GIF9'"):
        to_image(b"GIF9")
    with pytest.raises(ItemError, match="found a str"):
        to_image("a text")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<html>404 not found</html>", "a page of the web"),
        (b"\n <!DOCTYPE html>", "a page of the web"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "git lfs pull fetches the file"),
        (b'\xef\xbb\xbf<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "AVIF"),
        (bytes(128) + b"DICM" + bytes(20), "DICOM"),
    ],
)
def test_a_file_that_is_often_met_under_a_pictures_name_is_called_by_its_own(content, kind):
    with pytest.raises(ItemError, match=f"not an image.* bytes that are .*{kind}"):
        to_image(content)


def test_an_eps_is_refused_before_ghostscript_starts():
    with pytest.raises(ItemError, match="not an image"):
        to_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")


def test_arrays_become_pictures_whatever_their_layout_in_memory():
    colour = noise()
    assert np.array_equal(to_image(colour), colour)
    assert np.array_equal(to_image(colour[::2, ::-1]), colour[::2, ::-1])
    assert to_image(colour[:, :, 0]).mode == "L"


@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 2)), np.zeros((2, 2, 4), np.uint8), np.zeros(4, np.uint8), np.zeros((0, 2), np.uint8)]
)
def test_arrays_of_another_kind_are_refused(wrong):
    with pytest.raises(ItemError, match=r"expected an array of uint8.*found"):
        to_image(wrong)


def photo(width: int = 123, height: int = 77) -> Image.Image:
    """Smooth, with edges, in colour."""
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC).filter(ImageFilter.SHARPEN)


def fast(content: bytes) -> np.ndarray | None:
    """The pixels that simplejpeg gives, where it does."""
    return jpeg.decode(content, Image.open(io.BytesIO(content)))


@pytest.fixture
def both(monkeypatch):
    """A content's pixels with simplejpeg and, as where it is missing, without."""

    def decode(content: bytes) -> tuple[np.ndarray, np.ndarray]:
        swift = to_pixels(content)
        assert np.array_equal(swift, np.asarray(to_image(content)))
        with monkeypatch.context() as without:
            without.setattr(jpeg, "simplejpeg", lambda: None)
            return swift, np.asarray(to_image(content))

    return decode


@pytest.mark.parametrize("quality", [20, 75, 95, 100])
@pytest.mark.parametrize("options", [{"subsampling": 0}, {"subsampling": 1}, {"subsampling": 2}, {"progressive": True}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_simplejpegs_pixels_are_pillows_to_the_bit(both, quality, options, mode):
    if mode == "L":
        options = {name: value for name, value in options.items() if name != "subsampling"}
    content = encoded(photo().convert(mode), "JPEG", quality=quality, **options)
    assert fast(content) is not None
    swift, slow = both(content)
    assert np.array_equal(swift, slow)


def test_a_jpeg_that_is_stored_as_rgb_or_cmyk_is_pillows_too(both):
    for content in (
        encoded(photo(), "JPEG", keep_rgb=True),
        encoded(photo().convert("CMYK"), "JPEG"),
    ):
        swift, slow = both(content)
        assert np.array_equal(swift, slow)
    assert fast(content) is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_is_turned_as_its_exif_says(both, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    swift, slow = both(encoded(photo(), "JPEG", exif=exif))
    assert swift.shape == ((77, 123, 3) if orientation < 5 else (123, 77, 3))
    assert np.array_equal(swift, slow)


def holed(content: bytes, start: float = 0.4, stop: float = 0.8) -> bytes:
    """Zeros in place of a part of the bytes."""
    first, last = (int(len(content) * share) for share in (start, stop))
    return content[:first] + bytes(last - first) + content[last:]


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 8}], ids=str)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("draft", [None, 64])
def test_a_jpeg_with_damaged_data_is_refused_whatever_libjpeg_would_make_of_it(options, mode, draft):
    whole = encoded(photo(400, 304).convert(mode), "JPEG", quality=90, **options)
    assert to_image(whole, draft=draft).width in (400, 100)
    for damaged in (
        holed(whole),
        whole[: len(whole) * 2 // 5] + b"\xff\xd9",
        whole[: len(whole) * 2 // 5],
        whole[:-2],
        whole[:300],
    ):
        with pytest.raises(ItemError, match="cut short"):
            to_image(damaged, draft=draft)


def test_a_phones_jpeg_of_several_pictures_is_judged_as_strictly():
    several = encoded(photo(), "MPO", save_all=True, append_images=[photo()])
    assert np.array_equal(to_image(several), to_image(encoded(photo(), "JPEG")))
    with pytest.raises(ItemError, match="Corrupt JPEG data"):
        to_image(holed(several, 0.2, 0.3))


@pytest.mark.parametrize("tiles", [{}, {"tile": True}], ids=["strip", "tiles"])
def test_damaged_jpeg_data_within_a_tiff_is_refused(tiles):
    whole = encoded(photo(), "TIFF", compression="jpeg")
    assert to_image(whole).size == (123, 77)
    with pytest.raises(ItemError, match="Corrupt JPEG data"):
        to_image(holed(whole, 0.3, 0.5))


def test_odd_jpeg_data_that_may_be_whole_is_taken_with_a_remark():
    whole = encoded(photo(), "JPEG")
    with remarks.collected() as noted:
        assert np.array_equal(to_image(whole + b"trailing"), to_image(whole))
    assert noted == []
    version = whole.index(b"JFIF\0") + 5
    for odd, reason in (
        (whole[:-2] + b"\x12" * 500 + whole[-2:], "extraneous bytes before marker 0xd9"),
        (whole[:version] + b"\x09" + whole[version + 1 :], "unknown JFIF revision"),
    ):
        with remarks.collected() as noted:
            assert np.array_equal(to_image(odd), to_image(whole))
        assert len(noted) == 1
        assert reason in noted[0]


def test_a_jpeg_of_more_scans_than_any_encoder_writes_is_refused_before_it_is_decoded():
    progressive = encoded(photo(), "JPEG", progressive=True)
    last = progressive.rindex(b"\xff\xda")
    with pytest.raises(ItemError, match="a JPEG of 2,010 scans, the limit is 100"):
        to_image(progressive[:-2] + progressive[last:-2] * 2000 + progressive[-2:])


@pytest.mark.parametrize(("shorter", "size"), [(153, (400, 304)), (152, (200, 152)), (76, (100, 76)), (1, (50, 38))])
def test_a_draft_is_no_smaller_than_asked_for(shorter, size):
    content = encoded(photo(400, 304).filter(ImageFilter.GaussianBlur(8)), "JPEG", quality=95)
    draft = to_image(content, draft=shorter)
    assert draft.size == size
    close = np.asarray(to_image(content).resize(size, Image.Resampling.BOX)).astype(int)
    assert np.abs(np.asarray(draft) - close).mean() < 1


def test_only_a_jpeg_has_a_draft():
    assert np.array_equal(to_image(encoded(photo()), draft=1), photo())
