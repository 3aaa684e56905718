"""The leaderboard in a terminal, as JSON and as CSV, over two heads on twenty items."""

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from icebox.features.manifest import manifest
from icebox.pipeline.cli import app
from icebox.pipeline.comparison import formats, statistics
from icebox.pipeline.config import loader
from icebox.pipeline.evaluation import results
from icebox.pipeline.project import paths
from tests.conftest import PROJECT

PARAMS = """
datasets: {words: {source: docstrings}}
backbones: {hashing: {}}
stores: {words-hashing: {dataset: words, backbone: hashing}}
heads: [logreg, mlp]
"""
SEEDS = [{"seed": seed, "val": {}, "test": {"accuracy": 0.5 + seed / 10}} for seed in range(3)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths.PARAMS.write_text(PARAMS)
    fitted("logreg", val=0.9, wrong=set(range(2)), bundle_bytes=2048, converged=False)
    fitted("mlp", val=0.8, wrong=set(range(1, 15)), seeds=SEEDS)


def fitted(head: str, *, val: float, wrong: set[int], **details: object) -> None:
    """What `fit` leaves of a head that is wrong on these of twenty items, of which twelve are red."""
    labels = ["red" if i < 12 else "blue" for i in range(20)]
    other = {"red": "blue", "blue": "red"}
    accuracy = 1 - len(wrong) / 20
    scores = {
        "val": {"n": 9, "accuracy": val, "f1_macro": val},
        "test": {"n": 20, "accuracy": accuracy, "f1_macro": accuracy},
        "test-new": {"n": 5, "accuracy": 0.25, "f1_macro": 0.25},
        "train_n": 30,
        "fit_s": 0.126,
        "predict_s": 0.01,
    }
    results.write_json(paths.metrics("words-hashing", head), scores)
    by_class = {"test": [{"class": "blue", "n": 8, "recall": 0.25}, {"class": "red", "n": 12, "recall": None}]}
    known = {"chosen": {"C": 0.1}, "settings": 2, "by_class": by_class, **details}
    results.write_json(paths.details("words-hashing", head), known)
    table = {
        "item_id": [f"t-{i}" for i in range(20)],
        "split": ["test"] * 20,
        "label": labels,
        "prediction": [other[label] if i in wrong else label for i, label in enumerate(labels)],
        "p_blue": [0.5] * 20,
        "p_red": [0.5] * 20,
    }
    path = paths.predictions("words-hashing", head)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table), path)


def shown() -> list[str]:
    return formats.as_table(formats.records(loader.load())).splitlines()


@pytest.mark.usefixtures("project")
def test_the_terminal_says_how_sure_each_line_is():
    title, heads, _, best, other, always, _, *note = shown()
    assert title == "words: accuracy on 20 test items"
    columns = "# store head val accuracy test accuracy 95 % least recall test-new accuracy Δ best 95 % of Δ p verdict "
    columns += "over seeds fit s size chosen"
    assert re.sub(r"\s+", " ", heads) == columns
    assert "logreg (not converged)" in best
    assert best.split()[-3:] == ["2.0", "KB", "C=0.1"]
    assert "best" in best
    # 13 items only the best got right, 1 only the other: 30 of 2^14 splits are as uneven
    assert "-0.6000" in other
    assert " 0.002 " in other
    assert "worse" in other
    assert "0.6000 ± 0.1000" in other
    assert always.split() == ["always", "“red”", "0.6000"]
    assert "Ranked on val accuracy; test was looked at once" in " ".join(note)


@pytest.mark.usefixtures("project")
def test_heads_that_were_scored_on_other_test_sets_share_a_table():
    path = paths.metrics("words-hashing", "mlp")
    scores = json.loads(path.read_text())
    scores["test-unadapted"] = scores.pop("test-new")
    results.write_json(path, scores)
    _, heads, _, best, other, *_ = shown()
    assert "test-new accuracy" in heads
    assert "test-unadapted accuracy" in heads
    assert best.count("0.2500") == other.count("0.2500") == 1
    columns = formats.as_csv(formats.records(loader.load())).splitlines()[0].split(",")
    assert {"test-new_accuracy", "test-unadapted_accuracy"} <= set(columns)


@pytest.mark.usefixtures("project")
def test_recalls_have_intervals():
    first, other = formats.records(loader.load())
    # logreg takes 2 of 12 reds for blue
    assert first["test_recall_intervals"]["red"] == pytest.approx(statistics.proportion_interval(10 / 12, 12))
    assert first["test_recall_intervals"].keys() == other["test_recall_intervals"].keys() == {"blue", "red"}


@pytest.mark.usefixtures("project")
def test_without_predictions_there_is_an_interval_but_no_difference():
    for head in ("logreg", "mlp"):
        paths.predictions("words-hashing", head).unlink()
    heads, best, other = shown()[1], *shown()[3:5]
    assert "0.687 … 0.984" in best
    assert "Δ" not in heads
    assert "tied" not in other


