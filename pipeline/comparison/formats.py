"""The leaderboard as a terminal, a JSON reader and a spreadsheet want it."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from icebox.pipeline.comparison import leaderboard, significance, statistics
from icebox.pipeline.comparison.classification_predictions import Judged, commonest
from icebox.pipeline.comparison.fold_tests import OnFolds
from icebox.pipeline.comparison.leaderboard import Entry
from icebox.pipeline.comparison.significance import Seen, Standing
from icebox.pipeline.config.schema import Config
from icebox.pipeline.evaluation import metrics
from icebox.pipeline.evaluation.metrics import METRICS, Metric

ALONE = """Ranked on {place}; test was looked at once, by the winner of each head's settings. 95 %: intervals of the
test score."""
NOTE = (
    ALONE
    + """ Δ best: test score less that of the first line, on the same items; p: {test}, with Holm's correction for
{compared} comparisons. tied: not told from the best (p ≥ 0.05)."""
)
FOLDS = """ Δ folds: mean score on the folds less that of the first line; p folds: of Nadeau and Bengio's t-test, with
Holm's correction."""
LEFT = ("#", "backbone", "head", "verdict", "chosen")  # columns of text
SIZES = ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB"))


def records(config: Config, stores: Sequence[str] = ()) -> list[dict[str, Any]]:
    """All that is known of each entry, flat: what --json and --csv print. Absent is None."""
    entries = leaderboard.leaderboard(config, stores)
    found = []
    for dataset in dict.fromkeys(entry.dataset for entry in entries):
        mine = [entry for entry in entries if entry.dataset == dataset]
        seen = [significance.seen_of(entry).get("test") for entry in mine]
        metric = leaderboard.ranked_by(config, mine[0])
        ranks = statistics.ranks([entry.val.get(metric.name) for entry in mine])
        floor = reference(seen)
        folds = leaderboard.on_folds(mine, metric)
        for entry, rank, each, fold in zip(mine, ranks, significance.standings(mine, seen), folds, strict=True):
            also = {"ranked_by": f"{entry.chosen_on} {metric.name}", **floor}
            found.append(record(entry, rank, each) | also | by_fold(fold))
    return found


def record(entry: Entry, rank: str, found: Standing) -> dict[str, Any]:
    """One entry's."""
    versus, details = found.versus, entry.details
    low, high = found.intervals.get(entry.metric.name, (None, None))
    difference_low, difference_high = versus.intervals[entry.metric.name] if versus else (None, None)
    return {
        "dataset": entry.dataset,
        "store": entry.store,
        "backbone": entry.backbone,
        "head": entry.head,
        "rank": rank,
        "verdict": found.verdict,
        **{f"val_{name}": value for name, value in entry.val.items()},
        **{f"test_{name}": value for name, value in entry.test.items()},
        **{f"{split}_{entry.metric.name}": scores[entry.metric.name] for split, scores in entry.further.items()},
        "test_low": low,
        "test_high": high,
        **other_intervals(found),
        "difference": versus.difference if versus else None,
        "difference_low": difference_low,
        "difference_high": difference_high,
        "p_of": versus.test if versus else None,
        "p": versus.p if versus else None,
        "p_holm": versus.p_holm if versus else None,
        **dict(zip(("seeds", "seeds_mean", "seeds_sd"), over_seeds(entry), strict=True)),
        "converged": details.get("converged"),
        "train_n": entry.train_n,
        "settings": entry.settings,
        "fit_s": entry.fit_s,
        "predict_s": entry.predict_s,
        "bundle_bytes": details.get("bundle_bytes"),
        "peak_memory_bytes": details.get("peak_memory_bytes"),
        "chosen": leaderboard.described(entry.chosen),
    }


def other_intervals(found: Standing) -> dict[str, float | None]:
    """The ends of the intervals of all metrics but those that heads are compared by, `test_low` and `test_high`."""
    ends: dict[str, float | None] = {}
    for metric in METRICS.values():
        if metric.interval and metric != metrics.primary(metric.task):
            low, high = found.intervals.get(metric.name, (None, None))
            ends |= {f"test_{metric.name}_low": low, f"test_{metric.name}_high": high}
    return ends


def by_fold(fold: OnFolds | None) -> dict[str, float | None]:
    """The difference to the best on the same folds of train."""
    return {
        "folds_difference": fold.difference if fold else None,
        "folds_p": fold.p if fold else None,
        "folds_p_holm": fold.p_holm if fold else None,
    }


