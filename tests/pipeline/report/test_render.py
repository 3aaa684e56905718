"""The page over results written by hand: two stores of four texts, and one picture of the digits."""

import csv
import dataclasses
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from icebox.features import fingerprint
from icebox.features.datasets import csv_text, digits
from icebox.features.errors import IceboxError
from icebox.features.manifest import leakage, manifest
from icebox.features.manifest.clusters import Clusters
from icebox.pipeline.config import loader
from icebox.pipeline.evaluation import results
from icebox.pipeline.project import paths
from icebox.pipeline.report import render
from icebox.pipeline.stages import report as stage
from icebox.pipeline.training import curves
from tests.conftest import PROJECT

PARAMS = """
datasets: {words: {source: csv_text, path: words.csv}, digits: {}}
backbones:
  minilm: {family: transformers, weights: /home/someone/weights/minilm}
  hashing: {}
  pixels: {}
stores:
  words-minilm: {dataset: words, backbone: minilm}
  words-hashing: {dataset: words, backbone: hashing}
heads: {logreg: {C: [0.1, 1.0]}, linear_svm: {}}
"""
CLASSES = ["<b>red</b>", "blue"]
# item_id, label, prediction, probabilities (or scores) of red and blue: two of four are right
RIGHT_HALF = [
    ("t-0", "blue", "blue", 0.1, 0.9),
    ("t-1", "blue", "<b>red</b>", 0.75, 0.25),
    ("t-2", "blue", "<b>red</b>", 0.98, 0.02),
    ("t-3", "<b>red</b>", "<b>red</b>", 0.6, 0.4),
]
SVM_SCORES = [(*row[:3], red * 10, blue * 10) for *row, red, blue in RIGHT_HALF]
TEXTS = ["a sky", "a <script>alert(1)</script> & a sea", "dusk " * 100, "a rose"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    paths.PARAMS.write_text(PARAMS)
    labels = ["blue", "blue", "blue", "<b>red</b>"]
    with Path("words.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("label", "text"), *zip(labels, TEXTS, strict=True)])
    rows = [
        manifest.ManifestRow(
            item_id=f"t-{item.item_id}",
            item_key=fingerprint.of_content(text),
            label=item.label,
            split="test",
            group="",
            source=item.source,
        )
        for item, text in zip(csv_text.Source(path=Path("words.csv")).items(), TEXTS, strict=True)
    ]
    manifest.write(paths.manifest("words"), rows)
    result("words-minilm", "logreg", RIGHT_HALF, val=0.8, log_loss=0.7)
    result("words-minilm", "linear_svm", SVM_SCORES, val=0.9, kind="score")
    result("words-hashing", "logreg", RIGHT_HALF, val=0.8, log_loss=0.6)
    result("words-hashing", "linear_svm", SVM_SCORES, val=0.7, kind="score")
    return tmp_path


def result(store: str, head: str, rows: list[Any], *, val: float, kind: str = "p", **test: float) -> None:
    """What `fit` leaves, without fitting."""
    accuracy = sum(row[1] == row[2] for row in rows) / len(rows)
    scores = {
        "val": {"n": 10, "accuracy": val, "f1_macro": val},
        "test": {"n": len(rows), "accuracy": accuracy, "f1_macro": accuracy, **test},
    }
    results.write_json(paths.metrics(store, head), scores | {"train_n": 20, "fit_s": 0.25, "predict_s": 0.01})
    results.write_json(paths.details(store, head), {"chosen": {"C": 0.1}, "settings": 2})
    names = ["item_id", "split", "label", "prediction", *(f"{kind}_{name}" for name in CLASSES)]
    # a row of val, surer than all others, that must not show
    columns = zip(
        *(("v-0", "val", "blue", "<b>red</b>", 99.0, 0.0), *((r[0], "test", *r[1:]) for r in rows)), strict=True
    )
    predictions = paths.predictions(store, head)
    predictions.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({name: list(column) for name, column in zip(names, columns, strict=True)}), predictions)


def page() -> str:
    return render.render(loader.load())


def only(store: str, head: str) -> None:
    """Params of one store and one head."""
    dataset, backbone = store.split("-")
    kept, _ = PARAMS.split("stores:")
    text = f"stores: {{{store}: {{dataset: {dataset}, backbone: {backbone}}}}}\nheads: [{head}]\n"
    paths.PARAMS.write_text(kept + text)


class Leaderboard(HTMLParser):
    """The text of each body row's cells without the small print below it, and each heading's aria-sort."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.columns: list[str] = []
        self.sorted: dict[str, str | None] = {}
        self._part = self._heading = ""
        self._sort: str | None = None
        self._small = False
        self.feed(html.split('<table class="board sorts">')[1].split("</table>")[0])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("thead", "tbody", "tfoot"):
            self._part = tag
        elif self._part == "thead" and tag == "th":
            self._sort = dict(attrs).get("aria-sort")
            self.columns.append("")
        elif self._part == "tbody" and tag == "tr":
            self.rows.append([])
        elif self._part == "tbody" and tag in ("td", "th"):
            self.rows[-1].append("")
        self._small = ("class", "store") in attrs

    def handle_endtag(self, tag: str) -> None:
        self._small = False

    def handle_data(self, data: str) -> None:
        if self._part == "thead" and data.strip():
            self.sorted[data.strip()] = self._sort
            self.columns[-1] = self.columns[-1] or data.strip()
        elif self._part == "tbody" and self.rows and self.rows[-1] and not self._small:
            self.rows[-1][-1] += data.strip()

    def column(self, title: str) -> list[str]:
        """The cells below a heading."""
        return [row[self.columns.index(title)] for row in self.rows]


def test_ranks_by_val_and_shows_ties(project: Path) -> None:
    board = Leaderboard(page())
    assert [row[:5] for row in board.rows] == [
        ["1", "minilm", "linear_svm", "0.9000", "0.5000"],
        ["2=", "hashingfloor", "logreg", "0.8000", "0.5000"],
        ["2=", "minilm", "logreg", "0.8000", "0.5000"],
        ["4", "hashingfloor", "linear_svm", "0.7000", "0.5000"],
    ]
    assert board.sorted["val accuracy"] == "descending"
    assert board.sorted["test accuracy"] is None


def test_a_head_without_probabilities_has_a_dash_and_margins(project: Path) -> None:
    html = page()
    assert Leaderboard(html).column("log loss") == ["–", "0.6000", "0.7000", "–"]
    assert "margin 9.60" in html  # 9.8 for red against 0.2
    assert "confidence 0.98" in html


def test_mistakes_are_the_surest_of_test_first(project: Path) -> None:
    details = page().split('id="words-minilm/logreg"')[1].split("</details>")[0]
    assert re.findall(r'data-note="confidence (\d\.\d\d)"', details) == ["0.98", "0.75"]
    assert "2 wrong of 4" in details


def test_labels_and_texts_are_escaped_and_long_texts_cut(project: Path) -> None:
    html = page()
    assert "<b>red</b>" not in html
    assert "said &lt;b&gt;red&lt;/b&gt;" in html
    assert "<script>alert" not in html
    assert r"a \u003cscript\u003ealert(1)\u003c/script\u003e \u0026 a sea" in html  # JSON, for a script of ours
    assert r"dusk dusk\u2026" in html
    assert "dusk " * 60 not in html


def test_says_what_always_answering_the_commonest_class_scores(project: Path) -> None:
    html = page()
    assert "always “blue”" in html
    assert '<td class="n">0.7500</td>' in html.split("<tfoot>")[1]


def test_says_that_groups_were_drawn_where_items_come_in_groups(project: Path) -> None:
    assert "groups were drawn" not in page()
    rows = manifest.read(paths.manifest("words"))
    manifest.write(paths.manifest("words"), [dataclasses.replace(row, group="g") for row in rows])
    assert "groups were drawn" in page()


def test_counts_the_confusions(project: Path) -> None:
    heat = page().split('<table class="heat">')[1].split("</table>")[0]
    red, blue = re.findall(r"<tr>(.*?)</tr>", heat.split("<tbody>")[1])
    assert re.findall(r"<td[^>]*>(\d*)</td>", red) == ["1", ""]
    assert re.findall(r"<td[^>]*>(\d*)</td>", blue) == ["2", "1"]


def test_many_classes_show_pairs_instead_of_a_matrix(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "CLASSES_MAX", 1)
    html = page()
    assert 'class="heat"' not in html
    (pair,) = re.findall(
        r"<tr>(.*)</tr>", html.split('<table class="pairs">')[1].split("<tbody>")[1].split("</table>")[0]
    )
    assert re.findall(r">([^<]+)<", pair) == ["blue", "&lt;b&gt;red&lt;/b&gt;", "2", "67 %"]


def test_missing_predictions_keep_their_row_and_say_how_to_get_them(project: Path) -> None:
    paths.predictions("words-minilm", "logreg").unlink()
    html = page()
    assert len(Leaderboard(html).rows) == 4
    assert "dvc pull results/predictions/words-minilm/logreg.parquet" in html


def test_predictions_of_another_run_are_not_shown_as_these(project: Path) -> None:
    path = paths.metrics("words-minilm", "logreg")
    path.write_text(path.read_text().replace('"accuracy": 0.5', '"accuracy": 0.75'))
    details = page().split('id="words-minilm/logreg"')[1].split("</details>")[0]
    assert "are of different runs" in details
    assert "wrong of" not in details


def test_a_second_clone_without_any_data_still_gets_its_leaderboard(project: Path) -> None:
    shutil.rmtree("data")
    shutil.rmtree("results/predictions")
    html = page()
    assert len(Leaderboard(html).rows) == 4
    assert "train 20, val 10, test 4 items were used" in html
    assert "The store is not on this machine" in html


def test_a_report_by_a_process_that_prepared_for_it_is_the_same(project: Path) -> None:
    before = page()
    render.environment.cache_clear()
    render.prepare()
    assert len(render.environment().cache) == len([*render.PAGE.glob("*.jinja")]) > 3
    assert page() == before


def test_missing_metrics_are_an_error(project: Path) -> None:
    paths.metrics("words-minilm", "logreg").unlink()
    with pytest.raises(IceboxError, match="dvc repro fit@words-minilm-logreg"):
        page()


def test_damaged_predictions_are_an_error_that_names_the_file(project: Path) -> None:
    paths.predictions("words-minilm", "logreg").write_bytes(b"no parquet")
    with pytest.raises(IceboxError, match=r"dvc checkout results/predictions/words-minilm/logreg\.parquet"):
        page()


def test_only_what_params_name_is_read(project: Path) -> None:
    only("words-minilm", "logreg")
    paths.metrics("words-hashing", "logreg").write_text("stale and broken")
    assert [row[2] for row in Leaderboard(page()).rows] == ["logreg"]


def test_the_page_asks_nothing_of_any_network_or_folder(project: Path) -> None:
    html = page()
    assert not re.search(r"(?:https?:)?//[a-z]", re.sub(r"<script>.*?</script>", "", html, flags=re.S))
    ours = html.replace((render.PAGE / "vendor/plot.umd.min.js").read_text(), "")  # it speaks of url(#clip-1) only
    assert not re.search(r"<link|@import|@font-face|<script src|url\(", ours)
    assert "default-src 'none'" in html
    assert str(project) not in html
    assert "/home/someone" not in html
    assert "…/minilm" in html


def test_equal_results_give_equal_bytes(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage.run(loader.load())
    first = paths.REPORT.read_bytes()
    stage.run(loader.load())
    assert paths.REPORT.read_bytes() == first
    assert capsys.readouterr().out == "reports/index.html\n" * 2


def test_every_link_within_the_page_has_its_target(project: Path) -> None:
    html = page()
    targets = re.findall(r' href="#([^"]*)"', html)
    ids = re.findall(r' id="([^"]*)"', html)
    assert set(targets) <= set(ids)
    assert len(ids) == len(set(ids))


def digit_mistaken() -> None:
    """One picture of test, mistaken. Its labels are those of the other tests: only the pixels are the digits'."""
    only("digits-pixels", "knn")
    result("digits-pixels", "knn", [("digits-0000", "blue", "<b>red</b>", 0.8, 0.2)], val=0.5, log_loss=1.0)


def test_a_picture_lies_in_the_page_once_whatever_shows_it(project: Path) -> None:
    digit_mistaken()
    key = fingerprint.of_content(digits.Source().read("0"))
    row = manifest.ManifestRow(item_id="digits-0000", item_key=key, label="blue", split="test", group="", source="0")
    manifest.write(paths.manifest("digits"), [row])
    html = page()
    assert html.count("data:image/png;base64,") == 1
    assert '"height": 8' in html  # to the pixel


def test_pictures_that_cannot_be_read_leave_their_id(project: Path) -> None:
    digit_mistaken()
    row = manifest.ManifestRow(
        item_id="digits-0000", item_key="0", label="blue", split="test", group="", source="99999"
    )
    manifest.write(paths.manifest("digits"), [row])
    assert '<span class="thumbnail">digits-0000</span>' in page()
    assert ABSENT in page()


ABSENT = "What these items hold is not on this machine"


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_text("label,text\nblue,another sky\n")])
def test_texts_whose_file_is_gone_or_another_one_leave_their_id(project: Path, change) -> None:
    assert "dusk dusk" in page()
    assert ABSENT not in page()
    change(Path("words.csv"))
    html = page()
    assert "dusk dusk" not in html
    assert "another sky" not in html
    assert ABSENT in html


