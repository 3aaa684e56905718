"""A fitted head's scores on pictures with masks or boxes that were no part of its dataset. Nothing is fitted.

Letters: n pictures, h height, w width, k classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from icebox.features import fingerprint
from icebox.features.abc.backbone import Backbone
from icebox.features.abc.targets import IGNORED, Boxes, Mask, Target
from icebox.features.errors import IceboxError, located, suggestion
from icebox.features.names import canonical_name
from icebox.features.splits import in_order
from icebox.pipeline.comparison import bootstrap
from icebox.pipeline.comparison.evaluate import Evaluation, choice_of, known_items, own_test, scores_of
from icebox.pipeline.dense import matching
from icebox.pipeline.dense.matching import Detections
from icebox.pipeline.evaluation import metrics
from icebox.pipeline.evaluation.dense_tasks import segmentation
from icebox.pipeline.evaluation.dense_tasks.detection import DetectionSample
from icebox.pipeline.evaluation.dense_tasks.segmentation import SegmentationSample
from icebox.pipeline.inference import pictures
from icebox.pipeline.inference.pictures import PictureFolder
from icebox.pipeline.inference.predict import OpenHead
from icebox.pipeline.inference.reading.doubtful_items import OnError, Unread
from icebox.pipeline.inference.reading.new_items import NewItem


def evaluate(
    head: OpenHead,
    inputs: Sequence[str],
    *,
    out: Path | None = None,
    on_error: OnError = "fail",
    split: str | None = None,
) -> Evaluation:
    """Score the head on pictures with masks or boxes; with `out`, write its answers into that new folder.

    Raises IceboxError for pictures without a target, classes that the head does not know, and where nothing is left.
    """
    opened, unread = head.bundle, Unread(on_error)
    assert isinstance(head.backbone, Backbone)  # no store of a dense task is joined
    if opened.task == "detection":
        matching.coco_evaluation()  # raises where boxes can't be scored
    folder = None if out is None else PictureFolder(out, opened)
    items: list[NewItem] = []
    keys: list[str] = []
    counted: list[Any] = []
    read = of_split(head.reading.items(inputs, labelled=True), split)
    for picture in pictures.answers(opened, head.backbone, read, unread):
        item, size = picture.item, (picture.image.height, picture.image.width)
        with located(item.place):
            counted.append(counts(target_of(item, opened.classes), picture.answer, size, len(opened.classes)))
        items.append(item)
        keys.append(fingerprint.of_content(picture.content))
        if folder:
            folder.add(picture)
    unread.report(len(items))
    if not items:
        raise IceboxError("expected pictures with masks or boxes to score, found none")
    if folder:
        folder.close()
    return assess(head, sample_of(opened.task, counted), items, keys, unreadable=unread.count)


def of_split(items: Iterator[NewItem], split: str | None) -> Iterator[NewItem]:
    """The items of a split, or all of them. Raises IceboxError for several splits, and for one without items."""
    splits: dict[str, None] = {}
    for item in items:
        splits[item.split] = None
        if split is None and len(splits) > 1:
            raise IceboxError(
                f"expected pictures of one split, found {', '.join(in_order(splits))}; name one: --split test"
            )
        if split in (None, item.split):
            yield item
    if split is not None and split not in splits:
        raise IceboxError(f"--split {split}: no such pictures; splits: {', '.join(in_order(splits)) or 'none'}")


def target_of(item: NewItem, classes: Sequence[str]) -> Target:
    """The mask or boxes of a picture, by the numbers of the head's `classes`.

    Raises IceboxError for a picture without any, and for a class among them that the head does not know.
    """
    if item.target is None or item.target_classes is None:
        raise IceboxError("expected a mask, or boxes, found none; give what the dataset's source reads, or --source")
    target, own = item.target(), item.target_classes()
    number = {canonical_name(name): i for i, name in enumerate(classes)}
    numbers = np.array([number.get(canonical_name(name), IGNORED - 1) for name in own], np.int64)
    values = target.classes if isinstance(target, Mask) else target.labels
    known = np.append(numbers, IGNORED)[values]  # IGNORED is -1, the last
    if (known == IGNORED - 1).any():
        name = own[int(values[known == IGNORED - 1][0])]
        raise IceboxError(f"'{name}' is no class of the head; {suggestion(name, list(classes))}")
    return Mask(known.astype(np.int16)) if isinstance(target, Mask) else replace(target, labels=known)


def counts(target: Target, answer: np.ndarray | Detections, size: tuple[int, int], k: int) -> Any:
    """The answer for a picture of this size beside its target: what its sample is made of."""
    if target.size != size:
        raise IceboxError(
            f"its mask or boxes are of {target.size[0]}×{target.size[1]} pixels, it has {size[0]}×{size[1]}"
        )
    if isinstance(target, Boxes) and isinstance(answer, Detections):
        return matching.match(target, answer, k)
    if isinstance(target, Mask) and not isinstance(answer, Detections):
        truth = target.classes
        return segmentation.confusion(truth, answer, k), segmentation.boundary_score(truth, answer)
    kind = "boxes" if isinstance(target, Boxes) else "a mask"
    raise IceboxError(f"expected what the head answers with, found {kind}")


def sample_of(task: str, counted: Sequence[Any]) -> SegmentationSample | DetectionSample:
    """The sample of n pictures."""
    if task == "detection":
        return matching.sample_of(counted)
    return SegmentationSample(
        np.stack([confusion for confusion, _ in counted]), np.array([boundary for _, boundary in counted])
    )


def assess(
    head: OpenHead, sample: Any, items: Sequence[NewItem], keys: Sequence[str], *, unreadable: int
) -> Evaluation:
    """The evaluation of a head's answers for n pictures, whose contents have these hashes."""
    groups = {str(i): item.group for i, item in enumerate(items)}
    units = bootstrap.units_of(list(groups), groups)
    chosen_by = metrics.choosing_metric(metrics.scores(sample), choice_of(head))
    rows = [row for row in sample.by_class(head.bundle.classes) if row["n"] or row.get("precision") is not None]
    return Evaluation(
        head=head.name,
        n=len(items),
        groups=int(units.max()) + 1 if any(groups.values()) else None,
        chosen_by=chosen_by,
        scores=scores_of(sample, units, first=chosen_by),
        classes=rows,
        confusion=[],
        unreadable=unreadable,
        unknown_labels={},
        known=known_items(head.bundle, items, keys, sample, chosen_by),
        own_test=own_test(head),
        unadapted={},
    )