def over_seeds(entry: Entry) -> tuple[int, float | None, float | None]:
    """How many seeds a head with randomness was fitted under, and the mean and standard deviation of their scores."""
    scores = [each["test"][entry.metric.name] for each in entry.details.get("seeds") or []]
    if len(scores) < 2:
        return len(scores), None, None
    mean = sum(scores) / len(scores)
    return len(scores), mean, (sum((score - mean) ** 2 for score in scores) / (len(scores) - 1)) ** 0.5


def reference(seen: Sequence[Seen | None]) -> dict[str, Any]:
    """What always answering the commonest class of test, or its mean, would score."""
    one = next((one for one in seen if one), None)
    if one is None:
        return {"reference": None, "reference_score": None}
    if isinstance(one, Judged):
        return dict(zip(("reference", "reference_score"), commonest(one.classes[i] for i in one.labels), strict=True))
    return {"reference": f"{one.labels.mean():.4g}", "reference_score": float(one.labels.std())}


def as_json(found: Sequence[dict[str, Any]]) -> str:
    """A list of records."""
    return json.dumps(found, indent=2, ensure_ascii=False)


def as_csv(found: Sequence[dict[str, Any]]) -> str:
    """A line a record; the columns of all of them."""
    columns = list(dict.fromkeys(name for each in found for name in each))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return stream.getvalue().rstrip("\n")


def terminal(found: Sequence[dict[str, Any]]) -> str:
    """One table a dataset, and how to read it."""
    tables = []
    for dataset in dict.fromkeys(each["dataset"] for each in found):
        mine = [each for each in found if each["dataset"] == dataset]
        rows = [row(each) for each in mine]
        first = mine[0]
        if first["reference"] is not None:
            always = dict.fromkeys(rows[0], "") | {"head": f"always “{first['reference']}”"}
            rows.append(always | {"test": number(first["reference_score"])})
        kept = {name: "" for name in rows[0] if any(each[name] for each in rows)}  # no column of nothing
        lines = [[each[name] for name in kept] for each in rows]
        align = ["left" if name in LEFT else "right" for name in kept]
        table = tabulate(lines, headers=list(kept), disable_numparse=True, colalign=align)
        tests = [each["p_of"] for each in mine if each["p_of"]]
        note = (NOTE if tests else ALONE).format(place=first["ranked_by"], test=(tests or [""])[0], compared=len(tests))
        note += FOLDS if any(each["folds_p"] is not None for each in mine) else ""
        tables.append(
            f"{dataset}: {shown_metrics(first)[0].title} on {first['test_n']:,} test items\n{table}\n\n{note}"
        )
    return "\n\n".join(tables)


def row(each: dict[str, Any]) -> dict[str, str]:
    """The columns of one line."""
    scored, *others = shown_metrics(each)
    return {
        "#": each["rank"],
        "backbone": each["backbone"],
        "head": each["head"] + (" (not converged)" if each["converged"] is False else ""),
        "val": number(each[f"val_{scored.name}"]),
        "Δ folds": "" if each["folds_difference"] is None else f"{each['folds_difference']:+.4f}",
        "p folds": chance(each["folds_p_holm"]),
        "test": number(each[f"test_{scored.name}"]),
        "95 %": span(each["test_low"], each["test_high"]),
        **{metric.title: number(each.get(f"test_{metric.name}")) for metric in others},
        "Δ best": "" if each["difference"] is None else f"{each['difference']:+.4f}",
        "95 % of Δ": span(each["difference_low"], each["difference_high"], "+.3f"),
        "p": chance(each["p_holm"]),
        "verdict": each["verdict"] if each["verdict"] != "unknown" else "",
        "over seeds": "" if each["seeds_mean"] is None else f"{each['seeds_mean']:.4f} ± {each['seeds_sd']:.4f}",
        "fit s": f"{each['fit_s']:.2f}",
        "size": size(each["bundle_bytes"]),
        "chosen": each["chosen"],
    }


def shown_metrics(each: dict[str, Any]) -> list[Metric]:
    """The metrics of this record's task that have a column, first the one that heads are compared by."""
    regression = f"test_{metrics.primary('regression').name}" in each
    known = metrics.of_task("regression" if regression else "classification")
    return [metric for metric in known if "terminal" in metric.shown]


def chance(p: float | None) -> str:
    """A p-value with three digits."""
    return "" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def number(value: float | None) -> str:
    """With four digits."""
    return "–" if value is None else f"{value:.4f}"


def span(low: float | None, high: float | None, form: str = ".3f") -> str:
    """`0.982 … 0.999`."""
    return "" if low is None or high is None else f"{low:{form}} … {high:{form}}"


def size(count: int | None) -> str:
    """`3.2 MB`."""
    if count is None:
        return ""
    return next((f"{count / unit:.1f} {name}" for unit, name in SIZES if count >= unit), f"{count} B")