def detailed(store: str, head: str, **details: Any) -> None:
    """More of what `fit` may have written."""
    path = paths.details(store, head)
    results.write_json(path, json.loads(path.read_text()) | details)


def looked_at(store: str) -> None:
    """What stage `look` leaves."""
    ids = [f"t-{i}" for i in range(4)]
    suspect = {"item_id": "t-2", "split": "test", "label": "blue", "suggested": "<b>red</b>", "confidence": 0.9}
    found = {
        "map": {"item_ids": ids, "tsne": [[0, 0], [9, 900], [500, 5], [1000, 700]], "pca": [[0, 0]] * 4},
        "nearest": {item_id: [["t-0", 0.987], ["t-3", 0.5]] for item_id in ids},
        "near": {"pairs": [["t-1", "t-3", 0.9871]], "found": 1, "across": 0, "compared": 50, "items": 90},
        "suspects": [suspect | {"of_label": 0.05}],
        "suspected": 1,
        "judged": 40,
        "agreement": 0.75,
    }
    results.write_json(paths.feature_map(store), found)


def test_the_answer_says_what_to_do_next(project: Path) -> None:
    detailed("words-minilm", "linear_svm", bundle_bytes=2000)
    detailed("words-hashing", "logreg", bundle_bytes=1000, converged=False)
    html = page()
    assert "First of several" not in html
    assert (
        "3 of 3 others can&#39;t be told from the best on this test: the smallest of them is hashing · logreg" in html
    )
    assert "Not converged, so perhaps better than they look: hashing · logreg" in html
    assert "the smallest tried" not in html  # linear_svm won, and has no grid


