"""A store of maps with its masks or boxes by split, in the form in which heads of dense tasks are fitted and scored.

Letters: n items, m cells, h height, w width in cells, d features, k classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from icebox.features import fingerprint
from icebox.features.abc.targets import IGNORED, Boxes, Mask
from icebox.features.errors import IceboxError
from icebox.features.extraction import views as view_names
from icebox.features.images.regions import Region
from icebox.features.splits import in_order
from icebox.features.store.feature_store import FeatureStore
from icebox.features.store.targets import StoredTargets
from icebox.pipeline.data import maps
from icebox.pipeline.data.class_weights import ClassWeights, factors
from icebox.pipeline.data.maps import StoredMaps, cell_centers

CELL_BYTES = 256 << 20  # of all cells that are drawn: more of them hardly change a fit, and it copies them
PictureView = tuple[int, str]  # a picture's position in the manifest, and a view of it
LEAST_OF_CLASS = 4  # cells drawn of each class that a picture has


@dataclass(frozen=True)
class Cells:
    """Cells drawn of the maps of many pictures: features (m, d) float32, class numbers (m,), and weights (m,), which
    make up for some classes being drawn more often than others."""

    features: np.ndarray
    labels: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class DenseData:
    """Pictures by split: positions in the store's manifest (n,) of train, perhaps val, test, and further test sets.

    Heads are fitted on every one of `views`, and scored in `scored_views`: the first, or all tiles of its grid.
    """

    maps: StoredMaps
    targets: StoredTargets
    classes: list[str]
    splits: Mapping[str, np.ndarray]
    views: tuple[str, ...]
    scored_views: tuple[str, ...]

    @property
    def task(self) -> str:
        """segmentation or detection."""
        return self.targets.task

    @property
    def train(self) -> np.ndarray:
        """The pictures that heads are fitted on."""
        return self.splits["train"]

    @property
    def val(self) -> np.ndarray | None:
        """The pictures that candidates are chosen on, where there are any."""
        return self.splits.get("val")

    @property
    def train_and_val(self) -> np.ndarray:
        """Both as one."""
        return self.train if self.val is None else np.concatenate([self.train, self.val])

    @property
    def tests(self) -> dict[str, np.ndarray]:
        """The splits that chosen heads are scored on: test, and further test sets."""
        return {name: items for name, items in self.splits.items() if name.startswith("test")}

    @cached_property
    def item_ids(self) -> np.ndarray:
        """The ids of all items of the manifest."""
        return self.maps.store.item_ids

    def region(self, item: int, view: str) -> Region:
        """The part of a picture that a view shows."""
        h, w = self.targets.sizes[item].tolist()
        return view_names.region(view, height=h, width=w)

    def mask(self, item: int) -> np.ndarray:
        """The mask (h, w) int16 of a picture, in its own pixels."""
        target = self.targets[item]
        assert isinstance(target, Mask)
        return target.classes

    def boxes(self, item: int) -> Boxes:
        """The boxes of a picture, in its own pixels."""
        target = self.targets[item]
        assert isinstance(target, Boxes)
        return target

    def cell_classes(self, item: int, view: str, size: tuple[int, int]) -> np.ndarray:
        """The classes (h, w) int16 of the pixels in the centres of `size` cells that cover what a view shows."""
        region, mask = self.region(item, view), self.mask(item)
        columns = cell_centers(region.width, size[1])
        if region.mirrored:
            columns = region.width - 1 - columns
        classes: np.ndarray = mask[np.ix_(region.upper + cell_centers(region.height, size[0]), region.left + columns)]
        return classes

    def class_pixels(self, items: np.ndarray) -> np.ndarray:
        """Pixels of each class (k,) in these pictures' masks."""
        counts = np.zeros(len(self.classes), np.int64)
        for item in items.tolist():
            mask = self.mask(item)
            counts += np.bincount(mask[mask != IGNORED], minlength=len(counts))
        return counts

    def has_two_classes(self, items: np.ndarray) -> bool:
        """Whether these pictures' masks have pixels of two classes or more; as a rule the first few have."""
        present: set[int] = set()
        for item in items.tolist():
            present |= set(np.unique(self.mask(item)).tolist()) - {IGNORED}
            if len(present) > 1:
                return True
        return False

    def draw_cells(self, items: np.ndarray, *, share: float, seed: int, every_view: bool = True) -> Cells:
        """A share of the cells of these pictures, in one pass over their maps.

        Drawn by seed, id and view: a picture's cells are the same whatever others there are. Of each class that it
        has, LEAST_OF_CLASS cells at least, which then weigh less. Fewer, where all would take more than CELL_BYTES.
        """
        views = self.views if every_view else self.scored_views
        h, w = self.maps.size
        shown = len(items) * len(views)
        most = CELL_BYTES / (4 * self.maps.depth)
        share = min(share, most / (shown * h * w))
        least = min(LEAST_OF_CLASS, int(most / (2 * shown * len(self.classes)))) if share < 1 else 0
        pieces: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for view in views:
            for positions, features in self.maps.pieces(items, view):
                for item, cells in zip(positions.tolist(), features.reshape(len(positions), h * w, -1), strict=True):
                    classes = self.cell_classes(item, view, (h, w)).ravel()
                    random = np.random.default_rng(picture_seed(seed, self.item_ids[item], view))
                    drawn, weights = draw(classes, share, random, least=least)
                    pieces.append((cells[drawn], classes[drawn], weights))
        features, labels, weights = (np.concatenate(column) for column in zip(*pieces, strict=True))
        return Cells(features, labels.astype(np.int64), weights)

    def weights(self, cells: Cells, class_weights: ClassWeights, where: str) -> np.ndarray:
        """The weights (m,) of cells, with those of their classes."""
        counts = np.bincount(cells.labels, weights=cells.weights, minlength=len(self.classes))
        weights: np.ndarray = cells.weights * factors(class_weights, self.classes, counts, where)[cells.labels]
        return weights


