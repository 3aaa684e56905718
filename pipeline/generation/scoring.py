"""Contact sheets and scores of a generator's new items, beside those of real ones."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from icebox.features.abc.backbone import Generator, ImageJudge, TextJudge
from icebox.features.abc.dataset import Content
from icebox.features.errors import IceboxError
from icebox.features.manifest.reading import Examples
from icebox.features.models.small_images import to_small_image
from icebox.pipeline.config.schema import Generate
from icebox.pipeline.generation.generate import labels_to_generate
from icebox.pipeline.generation.image_metrics import frechet_distance, nearest_images

SHEET_ROWS = 3  # of new images
TEXTS_MAX = 100  # new texts to score, which take a second each
SIGNIFICANT_DIGITS = 6


@dataclass(frozen=True)
class GenerationReport:
    """Scores by name (those of classes one level deeper), and rows of items for a contact sheet each, by its name."""

    scores: dict[str, Any]
    sheets: dict[str, Sequence[Sequence[Content]]]


def score(
    key: str, options: Generate, generator: Generator, judge: ImageJudge | TextJudge, data: Examples
) -> GenerationReport:
    """Generate items, and score them by the judge against the test split. Raises IceboxError for an unfit judge."""
    data.expect(generator.modality, f"generate.{key}")
    match generator.modality, judge:
        case "image", ImageJudge():
            report = score_images(key, options, generator, judge, data)
        case "text", TextJudge():
            report = score_texts(options, generator, judge, data)
        case _:
            raise IceboxError(
                f"generate.{key}.judge: '{options.judge}' can't judge {generator.modality}s; name another"
            )
    return GenerationReport(rounded(report.scores), report.sheets)


def score_images(
    key: str, options: Generate, generator: Generator, judge: ImageJudge, data: Examples
) -> GenerationReport:
    """Sheets of new images and of the training images nearest to them; Fréchet distances, and labels as judged."""
    shown_labels = labels_to_generate(generator, SHEET_ROWS * options.n, None, key)
    shown = [to_small_image(image) for image in generator.make(shown_labels, seed=options.seed)]
    train, test = ([to_small_image(content) for content in data.contents(split)] for split in ("train", "test"))
    positions, distances = nearest_images(shown, train)
    _, distances_of_test = nearest_images(test[: len(shown)], train)
    rows = [shown[i : i + options.n] for i in range(0, len(shown), options.n)]
    sheets: dict[str, Sequence[Sequence[Content]]] = {
        "new": rows,
        "nearest": [rows[0], [train[i] for i in positions[: options.n]]],
    }
    for name, further_rows in generator.comparison_rows(test, seed=options.seed).items():
        sheets[name] = [[to_small_image(image) for image in row] for row in further_rows]

    labels = labels_to_generate(generator, options.judged, None, key)
    features, judged_labels = judge.features_and_labels(generator.make(labels, seed=options.seed + 1))
    test_features, judged_test_labels = judge.features_and_labels(test)
    sample = np.random.default_rng(options.seed).permutation(len(train))[: options.judged]
    train_features, _ = judge.features_and_labels([train[i] for i in sample])
    test_labels = data.labels("test")
    scores: dict[str, Any] = {
        "frechet": frechet_distance(features, test_features),
        "frechet_of_train": frechet_distance(train_features, test_features),
        "nearest": float(np.median(distances)),
        "nearest_least": float(distances.min()),
        "nearest_of_test": float(np.median(distances_of_test)),
        "rarest_class": min(judged_labels.count(label) for label in set(test_labels)) / len(judged_labels),
    }
    if generator.classes:
        scores["agreement"] = agreement(labels, judged_labels)
        scores["agreement_of_test"] = agreement(test_labels, judged_test_labels)
        scores["agreement_by_class"] = agreement_by_class(labels, judged_labels)
    return GenerationReport(scores, sheets)


def score_texts(options: Generate, generator: Generator, judge: TextJudge, data: Examples) -> GenerationReport:
    """Sheets of new texts and of continued beginnings of real ones; perplexity, beside that of real texts."""
    test = [str(content) for content in data.contents("test")]
    texts = [str(text) for text in generator.make([""] * min(options.judged, TEXTS_MAX), seed=options.seed)]
    sheets: dict[str, Sequence[Sequence[Content]]] = {
        "new": [[text] for text in texts[: options.n]],
        **generator.comparison_rows(test, seed=options.seed),
    }
    words = " ".join(texts).split()
    scores = {
        "perplexity": judge.perplexity(texts),
        "perplexity_of_test": judge.perplexity(test),
        "different_words": len(set(words)) / len(words),
    }
    return GenerationReport(scores, sheets)


def agreement(labels: Sequence[str], judged_labels: Sequence[str]) -> float:
    """The share of items in which the judge reads the label that was to be generated."""
    return sum(a == b for a, b in zip(labels, judged_labels, strict=True)) / len(labels)


def agreement_by_class(labels: Sequence[str], judged_labels: Sequence[str]) -> dict[str, float]:
    """The agreement within each class."""
    judged_by_label: dict[str, list[str]] = defaultdict(list)
    for label, judged_label in zip(labels, judged_labels, strict=True):
        judged_by_label[label].append(judged_label)
    return {label: judged.count(label) / len(judged) for label, judged in sorted(judged_by_label.items())}


def rounded(scores: dict[str, Any]) -> dict[str, Any]:
    """Scores to SIGNIFICANT_DIGITS, however deep."""
    return {
        name: rounded(value) if isinstance(value, dict) else float(f"{value:.{SIGNIFICANT_DIGITS}g}")
        for name, value in scores.items()
    }