def test_seeds_further_tests_and_sizes_have_their_columns(project: Path) -> None:
    seeds = [{"seed": i, "val": {}, "test": {"accuracy": 0.5 + i / 10}} for i in range(3)]
    detailed("words-minilm", "logreg", seeds=seeds, bundle_bytes=4096, peak_memory_bytes=1 << 28)
    metrics = paths.metrics("words-minilm", "logreg")
    results.write_json(
        metrics, json.loads(metrics.read_text()) | {"test-odd": {"n": 7, "accuracy": 0.125, "f1_macro": 0}}
    )
    board = page().split('<table class="board sorts">')[1].split("</table>")[0]
    row = next(each for each in board.split("<tr") if "words-minilm/logreg" in each)
    for shown in ("0.6000", "± 0.1000, 3 seeds", "0.1250", "4.0 KB", "of 256.0 MB"):
        assert shown in row
    assert ">test-odd<" in board


def test_slices_of_the_manifest_are_scored_apart(project: Path) -> None:
    rows = manifest.read(paths.manifest("words"))
    genres = ["sea", "sea", "land", "land"]
    with_genre = [dataclasses.replace(row, slices={"genre": g}) for row, g in zip(rows, genres, strict=True)]
    manifest.write(paths.manifest("words"), with_genre)
    table = page().split("<h4>By genre</h4>")[1].split("</table>")[0]
    assert re.findall(r'data-v="(\w+)">\w+</th><td class="n" data-v="2">2', table) == ["land", "sea"]
    assert table.count("0.5000") == 2


