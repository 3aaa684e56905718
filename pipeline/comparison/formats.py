"""The leaderboard as a table for the terminal, as JSON and as CSV."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

from icebox.pipeline.comparison import bootstrap, cautions, leaderboard, significance, statistics
from icebox.pipeline.comparison.leaderboard import FURTHER_TEST, LeaderboardEntry
from icebox.pipeline.comparison.significance import Significance
from icebox.pipeline.comparison.statistics import FoldComparison, Interval
from icebox.pipeline.comparison.test_predictions import (
    ClassificationPredictions,
    LabelSetPredictions,
    SplitPredictions,
    constant_baseline,
)
from icebox.pipeline.config.schema import Config
from icebox.pipeline.evaluation import metrics
from icebox.pipeline.evaluation.formatting import difference_interval, interval, number, signed
from icebox.pipeline.evaluation.metrics import METRICS, Metric

NOTE = """Ranked on {place}; test was looked at once, by the winner of each head's settings. 95 %: intervals of the
test score."""
NOTE_COMPARED = (
    NOTE
    + """ Δ best: test score less that of the first line, on the same items; p: {test}, with Holm's correction for
{compared} comparisons. tied: not told from the best (p ≥ 0.05)."""
)
FOLDS = """ Δ folds: mean score on the folds less that of the first line; p folds: of Nadeau and Bengio's t-test, with
Holm's correction."""
LEFT_ALIGNED = ("#", "store", "input", "head", "verdict", "chosen")  # columns of text
LEFTOVER = " °"  # marks what params.yaml no longer names
OF_LEFTOVERS = f"{LEFTOVER}: not in params.yaml any more; its results are still here."
SIZES = ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB"))


