"""Cautions: sentences on what should make one doubt a winner, before anything is done about it."""

from collections.abc import Iterator

from pydantic import Field

from icebox.pipeline.comparison import bootstrap, significance, statistics, test_predictions
from icebox.pipeline.comparison.leaderboard import LeaderboardEntry
from icebox.pipeline.comparison.statistics import Interval
from icebox.pipeline.comparison.test_predictions import ClassificationPredictions, LabelSetPredictions
from icebox.pipeline.data.two_sample import Separation
from icebox.pipeline.evaluation.formatting import interval, number
from icebox.pipeline.project import documents, paths
from icebox.pipeline.project.documents import Document

FEW = 50  # items of a split: the 95 % interval of a share of 0.9 is then 0.17 wide
WEAK = 0.15  # how far a class's recall lies below the mean of the others' before it is named
UNADAPTED, UNDECIDED = "test-unadapted", "test-argmax"  # scores beside those of a head that aligns, or decides
LISTED = 5  # labels in a sentence
FEW_OF_CLASS = 10  # items, of which no recall is known


def of_winner(
    best: LeaderboardEntry, test: Interval | None, predictions: ClassificationPredictions | LabelSetPredictions | None
) -> list[str]:
    """The sentences on the best entry; `test` is the interval of its test score, `predictions` are those for test."""
    return [
        *elsewhere(best.store),
        *transductive(best),
        *gap_to_test(best, test),
        *few_items(best),
        *fewer_folds(best),
        *(
            weak_labels(predictions, best)
            if isinstance(predictions, LabelSetPredictions)
            else weakest_class(predictions, decided="offsets" in best.details)
        ),
    ]


class Apart(Document):
    """How well a test set is told from train by its features, as stage `look` found."""

    auc: int | float
    p: int | float
    n: int


class Look(Document):
    """The summary that stage `look` writes of a store."""

    apart: dict[str, Apart] = Field(default_factory=dict)


def separations(store: str) -> dict[str, Separation]:
    """How well each test set of a store is told from train by its features; none where nobody looked."""
    path = paths.look(store)
    if not path.exists():
        return {}
    look = documents.read(path, Look, remedy=f"run: dvc repro -f look@{store}")
    return {name: Separation(each.auc, each.p, each.n) for name, each in look.apart.items()}


def elsewhere(store: str) -> Iterator[str]:
    """Test sets whose features differ from train's by more than chance."""
    for name, each in separations(store).items():
        if each.is_certain:
            yield each.sentence(name.capitalize())


def transductive(best: LeaderboardEntry) -> Iterator[str]:
    """An alignment of test to train: what it changed, and whether the classes have the shares that it takes them to."""
    adapt = best.details.get("adapt")
    if not adapt:
        return
    scores = best.further.get(UNADAPTED, {})
    beside = f"{best.metric.title} {number(best.score, 3)}, without it {number(scores.get(best.metric.name), 3)}"
    yield (
        f"Test's score is transductive: its items, without their labels, were aligned to train as a set "
        f"({adapt['method']}): {beside} ({UNADAPTED}). Of new items it holds where these come as a set, or from there."
    )
    target = adapt["targets"].get("test") or {}
    if names := target.get("differs"):
        shares = ", ".join(
            f"“{name}” {target['estimated'][name]:.2f} for {adapt['train'][name]:.2f}" for name in names[:3]
        )
        assumed = "equal, and may do harm: correct for it (shares: bbse, or em)"
        if adapt["shares"] != "train":
            assumed = "as estimated, which is right where a class looks the same in both but for the alignment"
        yield f"Classes seem to have other shares in test than in train ({shares}); alignment has them {assumed}."


def gap_to_test(best: LeaderboardEntry, test: Interval | None) -> Iterator[str]:
    """A test score that is worse than val's by more than chance allows, of which both scores have their share."""
    score, name = best.score, best.metric.name
    if "offsets" in best.details:  # val's score is of the largest scores, so that of test has to be
        score, test = best.further.get(UNDECIDED, {}).get(name), split_interval(best, UNDECIDED)
    val = val_interval(best)
    if val is None or test is None or score is None or best.val_score is None:
        return
    gap = statistics.difference_interval(best.val_score, val, score, test)
    if gap[0] > 0 if best.metric.greater_is_better else gap[1] < 0:
        scores = f"{number(score, 3)} (95 % {interval(*test)}) against {number(best.val_score, 3)}"
        known = "adapt" in best.details or "unfrozen" in best.details
        yield (
            f"Test {best.metric.title} is far from that on {best.chosen_on}: {scores}, a gap of "
            f"{number(best.val_score - score, 3)} (95 % {interval(*gap)}). Test seems to come from "
            "elsewhere (other places, people, devices or times), or groups lie on both sides of the split: what was "
            f"chosen on {best.chosen_on} may not be best on new data. Let val come from where new data will, "
            + (
                "or split by group."
                if known
                else "split by group, or align test to train without its labels (fit: {adapt: standardize})."
            )
        )


