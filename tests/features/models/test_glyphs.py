import numpy as np
import pytest
import torch

from icebox.features.errors import IceboxError
from icebox.features.models import glyphs
from icebox.features.models.glyphs import (
    CANVAS,
    CHARACTERS,
    INK,
    RESOLUTIONS,
    SIDE,
    Glyphs,
    distance_field,
    load_font,
    rasterize,
    render,
)


@pytest.fixture(scope="module")
def few() -> Glyphs:
    return render(("DejaVuSans", "cmr10"), "018")


def draw(few: Glyphs, seed: int, labels: tuple[int, ...] = (0, 1, 2)) -> torch.Tensor:
    return few.draw(torch.tensor(labels * 8), torch.Generator().manual_seed(seed))


def test_every_font_of_the_list_ships_with_matplotlib_and_tells_all_characters_apart():
    for name in glyphs.FONTS:
        font = load_font(name)
        shapes = {bytes(font.getmask(character)) for character in CHARACTERS}
        assert len(shapes) == len(CHARACTERS) == 62, name


def test_a_missing_font_is_named():
    with pytest.raises(IceboxError, match=r"no font Comic\.ttf"):
        load_font("Comic")


def test_a_glyph_is_centred_with_its_longer_side_of_the_agreed_size():
    ink = rasterize(load_font("DejaVuSans"), "H")
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    assert len(rows) == INK
    assert abs(rows[0] + rows[-1] - (CANVAS - 1)) <= 1
    assert abs(columns[0] + columns[-1] - (CANVAS - 1)) <= 1


def test_distance_is_that_to_the_nearest_ink():
    ink = np.zeros((1, CANVAS, CANVAS), dtype=bool)
    ink[0, 10, 20] = ink[0, 40, 20] = True
    found = distance_field(ink)[0]
    assert found[10, 20] == 0
    assert found[13, 24] == 5  # 3, 4, 5
    assert found[26, 20] == 14  # the lower one is nearer


def test_the_outline_is_negative_on_ink_and_the_spine_runs_inside_it(few):
    middle = CANVAS // 2
    assert few.outline[0, 0, middle, middle] > 5  # the hole of 0
    assert few.outline[0, 2, middle, middle] < 0  # the waist of 8
    assert (few.outline[few.spine == 0] < 0).all()


def test_the_same_seed_draws_the_same_pictures_and_another_seed_others(few):
    torch.testing.assert_close(draw(few, 1), draw(few, 1), rtol=0, atol=0)
    assert not torch.equal(draw(few, 1), draw(few, 2))


def test_drawing_leaves_the_global_generator_alone(few):
    before = torch.get_rng_state()
    draw(few, 1)
    assert torch.equal(before, torch.get_rng_state())


def test_pictures_are_small_of_full_contrast_and_light_on_dark(few):
    pictures = draw(few, 3)
    assert pictures.shape == (24, 1, SIDE, SIDE)
    assert pictures.dtype == torch.float32
    assert (pictures.amin(dim=(1, 2, 3)) == 0).all()
    assert (pictures.amax(dim=(1, 2, 3)) == 1).all()
    assert pictures.median() < 0.3


def test_pictures_of_one_character_differ_and_still_resemble_it(few):
    zeros, ones = (draw(few, 4, (label,) * 8).mean(dim=(0, 1)) for label in (0, 1))
    rim, core = slice(8, 13), slice(14, 18)
    assert zeros[core, rim].mean() > zeros[core, core].mean()
    assert ones[core, rim].mean() < ones[core, core].mean()


def test_a_batch_smaller_than_the_number_of_resolutions_is_drawn_too(few):
    assert len(RESOLUTIONS) > 3
    assert few.draw(torch.tensor([0, 1, 2]), torch.Generator().manual_seed(0)).shape == (3, 1, SIDE, SIDE)