@pytest.mark.usefixtures("project")
def test_heads_that_were_chosen_on_the_same_folds_are_compared_on_them():
    def on_folds(head: str, same: str, *scores: float) -> None:
        folds = [{"n": 10, "accuracy": score} for score in scores]
        fitted(head, val=sum(scores) / 3, wrong={1}, chosen_on="3-fold in train", folds=folds, same_folds=same)

    on_folds("logreg", "one", 0.9, 0.9, 0.9)
    on_folds("mlp", "one", 0.8, 0.9, 0.7)
    second = formats.records(loader.load())[1]
    assert second["folds_difference"] == pytest.approx(-0.1)
    t = 0.1 / ((1 / 3 + 1 / 2) * 0.01) ** 0.5
    assert second["folds_p"] == second["folds_p_holm"] == pytest.approx(2 * stats.t(2).sf(t))
    text = "\n".join(shown())
    assert re.search(r"-0\.1000 +0\.388", text)
    assert "Nadeau and Bengio" in text
    on_folds("mlp", "another", 0.8, 0.9, 0.7)
    assert formats.records(loader.load())[1]["folds_p"] is None
    assert "Nadeau" not in "\n".join(shown())


@pytest.mark.usefixtures("project")
def test_json_and_csv_hold_all_that_is_known(capsys: pytest.CaptureFixture[str]):
    assert app.main(["compare", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["verdict"], first["difference"], first["test-new_accuracy"]) == ("best", None, 0.25)
    assert second["p"] == second["p_holm"] == pytest.approx(30 / 2**14)
    assert (second["seeds"], second["ranked_by"]) == (3, "val accuracy")
    assert second["test_recalls"] == {"blue": 0.25, "red": None}
    assert (first["test-new_low"], first["test-new_high"]) == (None, None)  # no predictions of it
    assert app.main(["compare", "--csv", "words-hashing"]) == 0
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [line["head"] for line in lines] == ["logreg", "mlp"]
    assert float(lines[1]["difference"]) == pytest.approx(-0.6)
    assert json.loads(lines[1]["test_recalls"]) == {"blue": 0.25, "red": None}


@pytest.mark.usefixtures("project")
def test_further_test_sets_have_a_column_with_intervals():
    assert "0.2500" in shown()[3]
    path = paths.predictions("words-hashing", "logreg")
    table = pq.read_table(path)
    further = table.slice(0, 8).set_column(1, "split", pa.array(["test-new"] * 8))
    pq.write_table(pa.concat_tables([table, further]), path)
    first, second = formats.records(loader.load())
    assert first["test-new_low"] < first["test-new_high"] <= 1
    assert second["test-new_low"] is None
    text = shown()
    assert "test-new accuracy" in text[1]
    assert re.search(r"0\.2500 \(0\.\d{3} … \d\.\d{3}\)", text[3])


@pytest.mark.usefixtures("project")
def test_the_terminal_says_what_should_make_one_doubt():
    cautions = [line for line in shown() if line.startswith("! ")]
    assert cautions == [
        "! Val has 9 items only: which head and setting is best on them is largely chance. Give val more, or compare "
        "by folds (fit: {folds: 5}).",
        "! Test has 20 items only: hardly any difference can be told on them. Give it more.",
    ]
    assert formats.records(loader.load())[0]["cautions"] == [line[2:] for line in cautions]


@pytest.mark.usefixtures("project")
def test_predictions_of_another_run_are_left_out():
    path = paths.metrics("words-hashing", "mlp")
    path.write_text(path.read_text().replace('"accuracy": 0.3', '"accuracy": 0.35'))
    assert formats.records(loader.load())[1]["verdict"] == "unknown"


@pytest.mark.usefixtures("project")
def test_items_in_groups_widen_the_intervals():
    alone = formats.records(loader.load())[1]
    rows = [
        manifest.ManifestRow(
            item_id=f"t-{i}", item_key=str(i), label="red", split="test", group=f"g{i // 5}", source=""
        )
        for i in range(20)
    ]
    manifest.write(paths.manifest("words"), rows)
    grouped = formats.records(loader.load())[1]
    assert grouped["test_high"] - grouped["test_low"] > alone["test_high"] - alone["test_low"]
    assert grouped["difference_high"] - grouped["difference_low"] > alone["difference_high"] - alone["difference_low"]
    assert grouped["p"] > alone["p"]
    assert grouped["verdict"] == "tied"


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("form", [[], ["--json"]])
@pytest.mark.slow
def test_a_reader_that_has_seen_enough_is_no_error(form: list[str]):
    code = f"import sys; sys.path.insert(0, {str(PROJECT)!r})\n"
    code += f"from icebox.pipeline.cli.app import main; sys.exit(main(['compare', *{form}]))"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout
        assert running.stderr
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == app.READER_GONE


@pytest.mark.parametrize(("count", "text"), [(None, ""), (12, "12 B"), (2048, "2.0 KB"), (3 << 20, "3.0 MB")])
def test_sizes_are_short(count: int | None, text: str):
    assert formats.size(count) == text


@pytest.mark.usefixtures("project")
def test_results_that_params_no_longer_name_are_shown_and_marked_and_compared_on_the_same_items_only():
    paths.PARAMS.write_text(PARAMS.replace("heads: [logreg, mlp]", "heads: [logreg]"))
    first, other = formats.records(loader.load())
    assert (first["head"], first["in_params"], other["head"], other["in_params"]) == ("logreg", True, "mlp", False)
    assert other["difference"] is not None
    table = formats.as_table([first, other])
    assert "mlp °" in table
    assert "not in params.yaml any more" in table
    predictions = paths.predictions("words-hashing", "mlp")
    pq.write_table(pq.read_table(predictions).slice(0, 12), predictions)  # of another test set
    assert formats.records(loader.load())[0]["test_low"] is not None
