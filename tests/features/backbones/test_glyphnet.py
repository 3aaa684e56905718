import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from icebox.features import fingerprint
from icebox.features.abc import backbone as base
from icebox.features.backbones import glyphnet
from icebox.features.errors import IceboxError, ItemError
from icebox.features.models.glyphs import SIDE
from icebox.pipeline.training.pretrain_loop import pretrain


@pytest.fixture(scope="module", autouse=True)
def few_fonts() -> Iterator[None]:
    """Drawing all of them takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(glyphnet, "FONTS", ("DejaVuSans", "cmr10"))
        patch.setattr(glyphnet, "HELD_OUT_FONTS", ("cmss10",))
        yield


@pytest.fixture(scope="module")
def folder(few_fonts: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("glyphnet")
    pretrain(glyphnet.pretraining(steps=2, batch_size=16, width=4), path, family="glyphnet")
    return path


@pytest.fixture(scope="module")
def backbone(folder: Path) -> glyphnet.GlyphNetBackbone:
    return glyphnet.load(folder, outputs=["last", "stage1:avg", "stage3:flatten"], device="cpu")


def dot(height: int = 8, width: int = 8, ground: int = 0, ink: int = 255) -> np.ndarray:
    """A spot in the upper left quarter."""
    pixels = np.full((height, width), ground, dtype=np.uint8)
    pixels[height // 4, width // 4] = ink
    return pixels


def test_ink_is_light_on_dark_whatever_the_polarity_and_contrast_of_the_picture(backbone):
    expected = backbone.prepare(dot())
    assert expected.shape == (SIDE, SIDE)
    assert expected.dtype == np.uint8
    assert (expected.min(), expected.max()) == (0, 255)
    assert expected[:16, :16].sum() == expected.sum() > 0
    for other in (dot(ground=255, ink=0), dot(ink=16), dot(ground=100, ink=200)):
        np.testing.assert_allclose(backbone.prepare(other), expected.astype(int), atol=16)  # 16 grey levels at worst


def test_a_file_and_its_pixels_are_prepared_alike(backbone):
    file = io.BytesIO()
    Image.fromarray(dot()).save(file, "PNG")
    np.testing.assert_array_equal(backbone.prepare(file.getvalue()), backbone.prepare(dot()))
    np.testing.assert_array_equal(backbone.prepare(np.dstack([dot()] * 3)), backbone.prepare(dot()))


def test_a_long_picture_is_padded_rather_than_squeezed(backbone):
    prepared = backbone.prepare(np.pad(np.full((8, 2), 255, np.uint8), 1))  # 10 high, 4 wide
    rows, columns = np.flatnonzero(prepared.max(1) > 127), np.flatnonzero(prepared.max(0) > 127)
    assert len(rows) > 3 * len(columns)


def test_a_blank_picture_is_prepared_as_all_dark(backbone):
    for grey in (0, 7, 255):
        assert not backbone.prepare(np.full((5, 5), grey, dtype=np.uint8)).any()


def test_content_that_is_no_picture_raises_item_error(backbone):
    with pytest.raises(ItemError):
        backbone.prepare(b"not a picture")


def test_features_have_the_named_outputs_and_do_not_depend_on_batch_mates(backbone):
    batch = np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE), dtype=np.uint8)
    together = backbone.encode(list(batch))
    assert {name: rows.shape for name, rows in together.items()} == {
        "last": (5, 4 * 4 * (2 + 4)),
        "stage1:avg": (5, 4),
        "stage3:flatten": (5, 16 * 4 * 4),
    }
    for name, rows in together.items():
        assert rows.dtype == np.float32
        alone = np.concatenate([backbone.encode([one])[name] for one in batch])
        np.testing.assert_allclose(rows, alone, rtol=1e-5, atol=1e-6)


def test_the_spec_pins_the_weights_and_the_outputs(folder, backbone):
    assert backbone.spec["weights"] == fingerprint.of_file(folder / base.WEIGHTS_FILE)
    assert backbone.spec["outputs"] == ["last", "stage1:avg", "stage3:flatten"]
    fingerprint.of_settings(backbone.spec)


def test_an_unknown_layer_is_answered_with_a_near_one(folder):
    with pytest.raises(IceboxError, match="stage3"):
        glyphnet.load(folder, outputs=["stage4:avg"], device="cpu")


def test_loading_leaves_the_global_generator_alone_after_pretraining_too(folder):
    before = torch.get_rng_state()
    glyphnet.pretraining(width=4)
    assert torch.equal(before, torch.get_rng_state())


def test_a_batch_depends_on_the_seed_and_its_index_only():
    first, second = (glyphnet.pretraining(batch_size=8, width=4, seed=3) for _ in range(2))
    second.classify_batch(("cmr10",), 9)
    for left, right in zip(first.classify_batch(("cmr10",), 5), second.classify_batch(("cmr10",), 5), strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=0)
    assert not torch.equal(first.classify_batch(("cmr10",), 5)[1], first.classify_batch(("cmr10",), 6)[1])


def test_a_few_steps_lower_the_loss():
    learner = glyphnet.pretraining(steps=40, batch_size=32, width=8, learning_rate=0.05)
    losses = [learner.step(index) for index in range(learner.steps)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.1