def test_doubts_of_the_manifest_stage_are_told(project: Path) -> None:
    cluster = [
        manifest.ManifestRow(item_id=f"t-{i}", item_key="0", label="blue", split=split, group="", source="")
        for i, split in enumerate(("test", "train"))
    ]
    says = "equal contents on two sides"
    one = Clusters.of_lists(manifest.Manifest.of(cluster), [[0, 1]])
    doubt = leakage.Finding(kind="content", description=says, clusters=one, dropped=Counter({"train": 1}))
    paths.findings("words").write_text(json.dumps([doubt.as_json()]))
    html = page()
    assert "Doubts about the data: equal contents on two sides (2 items)" in html
    assert "left out: 1 of train" in html
    assert "<code>t-0</code> (test, blue) = <code>t-1</code> (train, blue)" in html


def test_a_regression_has_errors_instead_of_confusions(project: Path) -> None:
    only("words-minilm", "logreg")
    scores = {"n": 4, "rmse": 0.5, "mae": 0.5, "r2": 0.9}
    metrics = {"val": scores, "test": scores, "train_n": 20, "fit_s": 0.1, "predict_s": 0.1}
    results.write_json(paths.metrics("words-minilm", "logreg"), metrics)
    rows = [
        manifest.ManifestRow(item_id=f"t-{i}", item_key="0", label=f"{i}", split="test", group="", source="x")
        for i in range(4)
    ]
    manifest.write(paths.manifest("words"), rows)
    table = {"item_id": [f"t-{i}" for i in range(4)], "split": ["test"] * 4, "label": [0.0, 1.0, 2.0, 3.0]}
    table["prediction"] = [0.5, 1.5, 1.5, 3.5]
    pq.write_table(pa.table(table), paths.predictions("words-minilm", "logreg"))
    html = page()
    assert "test RMSE" in html
    assert "Largest errors on test" in html
    assert 'data-chart="scatter"' in html
    assert "Confusion" not in html
    assert "Always answering the mean of test, 1.5, would have 1.118" in html