def records(config: Config, stores: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Every entry on disk as a flat dictionary, as --json and --csv print it. Absent values are None."""
    all_entries = leaderboard.entries(config, stores, on_disk=True)
    flat = []
    for dataset in dict.fromkeys(entry.dataset for entry in all_entries):
        entries = [entry for entry in all_entries if entry.dataset == dataset]
        every_test = [significance.load_predictions(entry) for entry in entries]
        predictions = [splits.get("test") for splits in every_test]
        assessed = significance.assess(entries, predictions)
        groups = significance.groups_of(dataset)
        metric = entries[0].metric
        ranks = statistics.ranks([entry.val_score for entry in entries])
        folds = leaderboard.compare_on_folds(entries)
        baseline = baseline_columns(predictions, metric)
        for entry, splits, rank, result, fold in zip(entries, every_test, ranks, assessed, folds, strict=True):
            dataset_columns = {"metric": metric.name, "ranked_by": f"{entry.chosen_on} {metric.name}", **baseline}
            further = further_columns(entry, significance.further_intervals(entry, splits, groups))
            further |= apart_columns(entry.store) | recall_columns(splits.get("test"), groups)
            flat.append(record(entry, rank, result) | further | dataset_columns | fold_columns(fold))
        test = predictions[0] if isinstance(predictions[0], ClassificationPredictions | LabelSetPredictions) else None
        cautions_on_best = cautions.of_winner(entries[0], assessed[0].intervals.get(metric.name), test)
        flat[-len(entries)]["cautions"] = cautions_on_best
    return flat


def record(entry: LeaderboardEntry, rank: str, result: Significance) -> dict[str, Any]:
    """The columns of one entry that depend on it and its comparison to the best."""
    comparison, details, name = result.comparison, entry.details, entry.metric.name
    low, high = result.intervals.get(name, (None, None))
    difference_low, difference_high = comparison.intervals[name] if comparison else (None, None)
    return {
        "dataset": entry.dataset,
        "store": entry.store,
        "input": entry.input,
        "backbone": entry.backbone,
        "head": entry.head,
        "in_params": entry.in_params,
        "adapt": (details.get("adapt") or {}).get("method", "none"),
        "decide": details.get("decide", "argmax"),
        "rank": rank,
        "verdict": result.verdict,
        **{f"val_{metric}": value for metric, value in entry.val.items()},
        **{f"test_{metric}": value for metric, value in entry.test.items()},
        "test_low": low,
        "test_high": high,
        **other_intervals(result, entry.metric),
        "difference": comparison.difference if comparison else None,
        "difference_low": difference_low,
        "difference_high": difference_high,
        "p_of": comparison.test if comparison else None,
        "p": comparison.p if comparison else None,
        "p_holm": comparison.p_holm if comparison else None,
        **dict(zip(("seeds", "seeds_mean", "seeds_sd"), over_seeds(entry), strict=True)),
        "converged": details.get("converged"),
        "train_n": entry.train_n,
        "settings": entry.settings,
        "fit_s": entry.fit_s,
        "predict_s": entry.predict_s,
        "bundle_bytes": details.get("bundle_bytes"),
        "peak_memory_bytes": details.get("peak_memory_bytes"),
        "chosen": leaderboard.format_parameters(entry.chosen),
    }


def further_columns(entry: LeaderboardEntry, intervals: Mapping[str, Interval]) -> dict[str, Any]:
    """The scores of further test sets by the metric that heads are ranked by, and the recall of each class on test."""
    columns: dict[str, Any] = {}
    for split, scores in entry.further.items():
        low, high = intervals.get(split, (None, None))
        columns |= {
            f"{split}_{entry.metric.name}": scores.get(entry.metric.name),
            f"{split}_low": low,
            f"{split}_high": high,
        }
    by_class = (entry.details.get("by_class") or {}).get("test", [])
    return columns | {"test_recalls": {each["class"]: each["recall"] for each in by_class}}


def recall_columns(test: SplitPredictions | None, groups: Mapping[str, str]) -> dict[str, Any]:
    """The 95 % interval of the recall of each class on test, where predictions are here."""
    if not isinstance(test, ClassificationPredictions | LabelSetPredictions):
        return {}
    rows = significance.class_scores(test, bootstrap.units_of(test.item_ids, groups))
    return {
        "test_recall_intervals": {row["class"]: [row["recall_low"], row["recall_high"]] for row in rows if row["n"]}
    }


def apart_columns(store: str) -> dict[str, float]:
    """How well each test set is told from train by its features: the area under the ROC curve, and its p-value."""
    columns: dict[str, float] = {}
    for split, each in cautions.separations(store).items():
        columns |= {f"{split}_apart_auc": each.auc, f"{split}_apart_p": each.p}
    return columns


def other_intervals(result: Significance, compared: Metric) -> dict[str, float | None]:
    """The ends of the intervals of all metrics but that which heads are compared by, `test_low` and `test_high`."""
    ends: dict[str, float | None] = {}
    for metric in metrics.of_task(compared.task):
        if metric.interval and metric != compared:
            low, high = result.intervals.get(metric.name, (None, None))
            ends |= {f"test_{metric.name}_low": low, f"test_{metric.name}_high": high}
    return ends


def fold_columns(fold: FoldComparison | None) -> dict[str, float | None]:
    """The difference to the best on the same folds of train."""
    return {
        "folds_difference": fold.difference if fold else None,
        "folds_p": fold.p if fold else None,
        "folds_p_holm": fold.p_holm if fold else None,
    }


def over_seeds(entry: LeaderboardEntry) -> tuple[int, float | None, float | None]:
    """Number of seeds under which a head was fitted, and the mean and standard deviation of its scores."""
    scores = [each["test"].get(entry.metric.name) for each in entry.details.get("seeds") or []]
    scores = [score for score in scores if score is not None]
    if len(scores) < 2:
        return len(scores), None, None
    mean = sum(scores) / len(scores)
    return len(scores), mean, (sum((score - mean) ** 2 for score in scores) / (len(scores) - 1)) ** 0.5


def baseline_columns(predictions: Sequence[SplitPredictions | None], metric: Metric) -> dict[str, Any]:
    """The constant baseline of test, by the first entry whose predictions are here."""
    test = next((each for each in predictions if each), None)
    baseline = constant_baseline(test.sample, test.classes, metric) if test else None
    return {
        "reference": baseline.prediction if baseline else None,
        "reference_score": baseline.score if baseline else None,
    }


def as_json(records: Sequence[dict[str, Any]]) -> str:
    """A list of records."""
    return json.dumps(records, indent=2, ensure_ascii=False)


def as_csv(records: Sequence[dict[str, Any]]) -> str:
    """A line a record, with the columns of all of them."""
    columns = list(dict.fromkeys(name for each in records for name in each))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: cell(value) for name, value in each.items()} for each in records)
    return stream.getvalue().rstrip("\n")


def cell(value: Any) -> Any:
    """A value as a cell: recalls by class and lists of sentences as JSON."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def as_table(records: Sequence[dict[str, Any]]) -> str:
    """One table a dataset, and how to read it."""
    tables = []
    for dataset in dict.fromkeys(each["dataset"] for each in records):
        same_dataset = [each for each in records if each["dataset"] == dataset]
        further = list(dict.fromkeys(split for each in same_dataset for split in further_splits(each)))
        rows = [table_row(each, further) for each in same_dataset]
        first = same_dataset[0]
        if first["reference"] is not None:
            baseline = dict.fromkeys(rows[0], "") | {"head": f"always “{first['reference']}”"}
            rows.append(baseline | {f"test {METRICS[first['metric']].title}": number(first["reference_score"])})
        kept = [name for name in rows[0] if any(row[name] for row in rows)]  # no column of nothing
        lines = [[row[name] for name in kept] for row in rows]
        align = ["left" if name in LEFT_ALIGNED else "right" for name in kept]
        table = tabulate(lines, headers=kept, disable_numparse=True, colalign=align)
        tests = [each["p_of"] for each in same_dataset if each["p_of"]]
        note = (NOTE_COMPARED if tests else NOTE).format(
            place=first["ranked_by"], test=(tests or [""])[0], compared=len(tests)
        )
        note += "" if all(each["in_params"] for each in same_dataset) else OF_LEFTOVERS
        note += FOLDS if any(each["folds_p"] is not None for each in same_dataset) else ""
        note = "\n".join([*(f"! {sentence}" for sentence in first["cautions"]), note])
        tables.append(
            f"{dataset}: {METRICS[first['metric']].title} on {first['test_n']:,} test items\n{table}\n\n{note}"
        )
    return "\n\n".join(tables)


def table_row(record: dict[str, Any], further: Sequence[str]) -> dict[str, str]:
    """The columns of one line; `further` are the further test sets of any line."""
    metric, score = METRICS[record["metric"]], record.get(f"test_{record['metric']}")
    others = [each for each in metrics.of_task(metric.task) if "terminal" in each.shown and each != metric]
    return {
        "#": record["rank"],
        "store": record["store"],
        "input": record["input"],
        "head": record["head"]
        + ("" if record["in_params"] else LEFTOVER)
        + (" (not converged)" if record["converged"] is False else "")
        + (" (transductive)" if record["adapt"] != "none" else ""),
        f"val {metric.title}": number(record.get(f"val_{metric.name}")),
        "Δ folds": signed(record["folds_difference"], like=record.get(f"val_{metric.name}")),
        "p folds": p_value(record["folds_p_holm"]),
        f"test {metric.title}": number(score),
        "95 %": interval(record["test_low"], record["test_high"]),
        **{f"test {each.title}": number(record.get(f"test_{each.name}")) for each in others},
        "least recall": least_recall(record["test_recalls"]),
        **{f"{split} {metric.title}": further_column(record, split) for split in further},
        "Δ best": signed(record["difference"], like=score),
        "95 % of Δ": difference_interval(record["difference_low"], record["difference_high"], like=score),
        "p": p_value(record["p_holm"]),
        "verdict": record["verdict"] if record["verdict"] != "unknown" else "",
        "over seeds": over_seeds_column(record["seeds_mean"], record["seeds_sd"]),
        "fit s": f"{record['fit_s']:.2f}",
        "size": size(record["bundle_bytes"]),
        "chosen": record["chosen"],
    }


def further_splits(record: dict[str, Any]) -> list[str]:
    """The further test sets of a record."""
    ending = f"_{record['metric']}"
    return [name.removesuffix(ending) for name in record if name.startswith(FURTHER_TEST) and name.endswith(ending)]


def further_column(record: dict[str, Any], split: str) -> str:
    """`0.6211 (0.602 … 0.640)`, of a further test set; nothing where this head was not scored on it."""
    if f"{split}_low" not in record:
        return ""
    ends = interval(record[f"{split}_low"], record[f"{split}_high"])
    return number(record[f"{split}_{record['metric']}"]) + (f" ({ends})" if ends else "")


def least_recall(recalls: Mapping[str, float | None]) -> str:
    """`0.5478 NORMAL`: the recall on test of the class that is found least often."""
    known = {name: recall for name, recall in recalls.items() if recall is not None}
    weakest = min(known, key=lambda name: known[name], default=None)
    return "" if weakest is None else f"{number(known[weakest], 3)} {weakest}"


def over_seeds_column(mean: float | None, deviation: float | None) -> str:
    """`0.9912 ± 0.0013`."""
    return "" if mean is None or deviation is None else f"{number(mean)} ± {number(deviation, like=mean)}"


def p_value(p: float | None) -> str:
    """A p-value to three digits."""
    return "" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def size(count: int | None) -> str:
    """`3.2 MB`."""
    if count is None:
        return ""
    return next((f"{count / unit:.1f} {name}" for unit, name in SIZES if count >= unit), f"{count} B")
