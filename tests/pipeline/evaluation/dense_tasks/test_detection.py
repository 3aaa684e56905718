"""Average precision and recall, beside pycocotools' own and by hand."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from icebox.features.abc.targets import Boxes
from icebox.pipeline.comparison import bootstrap
from icebox.pipeline.dense import matching
from icebox.pipeline.dense.matching import Detections
from icebox.pipeline.evaluation import metrics
from icebox.pipeline.evaluation.dense_tasks import detection
from icebox.pipeline.evaluation.dense_tasks.detection import DetectionSample

K = 3


def truth(corners, labels, ignored=None):
    corners = np.array(corners, np.float32).reshape(-1, 4)
    return Boxes((200, 300), corners, np.array(labels, np.int64), np.array(ignored or [False] * len(corners), bool))


def predicted(corners, labels, scores):
    return Detections(
        np.array(corners, np.float32).reshape(-1, 4), np.array(labels, np.int64), np.array(scores, np.float32)
    )


def sample(*pairs) -> DetectionSample:
    return matching.sample_of([matching.match(actual, answered, K) for actual, answered in pairs])


def random_pictures(n: int, seed: int):
    random = np.random.default_rng(seed)
    pictures = []
    for _ in range(n):
        m = int(random.integers(0, 12))
        corner = random.uniform(0, 150, (m, 2))
        boxes = np.concatenate([corner, corner + random.uniform(4, 140, (m, 2))], axis=1)
        labels = random.integers(0, K, m)
        moved = boxes + random.normal(0, 6, boxes.shape)
        shuffled = np.where(random.random(m) < 0.8, labels, random.integers(0, K, m))
        extra = random.integers(0, 5)
        noise = random.uniform(0, 100, (extra, 2))
        moved = np.concatenate([moved, np.concatenate([noise, noise + 30], axis=1)])
        shuffled = np.concatenate([shuffled, random.integers(0, K, extra)])
        pictures.append(
            (
                truth(boxes, labels, (random.random(m) < 0.15).tolist()),
                predicted(moved, shuffled, random.random(len(moved)).round(2)),  # rounded: equal scores occur
            )
        )
    return pictures


def by_pycocotools(pictures):
    truths, answers = [], []
    for number, (actual, answered) in enumerate(pictures, start=1):
        for box, label, ignored in zip(matching.to_coco(actual.corners), actual.labels, actual.ignored, strict=True):
            truths.append(
                {
                    "id": len(truths) + 1, "image_id": number, "category_id": int(label) + 1, "bbox": box.tolist(),
                    "area": float(box[2] * box[3]), "iscrowd": int(ignored),
                }
            )  # fmt: skip
        for box, label, score in zip(matching.to_coco(answered.corners), answered.labels, answered.scores, strict=True):
            answers.append(
                {"image_id": number, "category_id": int(label) + 1, "bbox": box.tolist(), "score": float(score)}
            )
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": number + 1} for number in range(len(pictures))],
            "categories": [{"id": number + 1} for number in range(K)],
            "annotations": truths,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(answers), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


@pytest.mark.parametrize("seed", range(4))
def test_scores_are_those_of_pycocotools(seed):
    pictures = random_pictures(30, seed)
    evaluation, ours = by_pycocotools(pictures), sample(*pictures)
    assert detection.average_precision(ours) == pytest.approx(evaluation.stats[0], abs=1e-9)
    assert detection.average_precision_50(ours) == pytest.approx(evaluation.stats[1], abs=1e-9)
    assert detection.average_recall(ours) == pytest.approx(evaluation.stats[8], abs=1e-9)
    lines = ours.by_class(["a", "b", "c"])
    for size, position in (("small", 3), ("medium", 4), ("large", 5)):
        ours_of_size = [line[f"ap_{size}"] for line in lines if line[f"ap_{size}"] is not None]
        assert np.mean(ours_of_size) == pytest.approx(evaluation.stats[position], abs=1e-9)
    precision = evaluation.eval["precision"][0, :, 1, 0, 2].mean()
    assert lines[1]["ap50"] == pytest.approx(precision, abs=1e-9)


def test_weights_are_the_same_as_pictures_that_stand_there_several_times():
    pictures = random_pictures(6, 0)
    weights = np.array([[1, 1, 1, 1, 1, 1], [2, 0, 1, 3, 0, 1]], np.float32)
    drawn = sample(*pictures).reweighted(weights)
    repeated = sample(*(pictures[i] for i, count in enumerate([2, 0, 1, 3, 0, 1]) for _ in range(count)))
    for metric in metrics.of_task("detection"):
        np.testing.assert_allclose(
            metric.function(drawn), [metric.function(sample(*pictures)), metric.function(repeated)], atol=1e-6
        )


def test_a_box_found_twice_is_right_once():
    actual = truth([[0, 0, 10, 10]], [0])
    once = sample((actual, predicted([[0, 0, 10, 10]], [0], [0.9])))
    twice = sample((actual, predicted([[0, 0, 10, 10], [0, 0, 10, 10]], [0, 0], [0.5, 0.9])))
    assert detection.average_precision(once) == pytest.approx(1)
    assert twice.matches[:, 0, 0].tolist() == [detection.RIGHT, detection.WRONG]
    assert detection.average_precision(twice) == pytest.approx(1)  # all is found before the second
    assert twice.item_scores.tolist() == [pytest.approx(2 / 3)]


def test_ignored_boxes_neither_help_nor_harm():
    actual = truth([[0, 0, 10, 10], [50, 50, 90, 90]], [0, 0], [False, True])
    answered = predicted([[0, 0, 10, 10], [50, 50, 90, 90]], [0, 0], [0.1, 0.9])
    assert detection.average_precision(sample((actual, answered))) == pytest.approx(1)
    assert sample((actual, answered)).by_class(["a", "b", "c"])[0]["n"] == 1


def test_half_of_the_iou_decides_by_threshold():
    actual = truth([[0, 0, 100, 100]], [1])
    shifted = sample((actual, predicted([[0, 0, 100, 72]], [1], [1.0])))  # IoU 0.72: five of ten thresholds
    assert detection.average_precision(shifted) == pytest.approx(0.5)
    assert detection.average_precision_50(shifted) == pytest.approx(1)


def test_pictures_without_boxes_or_predictions_are_counted():
    empty, none = truth([], []), predicted([], [], [])
    box = [[0, 0, 40, 40]]
    both = sample((empty, none), (empty, predicted(box, [2], [0.9])), (truth(box, [2]), none))
    assert detection.average_precision_50(both) == 0
    assert both.item_scores.tolist() == [1, 0, 0]
    assert sample((empty, none)).by_class(["a", "b", "c"])[0]["ap"] is None


def test_a_sample_comes_back_from_its_columns_and_joins_with_another():
    pictures = random_pictures(5, 1)
    ours = sample(*pictures)
    back = DetectionSample.of_columns(ours.columns())
    assert detection.average_precision(back) == pytest.approx(detection.average_precision(ours))
    both = ours.joined(ours)
    weights = np.concatenate([np.ones((1, 5)), np.zeros((1, 5))], axis=1)
    assert detection.average_precision(both.reweighted(weights))[0] == pytest.approx(detection.average_precision(ours))
    assert not ours.differs(back).any()
    assert ours.part(np.array([3, 1])).truths.tolist() == ours.truths[[3, 1]].tolist()
    columns = ours.columns()
    with pytest.raises(ValueError, match="belong together"):
        DetectionSample.of_columns(columns | {"labels": [each[:-1] for each in columns["labels"]]})


@pytest.mark.parametrize("box", [[], [[0, 0, 40, 40]]])
def test_a_head_that_predicts_no_box_at_all_has_scores_and_columns(box):
    ours = sample(*[(truth(box, [0] * len(box)), predicted([], [], []))] * 3)
    back = DetectionSample.of_columns(ours.columns())
    assert (len(back), back.matches.shape) == (3, (0, len(detection.SIZES), len(detection.THRESHOLDS)))
    assert [metric.function(back) for metric in metrics.of_task("detection")] == [0, 0, 0]


@pytest.mark.parametrize("ignored", [False, True])
def test_pictures_without_a_box_that_counts_have_a_score_on_each_draw(ignored):
    actual = truth([[0, 0, 9, 9]], [0], [True]) if ignored else truth([], [])
    ours = sample(*[(actual, predicted([[0, 0, 9, 9]], [0], [0.9]))] * 2)
    values = bootstrap.resample(metrics.of_task("detection"), ours, np.arange(2), draws=5)
    assert values.tolist() == np.zeros((3, 5)).tolist()


def test_without_pycocotools_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pycocotools.cocoeval", None)
    with pytest.raises(Exception, match=r"pip install 'icebox\[detection\]'"):
        matching.coco_evaluation()