def test_backbones_trained_here_show_their_curve(project: Path) -> None:
    text = PARAMS.replace("backbones:", "pretrain: {glyphnet: {data: none}}\nbackbones:")
    stores = re.compile("stores:.*heads", re.DOTALL)
    paths.PARAMS.write_text(stores.sub("stores: {words-glyphnet: {dataset: words, backbone: glyphnet}}\nheads", text))
    for head, rows in (("logreg", RIGHT_HALF), ("linear_svm", SVM_SCORES)):
        result("words-glyphnet", head, rows, val=0.5, kind="p" if head == "logreg" else "score")
    folder = paths.backbone("glyphnet")
    folder.mkdir(parents=True)
    curves.Curve(paths.curve("glyphnet")).add(1, {"train/loss": 2.5, "val/accuracy": 0.25})
    (folder / "metrics.json").write_text('{"val_accuracy": 0.75}')
    paths.samples("glyphnet").mkdir(parents=True)
    (paths.samples("glyphnet") / "new.png").write_bytes(b"a sheet")
    results.write_json(paths.generated("glyphnet"), {"frechet": 12.5, "agreement_by_class": {"a": 1}})
    html = page()
    assert "glyphnet · val accuracy 0.75 · frechet 12.5" in html
    assert 'src="data:image/png;base64,YSBzaGVldA==" alt="new"' in html
    assert '"points": [{"curve": "train loss", "step": 1, "value": 2.5}], "unit": "step"' in html
    assert '"points": [{"curve": "val accuracy", "step": 1, "value": 0.25}], "unit": "step"' in html


