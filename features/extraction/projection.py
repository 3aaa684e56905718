"""Maps of fewer features: each cell's vector projected on principal components that are fitted once, on train.

The basis is a file of its own in the store's folder. Its sha256 is part of the backbone's spec, so of the store's
fingerprint: features of two bases never mix.

Letters: b batch, h height, w width in cells, d features, k components.
"""

import io
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from icebox.features import files, fingerprint
from icebox.features.abc.backbone import Backbone
from icebox.features.abc.dataset import Content
from icebox.features.errors import IceboxError, ItemError
from icebox.features.extraction import views
from icebox.features.manifest.manifest import ManifestRow
from icebox.features.manifest.reading import Read, content_of
from icebox.features.nn.output_names import is_map
from icebox.features.ragged import Values

FILE = "projection.npz"
SAMPLE_ITEMS = 256  # of train: hundreds of thousands of cells, for some thousand numbers a component


@dataclass(frozen=True)
class Basis:
    """Of each map the mean (d,) and the components (d, k) float32, the largest first.

    `origin` is the sha256 of all that it was fitted for: a backbone's spec, the number of components and the dataset.
    """

    origin: str
    means: Mapping[str, np.ndarray]
    components: Mapping[str, np.ndarray]

    @property
    def digest(self) -> str:
        """sha256 of its numbers."""
        return fingerprint.of_settings(
            {
                output: [fingerprint.of_content(values) for values in (self.means[output], self.components[output])]
                for output in sorted(self.means)
            }
        )

    def project(self, output: str, values: Values) -> Values:
        """The features (b, h, w, d) of a map → (b, h, w, k); those of any other output as they are."""
        if output not in self.means:
            return values
        assert isinstance(values, np.ndarray)
        mean, components = self.means[output], self.components[output]
        # one item at a time: a row must not depend on how many pass with it
        return np.stack(
            [((each - mean).reshape(-1, len(mean)) @ components).reshape(*each.shape[:-1], -1) for each in values]
        )

    def write(self, path: Path) -> None:
        """Write it, whole or not at all: equal ones give equal bytes."""
        arrays = {f"mean/{output}": values for output, values in self.means.items()}
        arrays |= {f"components/{output}": values for output, values in self.components.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, allow_pickle=False, origin=np.array(self.origin), **arrays)


def read(path: Path) -> Basis:
    """The basis in a file. Raises IceboxError for one that is missing or damaged."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            members = {name: arrays[name] for name in arrays.files}
        means = {name.removeprefix("mean/"): values for name, values in members.items() if name.startswith("mean/")}
        return Basis(str(members["origin"]), means, {name: members[f"components/{name}"] for name in means})
    except (OSError, ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile) as reason:
        raise IceboxError(
            f"{path}: the principal components of a store can't be read ({type(reason).__name__}); restore the file"
        ) from reason


def origin_of(spec: Mapping[str, Any], k: int, dataset: str) -> str:
    """The origin of a basis, that for which it is fitted: see `Basis`. `spec` is the backbone's."""
    return fingerprint.of_settings({**spec, "pca": k, "dataset": dataset})


def fit(backbone: Backbone, rows: Sequence[ManifestRow], reading: Read, view: str, *, k: int, origin: str) -> Basis:
    """The `k` principal components of the cells of a sample of train, of each map.

    The sample are the smallest content hashes: at random, yet the same on every machine. Maps pass one by one. Raises
    IceboxError where a map has fewer than k features, or no item can be read.
    """
    sums: dict[str, np.ndarray] = {}
    products: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    maps = [output for output in backbone.outputs if is_map(output)]
    train = sorted((row for row in rows if row.split == "train"), key=lambda row: row.item_key)
    for row in train[:SAMPLE_ITEMS]:
        try:
            encoded = backbone.encode([views.prepare(backbone, content_of(row, reading), view)])
        except ItemError:  # extraction will name it
            continue
        for output in maps:
            features = encoded[output]
            assert isinstance(features, np.ndarray)
            cells = features.reshape(-1, features.shape[-1]).astype(np.float64)
            if cells.shape[1] < k:
                raise IceboxError(f"pca: expected at most {cells.shape[1]}, the features of '{output}', found {k}")
            sums[output] = sums.get(output, 0) + cells.sum(axis=0)
            products[output] = products.get(output, 0) + cells.T @ cells
            counts[output] = counts.get(output, 0) + len(cells)
    if not counts:
        raise IceboxError("pca: expected pictures in train to fit it on, found none that can be read")
    means = {output: sums[output] / counts[output] for output in maps}
    components = {
        output: leading(products[output] / counts[output] - np.outer(means[output], means[output]), k)
        for output in maps
    }
    return Basis(origin, {output: mean.astype(np.float32) for output, mean in means.items()}, components)


def leading(covariance: np.ndarray, k: int) -> np.ndarray:
    """The eigenvectors (d, k) float32 of the largest eigenvalues, each with its largest entry above 0."""
    vectors = np.linalg.eigh(covariance)[1][:, ::-1][:, :k]
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    return np.ascontiguousarray(vectors * np.sign(largest)).astype(np.float32)


class ProjectedBackbone(Backbone):
    """A backbone whose maps are projected on a basis."""

    def __init__(self, backbone: Backbone, basis: Basis) -> None:
        self.backbone, self.basis = backbone, basis
        self.outputs = backbone.outputs
        self.modality = backbone.modality  # type: ignore[misc]  # of the family that is wrapped
        self.takes_pairs = backbone.takes_pairs  # type: ignore[misc]
        self.whole_shards = backbone.whole_shards  # type: ignore[misc]
        self.runtimes = backbone.runtimes  # type: ignore[misc]

    @property
    def spec(self) -> dict[str, Any]:
        """The backbone's, and the sha256 of the basis."""
        return {**self.backbone.spec, "projection": self.basis.digest}

    def prepare(self, content: Content) -> Any:
        """The backbone's own."""
        return self.backbone.prepare(content)

    def prepare_framed(self, content: Content) -> Any:
        """The backbone's own."""
        return self.backbone.prepare_framed(content)

    def encode(self, prepared: Sequence[Any]) -> Mapping[str, Values]:
        """b prepared items → {output: float32 (b, …)}; of a map (b, h, w, k)."""
        return self.projected(self.backbone.encode(prepared))

    def begin(self, prepared: Sequence[Any]) -> Iterator[tuple[Sequence[int], Callable[[], Mapping[str, Values]]]]:
        """Like `encode`, in sub-batches."""
        for rows, wait_for_features in self.backbone.begin(prepared):
            yield rows, lambda wait=wait_for_features: self.projected(wait())  # type: ignore[misc]

    @contextmanager
    def side_by_side(self, threads: int | None = None) -> Iterator[int]:
        """The backbone's own."""
        with self.backbone.side_by_side(threads) as count:
            yield count

    def projected(self, features: Mapping[str, Values]) -> dict[str, Values]:
        """Features by output, maps projected."""
        return {output: self.basis.project(output, values) for output, values in features.items()}

    def use_runtime(self, runtime: str) -> None:
        """Run the backbone by this runtime."""
        self.backbone.use_runtime(runtime)

    def compile(self, batch_size: int | None) -> bool:
        """Compile the backbone."""
        return self.backbone.compile(batch_size)
