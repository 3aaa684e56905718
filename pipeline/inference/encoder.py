"""Encoder: a frozen backbone as a scikit-learn transformer, images or texts in, features out.

Letters: n items, d features.
"""

import logging
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from icebox.features import files
from icebox.features.abc.backbone import Backbone
from icebox.features.abc.quantized_network import INT8, QuantizedNetwork
from icebox.features.errors import IceboxError, located
from icebox.features.extraction import quantization
from icebox.features.extraction.extract import extract, fingerprint_of
from icebox.features.extraction.precision import TRIAL_ITEMS, Precision, Stored
from icebox.features.extraction.views import IDENTITY
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.catalog import backbones, quantized
from icebox.pipeline.inference import cached_backbones
from icebox.pipeline.inference.reading.raw_items import RawItems, RawItemsEstimator

STORED: Stored = "float32"
logger = logging.getLogger("icebox")


class Encoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, RawItemsEstimator):
    """Images (paths, Pillow images, uint8 arrays (h, w[, 3])) or texts → features float32 (n, d).

    Args:
        backbone: a network of torchvision by its name; "minilm"; OWNER/NAME of the Hugging Face hub; a family that
            needs no weights ("pixels", "hashing"); or a folder: a project's data/backbones/NAME, or one that
            transformers saved.
        weights: in place of the name's own: published ones of torchvision, a file, a folder, or "random".
        outputs: LAYER or LAYER:POOLING, laid side by side; by default the family's own, and of a network of
            sentence-transformers its `embedding`, as `SentenceTransformer.encode` gives it.
        prompt: stands before each text: a name of the network's own prompts, or a text; "" is none.
        clean: steps by which texts are cleaned first, as a dataset's `clean`.
        precision: "auto", "float32", "bfloat16", "float16" or "int8", as in a project; `fit` settles what "auto" is,
            and calibrates int8 on its items.
        int8_tolerance: how far features in int8 may be from those in float32, as a share of their norm, on average.
        device: "cpu", "cuda", "cuda:1" or "mps"; by default the one that ICEBOX_DEVICE names, else the fastest here.
        batch_size: items that pass through the network at once.
        workers: threads that read and decode.
        cache: the folder for weights and features; by default the one that ICEBOX_CACHE names, else the user's.

    Nothing is learned from the items, in int8 the ranges of a network's numbers excepted. Features are kept in `cache`
    by content, so that no item passes twice, in whatever process, fold or Pipeline it comes again. An item that can't
    be read raises IceboxError with its position.
    """

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        weights: Path | str | None = None,
        outputs: list[str] | None = None,
        precision: Precision = "auto",
        device: str | None = None,
        batch_size: int = 64,
        workers: int = 2,
        cache: Path | str | None = None,
        prompt: str | None = None,
        int8_tolerance: float = 0.1,
        clean: list[str] | None = None,
    ) -> None:
        self.backbone = backbone
        self.weights = weights
        self.outputs = outputs
        self.precision = precision
        self.device = device
        self.batch_size = batch_size
        self.workers = workers
        self.cache = cache
        self.prompt = prompt
        self.int8_tolerance = int8_tolerance
        self.clean = clean

    def fit(self, X: Any, y: Any = None) -> Self:
        """Find the backbone and the number of its features, for which the items pass through it."""
        self._fit_encode(X)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> np.ndarray:
        """`fit` and `transform` in one pass."""
        return self._fit_encode(X)

    def transform(self, X: Any) -> np.ndarray:
        """Features (n, d) float32 of n items. Raises IceboxError where the backbone is not the one of `fit`."""
        check_is_fitted(self)
        backbone, items = self._load(X, self.precision_)
        if self.precision_ == INT8:
            backbone.use_quantized(self.quantized_)
        if fingerprint_of({**backbone.spec, "stored": STORED}) != self.fingerprint_:
            raise IceboxError(f"Encoder: the backbone '{self.backbone}' is not the one of fit any more; fit again")
        return self._encode(backbone, items)

    def _fit_encode(self, X: Any) -> np.ndarray:
        backbone, items = self._load(X, self.precision)
        if self.precision == INT8:
            self.quantized_ = self._quantize(backbone, items)
        features = self._encode(backbone, items)
        self.precision_: Precision = backbone.spec["precision"]
        self.fingerprint_ = fingerprint_of({**backbone.spec, "stored": STORED})
        self._n_features_out = features.shape[1]  # the mixin names features after it: encoder0, encoder1, …
        return features

    def _load(self, X: Any, precision: Precision) -> tuple[Backbone, RawItems]:
        """The backbone in a precision, and the items as it takes them; "auto" is settled by the first of them."""
        cache = cached_backbones.cache_folder(self.cache)
        stored = cached_backbones.find(str(self.backbone), weights=self.weights, cache=cache)
        load_in = partial(cached_backbones.load, stored, self.outputs, device_name=self.device, prompt=self.prompt)

        def sample() -> list[Any]:
            items = RawItems(X, load_in("float32").modality, clean=self.clean or ())
            return [items.content(position) for position in range(min(len(items), TRIAL_ITEMS))]

        backbone, reason = backbones.load_in_precision(
            stored.family, precision, load_in, sample, cache / "precisions", device_name=self.device
        )
        if reason:
            logger.info("%s: %s (%s)", self.backbone, backbone.spec["precision"], reason)
        return backbone, RawItems(X, backbone.modality, clean=self.clean or ())

    def _quantize(self, backbone: Backbone, items: RawItems) -> QuantizedNetwork:
        """The backbone's network in int8, calibrated on these items, by which it runs from now on."""
        with located("Encoder"):
            quantized.refuse_missing()
            network = quantization.calibrate(backbone, items.manifest(), items.read, IDENTITY, origin="")
            logger.info("%s: %s", self.backbone, quantization.summary(network))
            quantization.refuse_above(self.int8_tolerance, network)
        return network

    def _encode(self, backbone: Backbone, items: RawItems) -> np.ndarray:
        """Features (n, d), of which only those are computed that the shard cache lacks."""
        cache = cached_backbones.cache_folder(self.cache)
        rows = items.manifest()
        with files.temporary_in(cache) as folder:
            summary = extract(
                rows,
                read=items.read,
                backbone=backbone,
                cache_root=cache / "shards",
                store=folder,
                wait=True,  # for the other folds of a search
                batch_size=self.batch_size,
                workers=self.workers,
                stored=STORED,
            )
            features = FeatureStore(folder).load().astype(np.float32, copy=False)
        logger.info("%s: %d items, %d passed through the network", self.backbone, summary.items, summary.passed)
        return features