@dataclass(frozen=True)
class Pictures:
    """Some pictures of a store (n,), by their positions, as a head of whole maps is fitted on them."""

    data: DenseData
    items: np.ndarray

    def __len__(self) -> int:
        return len(self.items)

    def batches(self, size: int, random: np.random.Generator | None) -> Iterator[tuple[list[PictureView], np.ndarray]]:
        """Each picture once, `size` at a time: which pictures in which views (b,), and their maps (b, h, w, d).

        Shuffled, each in one of the views that heads are fitted on; without `random` in order, in the first of them.
        """
        order = self.items if random is None else random.permutation(self.items)
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            chosen = (
                np.zeros(len(batch), np.int64)
                if random is None
                else random.integers(0, len(self.data.views), len(batch))
            )
            pictures = [
                (item, self.data.views[view]) for item, view in zip(batch.tolist(), chosen.tolist(), strict=True)
            ]
            maps = np.empty((len(batch), *self.data.maps.size, self.data.maps.depth), np.float32)
            for number in np.unique(chosen):
                in_view = chosen == number
                maps[in_view] = self.data.maps.read(batch[in_view], self.data.views[number])
            yield pictures, maps

    def classes(self, pictures: Sequence[PictureView], size: tuple[int, int]) -> np.ndarray:
        """The classes (b, h, w) int16 of pictures at the centres of `size` cells."""
        return np.stack([self.data.cell_classes(item, view, size) for item, view in pictures])


def load(store: FeatureStore, *, outputs: Sequence[str] | None = None, views: Sequence[str] | None = None) -> DenseData:
    """The maps and targets of every split; by default all maps, in the store's first view.

    Raises IceboxError where train or test is empty, and for a segmentation whose train has fewer than two classes.
    """
    selected = tuple(views or scoring_views(store.views[0], store.views))
    scored = scoring_views(selected[0], store.views)
    if not covers(scored):
        raise IceboxError(
            f"{store.folder}: views: pictures are scored in the first view, and '{selected[0]}' shows no whole one; "
            f"put {view_names.IDENTITY} or all tiles of a grid first"
        )
    splits = {name: store.items(name) for name in in_order(store.splits)}
    for name in ("train", "test"):
        if name not in splits:
            raise IceboxError(f"{store.folder}: expected pictures in {name}, found none; change the dataset's split")
    data = DenseData(
        maps.select(store, outputs),
        store.targets,
        list(store.targets.classes),
        splits,
        selected,
        scored,
    )
    if data.task == "segmentation" and not data.has_two_classes(data.train):
        raise IceboxError(
            f"{store.folder}: expected pixels of at least two classes in train; look at the masks' values"
        )
    return data


def scoring_views(view: str, stored: Sequence[str]) -> tuple[str, ...]:
    """The views in which a picture is scored, if heads see it in this one first: this, or all stored tiles of its
    grid."""
    if view_names.is_tile(view):
        grid = view.rpartition(".")[0]
        return tuple(each for each in stored if each.rpartition(".")[0] == grid)
    return (view,)


def covers(views: Sequence[str]) -> bool:
    """Whether these views, one or some tiles of a grid, show all of a picture."""
    if not view_names.is_tile(views[0]):
        return views[0] in (view_names.IDENTITY, view_names.HFLIP)
    rows, columns = map(int, views[0].removeprefix("tile-").rpartition(".")[0].split("x"))
    return set(views) == set(view_names.tile_names(rows, columns))


def picture_seed(seed: int, item_id: str, view: str) -> int:
    """A seed of a picture's own draws."""
    return int(fingerprint.of_content(f"{seed}:{view}:{item_id}")[:16], 16)


def draw(
    classes: np.ndarray, share: float, random: np.random.Generator, *, least: int
) -> tuple[np.ndarray, np.ndarray]:
    """Positions (m,) of a share of a picture's cells, whose classes are (c,), and weights (m,) float32; ignored cells
    are never drawn.

    Of each class there are `least`, if it has as many; where those are more than the share, they weigh less.
    """
    counted = np.flatnonzero(classes != IGNORED)
    order, present = random.permutation(counted), np.unique(classes[counted])
    drawn, weights = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    for chance, number in zip(random.random(len(present)), present, strict=True):
        of_class = order[classes[order] == number]
        expected = share * len(of_class)
        at_least = min(len(of_class), least)
        count = at_least if expected < at_least else min(len(of_class), int(expected + chance))
        drawn.append(of_class[:count])
        weights.append(np.full(count, expected / count if expected < at_least else 1.0, np.float32))
    positions = np.concatenate(drawn)
    order = np.argsort(positions)
    return positions[order], np.concatenate(weights)[order]