def test_the_search_is_shown_and_what_was_chosen_by_folds_is_compared_on_them(project: Path) -> None:
    search = [{"C": C, "accuracy": C, "fit_s": 0.1, "by_fold": [C, C - 0.1, C + 0.1]} for C in (0.1, 0.3)]
    folds = [{"n": 10, "accuracy": accuracy} for accuracy in (0.5, 0.6)]
    known = {"folds": folds, "same_folds": "x", "chosen_on": "2-fold in train", "choose": "accuracy"}
    detailed("words-minilm", "linear_svm", **known)
    html = page()
    assert "Nadeau" not in html
    assert "that were tried" not in html
    detailed("words-minilm", "logreg", search=search, **known | {"folds": folds[::-1]})
    html = page()
    assert "The 2 settings that were tried on 2-fold in train" in html
    assert '<th scope="row" data-v="C=0.1">C=0.1<span class="tag">chosen</span></th>' in html
    assert "Nadeau and Bengio's corrected t-test" in html
    assert "on folds" in Leaderboard(html).sorted
    assert [row[4] for row in Leaderboard(html).rows] == ["best", "–", "+0.0000", "–"]


def test_the_stage_imports_no_heavy_library(project: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(PROJECT)!r})\n"
    code += "from icebox.pipeline.cli.app import main; main(['report'])\n"
    code += "print({'torch', 'sklearn', 'lightgbm', 'transformers', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["reports/index.html", "set()"]


# charts inside details are drawn once these have opened
WHEN = (
    "const when = (there, act) => {"
    " const timer = setInterval(() => { if (there()) { clearInterval(timer); act(); } }, 100); };"
)


