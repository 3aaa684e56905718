import numpy as np
import pytest

from icebox.features.errors import IceboxError
from icebox.features.extraction import views
from icebox.features.images.crops import crop_view
from icebox.features.images.regions import Region


def test_a_whole_picture_is_its_own_region_and_a_mirrored_one_says_so():
    assert views.region("identity", height=3, width=5) == Region(0, 0, 5, 3)
    assert views.region("hflip", height=3, width=5) == Region(0, 0, 5, 3, mirrored=True)


@pytest.mark.parametrize(
    ("rows", "columns", "height", "width"), [(1, 1, 7, 9), (2, 3, 90, 200), (3, 2, 2, 1), (4, 4, 5, 5)]
)
def test_tiles_cover_every_pixel_and_lie_in_the_picture(rows, columns, height, width):
    covered = np.zeros((height, width), int)
    for name in views.tile_names(rows, columns):
        tile = views.region(name, height=height, width=width)
        assert 0 <= tile.left < tile.right <= width
        assert 0 <= tile.upper < tile.lower <= height
        covered[tile.upper : tile.lower, tile.left : tile.right] += 1
    assert covered.min() >= 1


def test_tiles_overlap_by_an_eighth():
    first, second = (views.region(f"tile-1x2.{n}", height=10, width=150) for n in (1, 2))
    assert (first.right, second.left, second.right) == (80, 70, 150)


@pytest.mark.parametrize("view", ["five-crop.top-left", "five-crop.centre", "five-crop.bottom-right", "tile-2x2.3"])
def test_the_region_of_a_view_is_what_the_view_shows(view):
    picture = np.arange(20 * 31, dtype=np.uint8).reshape(20, 31)
    part = views.region(view, height=20, width=31)
    np.testing.assert_array_equal(crop_view(picture, view), picture[part.upper : part.lower, part.left : part.right])


def test_a_random_crop_has_no_region():
    with pytest.raises(IceboxError, match=r"masks and boxes can't follow 'random-resized-crop.2'; expected identity"):
        views.region("random-resized-crop.2", height=3, width=3)


def test_a_group_of_tiles_stands_for_its_members_and_there_are_no_others():
    assert views.expand_names(["tiles-1x2"], "views") == ("tile-1x2.1", "tile-1x2.2")
    with pytest.raises(IceboxError, match=r"no view 'tile-2x2\.5'"):
        views.expand_names(["tile-2x2.5"], "views")