def val_interval(entry: LeaderboardEntry) -> Interval | None:
    """The 95 % interval of the score that chose; None where it can't be made."""
    metric, score = entry.metric, entry.val_score
    if score is None:
        return None
    if entry.chosen_on == "val" and (of_predictions := split_interval(entry, "val")):
        return of_predictions
    if metric.interval == "proportion":
        return statistics.proportion_interval(score, int(entry.val["n"]))
    folds = [fold[metric.name] for fold in entry.details.get("folds") or [] if metric.name in fold]
    return statistics.mean_interval(folds) if len(folds) > 1 else None


def split_interval(entry: LeaderboardEntry, name: str) -> Interval | None:
    """The 95 % interval of an entry's score on a split, by its predictions; None where they are not here."""
    path = paths.predictions(entry.input_name, entry.head)
    split = test_predictions.read_splits(path).get(name) if path.exists() else None
    if split is None or not entry.metric.is_defined(split.sample):
        return None
    units = bootstrap.units_of(split.item_ids, significance.groups_of(entry.dataset))
    return bootstrap.score_interval(entry.metric, split.sample, units)


def few_items(best: LeaderboardEntry) -> Iterator[str]:
    """A val or test of so few items that its scores say little."""
    if best.chosen_on == "val" and (n := int(best.val["n"])) < FEW:
        yield (
            f"Val has {n} items only: which head and setting is best on them is largely chance. "
            "Give val more, or compare by folds (fit: {folds: 5})."
        )
    if (n := int(best.test["n"])) < FEW:
        yield f"Test has {n} items only: hardly any difference can be told on them. Give it more."


def fewer_folds(best: LeaderboardEntry) -> Iterator[str]:
    """Fewer folds than were asked for."""
    if reason := best.details.get("fewer_folds"):
        yield f"{reason[0].upper()}{reason[1:]}."


def weakest_class(predictions: ClassificationPredictions | None, *, decided: bool = False) -> Iterator[str]:
    """The class that is missed most, and the one that it is mostly taken for."""
    if predictions is None:
        return
    scores = [
        each
        for each in test_predictions.scores_by_class(predictions)
        if each["recall"] is not None and each["n"] >= FEW_OF_CLASS
    ]
    if len(scores) < 2:
        return
    worst, *others = sorted(scores, key=lambda each: each["recall"])
    mean = sum(each["recall"] for each in others) / len(others)
    if worst["recall"] > mean - WEAK:
        return
    confusions = test_predictions.confusion_pairs(predictions, 10**6)
    confused_with = next(pair["predicted"] for pair in confusions if pair["actual"] == worst["class"])
    cure = (
        ""
        if decided
        else f" Where val has it so too, move the decision: decide: {{recall: {{{worst['class']}: 0.9}}}}."
    )
    share = f"{worst['recall']:.0%} of {worst['n']}, of the other{'s' if len(others) > 1 else ''} {mean:.0%}"
    yield (
        f"The best head finds “{worst['class']}” least often ({share}), and mostly takes it for “{confused_with}”."
        + cure
    )


def weak_labels(predictions: LabelSetPredictions, best: LeaderboardEntry) -> Iterator[str]:
    """The labels that a head ranks little better than chance, and those that few items of test have."""
    rows, n = predictions.sample.by_class(predictions.classes), len(predictions.item_ids)
    weak = []
    for row in rows:
        chance = row["n"] / n  # the average precision of any order, on average
        if row["n"] >= FEW_OF_CLASS and row["ap"] < chance + WEAK * (1 - chance):
            weak.append(f"“{row['class']}” {row['ap']:.2f} (by chance {chance:.2f})")
    if weak:
        yield (
            f"The best head hardly tells some labels from the rest, by average precision: {first_of(weak)}. Give them "
            "more items of train, or leave them out."
        )
    if few := [f"“{row['class']}” ({row['n']})" for row in rows if row["n"] < FEW_OF_CLASS]:
        yield (
            f"Labels that fewer than {FEW_OF_CLASS} items of test have count as much as all others in "
            f"{best.metric.title}, and their scores are largely chance: {first_of(few)}."
        )


def first_of(names: list[str]) -> str:
    """The first few names."""
    return ", ".join(names[:LISTED]) + (" …" if len(names) > LISTED else "")