@pytest.fixture
def browse(tmp_path: Path) -> Callable[[str], str]:
    """The page's elements as a real browser leaves them, after a script of ours at its end; it may log no error."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium on PATH: the page is not tried in a browser")
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += " --disable-component-update --disable-sync --virtual-time-budget=20000 --dump-dom --window-size=1000,4000"
    flags += " --enable-logging=stderr --v=0"

    def run(script: str) -> str:
        file = tmp_path / "page.html"
        file.write_text(page().replace("</body>", f"<script>{script}</script></body>"))
        command = [browser, *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", file.as_uri()]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
        assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
        return done.stdout

    return run


def test_a_browser_sorts_by_click_and_opens_what_is_linked(project: Path, browse: Callable[[str], str]) -> None:
    dom = browse(
        "const click = (text) => [...document.querySelectorAll('.board button')]"
        ".find((b) => b.textContent === text).click();"
        "click('log loss'); location.hash = '#words-hashing/linear_svm';"
    )
    board = Leaderboard(dom)
    assert board.column("log loss") == ["0.6000", "0.7000", "–", "–"]
    assert [name for name, sorted_ in board.sorted.items() if sorted_] == ["log loss"]
    assert board.sorted["log loss"] == "ascending"
    assert re.search(r'<details id="words-hashing/linear_svm" open', dom)


def test_a_browser_turns_the_order_round_at_the_second_click(project: Path, browse: Callable[[str], str]) -> None:
    dom = browse("const b = document.querySelectorAll('.board button')[2]; b.click(); b.click();")
    assert [row[2] for row in Leaderboard(dom).rows] == ["logreg", "logreg", "linear_svm", "linear_svm"]


def test_a_browser_draws_every_chart_and_a_click_opens_a_mistake(project: Path, browse: Callable[[str], str]) -> None:
    points = [{"labels_per_class": 5, "train_n": 10, "draws": [{"seed": 0, "val": {}, "test": {"accuracy": 0.25}}]}]
    points += [{"labels_per_class": "all", "train_n": 20, "draws": [{"seed": 0, "val": {}, "test": {"accuracy": 0.5}}]}]
    detailed("words-minilm", "logreg", labels=points)
    looked_at("words-minilm")
    dom = browse(
        f"{WHEN} for (const each of document.querySelectorAll('details')) each.open = true;"
        """const mistake = document.querySelector('[data-item="t-2"][data-head="words-minilm/logreg"]');"""
        "when(() => document.querySelectorAll('[data-chart] svg[viewBox]').length >= 4, () => mistake.click());"
    )
    # the curve of labels, the map, and the calibration of both heads with probabilities
    assert re.findall(r'data-chart="(\w+)"[^>]*data-width="\d+"', dom) == [
        "labels",
        "map",
        "calibration",
        "calibration",
    ]
    opened = dom.split('<dialog id="item"')[1].split("</dialog>")[0]
    assert opened.startswith(' aria-label="Item" open')
    assert "dusk dusk…" in opened
    assert '<dd class="wrong">&lt;b&gt;red&lt;/b&gt;</dd>' in opened
    assert "confidence 0.98" in opened
    assert "Nearest in train, through minilm" in opened
    assert "0.987" in opened


def test_a_browser_goes_through_the_map_by_keys(project: Path, browse: Callable[[str], str]) -> None:
    looked_at("words-minilm")
    dom = browse(
        f"{WHEN} when(() => document.querySelector('.plane svg'), () => {{"
        "for (const key of ['ArrowRight', 'ArrowLeft', 'Enter'])"
        " document.querySelector('.plane').dispatchEvent(new KeyboardEvent('keydown', { key })); });"
    )
    opened = dom.split('<dialog id="item"')[1].split("</dialog>")[0]
    assert "a rose" in opened  # mistakes come first, so the last of the round is right


def test_shows_the_coverage_of_conformal_sets_by_class(project: Path) -> None:
    html = page()
    assert "Sets that hold 90 % of true classes" in html
    assert "Few items of val to calibrate sets by: all (1)" in html
    assert "Val has no item of &lt;b&gt;red&lt;/b&gt;: such a class is in every set" in html
    rows = re.findall(r'<th scope="row" data-v="(\w+)">\w+</th><td class="n" data-v="([\d.]+)">[^/]*</span></td>', html)
    assert {name for name, _ in rows} >= {"all", "blue"}


def test_says_why_a_head_has_no_sets(project: Path) -> None:
    for store in ("words-minilm", "words-hashing"):
        for head in ("logreg", "linear_svm"):
            results.write_json(paths.details(store, head), {"chosen": {}, "settings": 2, "refit": "train+val"})
    html = page()
    assert "No sets (coverage: sets are calibrated on val, which this head was fitted on" in html
    assert "Sets that hold" not in html


def test_pairs_of_near_duplicates_are_shown_side_by_side(project: Path) -> None:
    looked_at("words-minilm")
    html = page()
    assert "0 pairs across splits, 1 within one" in html
    assert "50 of 90 items were compared with all." in html
    (pair,) = re.findall(r'<ul class="shown twos texts">\s*<li>(.*?)</li>', html, re.DOTALL)
    assert re.findall('data-item="([^"]*)"', pair) == ["t-1", "t-3"]
    assert "near t-3, cosine 0.9871" in pair


def test_a_map_of_an_earlier_version_has_no_near_duplicates(project: Path) -> None:
    looked_at("words-minilm")
    path = paths.feature_map("words-minilm")
    content = json.loads(path.read_text())
    del content["near"]
    results.write_json(path, content)
    assert "Near-duplicates" not in page()
