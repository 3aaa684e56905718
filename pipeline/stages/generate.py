"""Stage `generate@BACKBONE`: sheets of new items in `results/samples/BACKBONE/`, and beside it how they were judged."""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from icebox.features import files
from icebox.features.abc.backbone import Generator, PictureJudge, TextJudge
from icebox.features.abc.dataset import Content
from icebox.features.errors import IceboxError
from icebox.features.manifest.reading import Examples
from icebox.features.models.small_images import to_small_image
from icebox.pipeline.catalog import datasets
from icebox.pipeline.config.schema import Config, Generate
from icebox.pipeline.generation import contact_sheet, frechet, generate, nearest_images
from icebox.pipeline.project import paths

ROWS = 3  # of new pictures on a sheet
TEXTS = 100  # new texts to judge, which take a second each
DIGITS = 6  # significant


def run(config: Config, key: str) -> None:
    """Write the sheets and the scores."""
    if key not in config.generate:
        raise IceboxError(f"generate: '{key}' has no entry under generate: in params.yaml; add one, or say --out DIR")
    settings = config.generate[key]
    maker, judge = generate.generator(config, key), generate.judge(config, settings.judge)
    data = datasets.examples(config, settings.data)
    data.expect(maker.modality, f"generate.{key}")
    if isinstance(judge, PictureJudge) and maker.modality == "image":
        scores = pictures(key, settings, maker, judge, data)
    elif isinstance(judge, TextJudge) and maker.modality == "text":
        scores = texts(key, settings, maker, judge, data)
    else:
        raise IceboxError(f"generate.{key}.judge: '{settings.judge}' can't judge {maker.modality}s; name another")
    files.write_text(paths.generated(key), json.dumps(rounded(scores), indent=2) + "\n")
    print(f"{key}: {', '.join(f'{name} {score}' for name, score in rounded(scores).items())}")


def pictures(key: str, settings: Generate, maker: Generator, judge: PictureJudge, data: Examples) -> dict[str, Any]:
    """Sheets of new pictures and of the training pictures nearest to them; Fréchet distance and labels read."""
    folder = paths.samples(key)
    asked = generate.wanted(maker, ROWS * settings.n, None, key)
    shown = [to_small_image(picture) for picture in maker.make(asked, seed=settings.seed)]
    train, test = ([to_small_image(content) for content in data.contents(split)] for split in ("train", "test"))
    place, far = nearest_images.nearest(shown, train)
    _, far_of_real = nearest_images.nearest(test[: len(shown)], train)
    rows = [shown[i : i + settings.n] for i in range(0, len(shown), settings.n)]
    contact_sheet.pictures(folder / "new.png", rows)
    contact_sheet.pictures(folder / "nearest.png", [rows[0], [train[i] for i in place[: settings.n]]])
    for name, further in maker.sheets(test, seed=settings.seed).items():
        contact_sheet.pictures(
            folder / f"{name}.png", [[to_small_image(picture) for picture in row] for row in further]
        )

    labels = generate.wanted(maker, settings.judged, None, key)
    features, read = judge.seen(maker.make(labels, seed=settings.seed + 1))
    real, read_of_real = judge.seen(test)
    drawn = np.random.default_rng(settings.seed).permutation(len(train))[: settings.judged]
    of_train, _ = judge.seen([train[i] for i in drawn])
    scores: dict[str, Any] = {
        "frechet": frechet.distance(features, real),
        "frechet_of_train": frechet.distance(of_train, real),
        "nearest": float(np.median(far)),
        "nearest_least": float(far.min()),
        "nearest_of_test": float(np.median(far_of_real)),
        "rarest_class": min(read.count(label) for label in set(data.labels("test"))) / len(read),
    }
    if maker.classes:
        scores["agreement"] = agreement(labels, read)
        scores["agreement_of_test"] = agreement(data.labels("test"), read_of_real)
        scores["agreement_by_class"] = by_class(labels, read)
    return scores


def texts(key: str, settings: Generate, maker: Generator, judge: TextJudge, data: Examples) -> dict[str, Any]:
    """A sheet of new texts and one of real beginnings that go on; perplexity beside that of real texts."""
    folder = paths.samples(key)
    real = [str(content) for content in data.contents("test")]
    written = [str(text) for text in maker.make([""] * min(settings.judged, TEXTS), seed=settings.seed)]
    sheets: dict[str, list[list[Content]]] = {
        "new": [[text] for text in written[: settings.n]],
        **maker.sheets(real, seed=settings.seed),
    }
    for name, rows in sheets.items():
        contact_sheet.texts(folder / f"{name}.png", [[str(part) for part in row] for row in rows])
    words = " ".join(written).split()
    return {
        "perplexity": judge.perplexity(written),
        "perplexity_of_test": judge.perplexity(real),
        "different_words": len(set(words)) / len(words),
    }


def agreement(labels: Sequence[str], read: Sequence[str]) -> float:
    """The share of items in which the judge reads the label that was asked for."""
    return sum(a == b for a, b in zip(labels, read, strict=True)) / len(labels)


def by_class(labels: Sequence[str], read: Sequence[str]) -> dict[str, float]:
    """The same for each label that was asked for."""
    answers: dict[str, list[str]] = defaultdict(list)
    for label, found in zip(labels, read, strict=True):
        answers[label].append(found)
    return {label: found.count(label) / len(found) for label, found in sorted(answers.items())}


def rounded(scores: dict[str, Any]) -> dict[str, Any]:
    """To DIGITS significant digits, however deep."""
    return {
        name: rounded(score) if isinstance(score, dict) else float(f"{score:.{DIGITS}g}")
        for name, score in scores.items()
    }
