"""A head is exported from raw item to answer, checked, and answers in an environment without torch."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import icebox
from icebox.features import fingerprint
from icebox.features.abc.backbone import write_settings
from icebox.features.backbones.glyphnet import GlyphNet
from icebox.features.errors import IceboxError
from icebox.features.json_files import read_json
from icebox.features.manifest import manifest
from icebox.features.manifest.manifest import ManifestRow
from icebox.features.models.language_model import LSTMLanguageModel
from icebox.features.text import tokenization
from icebox.pipeline.catalog import backbones, datasets
from icebox.pipeline.cli.app import main
from icebox.pipeline.export import check
from icebox.pipeline.export.export import export, refuse_to_replace
from icebox.pipeline.exported import folder as exported
from icebox.pipeline.exported import model as exported_model
from icebox.pipeline.exported.model import ExportedBackbone
from icebox.pipeline.inference import predict
from icebox.pipeline.project import paths
from tests.pipeline.inference import heads

BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ImportError(name + " is not installed here")
sys.meta_path.insert(0, Blocker())
"""
WORDS = ["the", "sea", "is", "calm", "storm", "wind", "blows", "hard", "sun", "shines"]


def photos(folder):
    random = np.random.default_rng(0)
    for label, level in (("dark", 60), ("light", 190)):
        (folder / label).mkdir(parents=True)
        for i in range(6):
            noise = random.integers(-60, 60, (20 + i, 30, 3)) * np.linspace(0, 1, 30)[None, :, None]
            Image.fromarray((level + noise).clip(0, 255).astype(np.uint8)).save(folder / label / f"{i}.png")


def notes(path):
    random = np.random.default_rng(0)
    lines = [(" ".join(random.choice(WORDS[:5] if i % 2 else WORDS[4:], 2 + i)), "ab"[i % 2]) for i in range(10)]
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in lines))


def listed(name, source, parameters):
    """The manifest of a dataset; the first half of its items is train, the rest test."""
    dataset = datasets.opened(source, parameters)
    items = list(dataset.items())
    rows = [
        ManifestRow(
            item_id=item.item_id,
            item_key=fingerprint.of_content(dataset.read(item.source)),
            label=item.label,
            split="train" if i % 2 else "test",
            group="",
            source=item.source,
        )
        for i, item in enumerate(items)
    ]
    manifest.write(paths.manifest(name), rows)
    return [(dataset.read(item.source), item.label) for item in items]


def fit_photos():
    torch.manual_seed(0)
    save_file(GlyphNet(width=4).state_dict(), "data/backbones/glyphnet/weights.safetensors")
    write_settings(Path("data/backbones/glyphnet"), {"family": "glyphnet", "width": 4})
    parameters = {"path": "photos"}
    items = listed("photos", "image_folder", parameters)
    told = {"dataset": "photos", "source": "image_folder", "parameters": parameters}
    heads.fit("photos-glyphnet", items, backbone="glyphnet", **told)


def fit_notes():
    torch.manual_seed(0)
    vocabulary = tokenization.vocabulary(WORDS)
    sizes = {"width": 8, "hidden": 8, "layers": 1}
    network = LSTMLanguageModel(words=len(vocabulary), **sizes)
    save_file(network.state_dict(), "data/backbones/words/weights.safetensors")
    write_settings(Path("data/backbones/words"), {"family": "rnn_lm", "network": sizes})
    Path("data/backbones/words/vocabulary.txt").write_text("".join(f"{word}\n" for word in vocabulary))
    parameters = {"path": "notes.csv", "text": "text", "label": "label"}
    items = listed("notes", "csv_text", parameters)
    told = {"dataset": "notes", "source": "csv_text", "parameters": parameters}
    outputs = ("last:mean", "last:max", "last:final")
    heads.fit("notes-words", items, backbone="words", family="rnn_lm", outputs=outputs, **told)
    heads.fit("posts-words", items, backbone="words", family="rnn_lm", outputs=outputs, clean=["html", "links"], **told)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root, here = tmp_path_factory.mktemp("project"), Path.cwd()
    os.chdir(root)
    try:
        photos(root / "photos")
        notes(root / "notes.csv")
        for name in ("glyphnet", "words"):
            (root / "data/backbones" / name).mkdir(parents=True)
        fit_photos()
        fit_notes()
        export("photos-glyphnet/head", root / "photos-model")
        export("notes-words/head", root / "notes-model")
        export("posts-words/head", root / "posts-model")
    finally:
        os.chdir(here)
    return root


@pytest.fixture
def here(project, monkeypatch):
    monkeypatch.chdir(project)
    return project


def run_without(blocked, code, *arguments, cwd):
    script = BLOCKED.format(blocked=set(blocked)) + code
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


STANDALONE = "sys.path.insert(0, '.'); import runpy; runpy.run_path('predict.py', run_name='__main__')"


@pytest.mark.slow
def test_its_own_code_answers_without_torch_scikit_learn_or_icebox(here):
    files = [str(here / "photos/dark/0.png"), str(here / "photos/light/3.png")]
    out = run_without(("torch", "sklearn", "icebox", "transformers"), STANDALONE, *files, cwd=here / "photos-model")
    texts = ["the sea is calm", "", "storm-wind, Zwieback!"]
    out_texts = run_without(("torch", "sklearn", "icebox"), STANDALONE, *texts, cwd=here / "notes-model")
    for name, items, lines in (("photos-glyphnet", files, out), ("notes-words", texts, out_texts)):
        answers = [json.loads(line) for line in lines.splitlines()]
        head = icebox.load(f"{name}/head")
        assert [each["label"] for each in answers] == head.predict(items).tolist()
        scores = [list(each["probabilities"].values()) for each in answers]
        np.testing.assert_allclose(scores, head.predict_proba(items), atol=1e-5)


def test_its_own_code_cleans_texts_as_their_dataset_did(here):
    texts = [
        "the <b>sea</b> is calm",
        "sun &amp;amp; wind https://example.org/storm",
        "storm\n wind",
        "",
        "the sea is calm",
    ]
    out = run_without(("torch", "icebox"), STANDALONE, *texts, cwd=here / "posts-model")
    own = [list(json.loads(line)["probabilities"].values()) for line in out.splitlines()]
    np.testing.assert_allclose(own, icebox.load(here / "posts-model").predict_proba(texts), atol=1e-5)
    np.testing.assert_allclose(own, icebox.load("posts-words/head").predict_proba(texts), atol=1e-5)
    assert not (here / "notes-model/cleaning.py").exists()


@pytest.mark.parametrize("case", ["nothing", "no file", "a folder", "a bomb", "floats", "no picture"])
def test_its_own_code_says_in_a_line_what_it_can_not_answer(here, tmp_path, case):
    path = tmp_path / "a.tif"
    if case == "a folder":
        path.mkdir()
    elif case == "a bomb":
        Image.new("1", (20_000, 20_000)).save(path, compression="group4")
    elif case == "floats":
        Image.fromarray(np.ones((9, 9), np.float32)).save(path)
    elif case == "no picture":
        path.write_text("a")
    command = [sys.executable, "predict.py", *([] if case == "nothing" else [str(path)])]
    done = subprocess.run(command, cwd=here / "photos-model", capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("usage: python predict.py PICTURE…" if case == "nothing" else "error: ")


@pytest.mark.slow
def test_a_program_of_torch_answers_by_its_own_code_and_icebox_opens_none(here, tmp_path):
    model = tmp_path / "model"
    export("photos-glyphnet/head", model, kind="torch")
    files = [str(here / "photos/dark/0.png"), str(here / "photos/light/3.png")]
    head = icebox.load("photos-glyphnet/head")
    for given in (files, files[:1], files * 3):  # any number of pictures, one among them
        out = run_without(("icebox",), STANDALONE, *given, cwd=model)
        answers = [json.loads(line) for line in out.splitlines()]
        assert [each["label"] for each in answers] == head.predict(given).tolist()
        scores = [list(each["probabilities"].values()) for each in answers]
        np.testing.assert_allclose(scores, head.predict_proba(given), atol=1e-5)
    assert "icebox predict" not in (model / "README.md").read_text()
    assert "library_name: pytorch" in (model / "README.md").read_text()
    with pytest.raises(IceboxError, match=r"which Icebox does not open: model\.pt2 can hold code; run its predict\.py"):
        icebox.load(str(model))
    with (model / "model.pt2").open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(IceboxError, match=r"model\.pt2: expected sha256"):  # before anything else
        icebox.load(str(model))


def test_operators_of_onnx_are_no_program_of_torch(here, tmp_path):
    with pytest.raises(IceboxError, match="its trees, or LSTM, are operators of ONNX; take --format onnx"):
        export("notes-words/head", tmp_path / "model", kind="torch")
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
def test_predict_evaluate_and_load_take_its_folder_without_torch(here):
    code = (
        "from icebox.pipeline.cli.app import main; import icebox; "
        "assert main(['predict', 'photos-model', 'photos/dark', '--coverage', '0.8']) == 1; "
        "assert main(['predict', 'photos-model', 'photos/dark']) == 0; "
        "assert main(['evaluate', 'photos-model', 'photos']) == 0; "
        "assert main(['evaluate', 'notes-model', 'notes.csv']) == 0; "
        "print(icebox.load('notes-model').predict(['the sea', 'sun shines']))"
    )
    out = run_without(("torch", "transformers"), code, cwd=here)
    assert "\nphotos/dark/5.png,photos/dark/5.png," in out
    assert "accuracy" in out


def test_it_says_what_it_is_and_holds_no_pickle(here):
    for name, kind, extra in (("photos-model", "image", set()), ("notes-model", "text", {"vocabulary.txt"})):
        files = {file.name for file in (here / name).iterdir()}
        assert {"model.onnx", "config.json", "manifest.json", "README.md", "predict.py", "preprocess.py"} <= files
        assert extra <= files
        assert not any(file.endswith((".pkl", ".joblib", ".pt", ".npz")) for file in files)
        config = read_json(here / name / "config.json", dict)
        assert (config["input"]["kind"], config["check"]["labels"]) == (kind, "equal")
        assert "path" not in config["dataset"]["parameters"]
        card = (here / name / "README.md").read_text()
        assert card.startswith("---\nlibrary_name: onnx\n")
        assert "## Licence" in card


@pytest.mark.parametrize("budget", [1, 9, 10_000])
def test_texts_of_like_length_pass_together_and_answers_keep_the_order_of_the_items(here, monkeypatch, budget):
    monkeypatch.setattr(exported_model, "BATCH_TOKENS", budget)
    texts = ["the sea is calm", "", "storm " * 30, "sun", "wind blows hard and calm", "the sea"]
    model = predict.open_export(Path("notes-model")).backbone
    prepared = [model.prepare(text) for text in texts]
    parts = model.parts(prepared)
    assert sorted(row for rows in parts for row in rows) == list(range(len(texts)))
    assert all(len(rows) == 1 or len(rows) * max(len(prepared[row][0]) for row in rows) <= budget for rows in parts)
    expected = icebox.load("notes-words/head").predict_proba(texts)
    np.testing.assert_allclose(icebox.load("notes-model").predict_proba(texts), expected, atol=1e-5)


@pytest.mark.parametrize("change", ["more", "less", "gone", "link", "unlisted"])
def test_a_file_that_was_changed_is_not_opened(here, tmp_path, change):
    copy = tmp_path / "model"
    shutil.copytree(here / "photos-model", copy)
    file = copy / "model.onnx"
    if change == "more":
        file.write_bytes(file.read_bytes() + b"\0")
    elif change == "less":
        file.write_bytes(file.read_bytes()[:-1])
    elif change == "gone":
        file.unlink()
    elif change == "link":
        file.rename(tmp_path / "elsewhere")
        file.symlink_to(tmp_path / "elsewhere")
    else:
        hashes = json.loads((copy / "manifest.json").read_text())["files"]
        (copy / "manifest.json").write_text(json.dumps({"files": hashes | {"../out.txt": "0"}}))
    with pytest.raises(IceboxError, match=r"model\.onnx: |a file in the folder"):
        predict.open_head(str(copy))


DROPPED = object()
WRONG_CONFIGS = {
    "name": DROPPED, "format": "pickle", "model": "../model.onnx", "task": ["classification"], "classes": {"a": 1},
    "scores": None, "input": [], "input.kind": DROPPED, "input.names": ["pictures"], "preprocess": None,
    "preprocess.kind": "words", "preprocess.resize": [10**9], "preprocess.channels": 1e308, "network": 3,
    "network.backbone": float("nan"), "dataset": "x", "dataset.clean": ["sweep"], "dataset.parameters": [1],
    "thresholds": "0.5", "coverage": True, "icebox_export": 1.0, "model ": None,
}  # fmt: skip


def with_config(folder, key, value):
    """Change a key of config.json, and the manifest, as one may who wants to."""
    config = json.loads((folder / "config.json").read_text())
    *outer, last = key.strip().split(".")
    inner = config
    for name in outer:
        inner = inner[name]
    inner[last] = value
    if value is DROPPED:
        del inner[last]
    (folder / "config.json").write_text(json.dumps(config))
    exported.write_manifest(folder)


@pytest.mark.parametrize("key", WRONG_CONFIGS)
def test_a_config_of_another_form_is_one_line_whatever_its_hash(here, tmp_path, key, capsys):
    shutil.copytree(here / "photos-model", tmp_path / "model")
    with_config(tmp_path / "model", key, WRONG_CONFIGS[key])
    assert main(["predict", str(tmp_path / "model"), "photos/dark/0.png"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "config.json: " in line
    assert "Traceback" not in line


@pytest.mark.parametrize("classes", [["dark"], ["dark", "light", "third"], ["light", "light"]])
def test_other_classes_than_the_models_are_one_line(here, tmp_path, classes):
    shutil.copytree(here / "photos-model", tmp_path / "model")
    with_config(tmp_path / "model", "classes", classes)
    with pytest.raises(IceboxError, match=r"export the head anew"):
        icebox.load(tmp_path / "model").predict(["photos/dark/0.png"])


@pytest.mark.parametrize("names", [["images", "input_ids"], ["input_ids"]])
def test_a_graph_with_other_inputs_is_one_line(here, tmp_path, names):
    shutil.copytree(here / "notes-model", tmp_path / "model")
    with_config(tmp_path / "model", "input.names", names)
    with pytest.raises(IceboxError, match=r"input\.names|can't answer input_ids"):
        icebox.load(tmp_path / "model").predict(["the sea"])


@pytest.mark.parametrize(("key", "name"), [("model", "other.onnx"), ("coverage", "scores.json")])
def test_a_file_that_no_hash_vouches_for_is_not_opened(here, tmp_path, key, name):
    folder = tmp_path / "model"
    shutil.copytree(here / "photos-model", folder)
    with_config(folder, key, name)
    shutil.copyfile(folder / "model.onnx", folder / name)
    with pytest.raises(IceboxError, match=r"is not among the files of manifest\.json"):
        predict.set_predictor(predict.open_head(str(folder)), coverage=0.9, by_class=False)


@pytest.mark.parametrize("content", ["[1]", "{}", '{"dark": 1, "light": [0.5]}', '{"dark": [], "light": ["x"]}', "x"])
def test_scores_for_sets_of_another_form_are_one_line(here, tmp_path, content):
    folder = tmp_path / "model"
    shutil.copytree(here / "photos-model", folder)
    (folder / "val_scores.json").write_text(content)
    with_config(folder, "coverage", "val_scores.json")
    with pytest.raises(IceboxError, match=r"val_scores\.json: expected"):
        predict.set_predictor(predict.open_head(str(folder)), coverage=0.9, by_class=False)


def test_a_link_within_is_named_with_what_to_do(here, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(here / "photos-model", folder)
    (folder / "model.onnx").rename(tmp_path / "elsewhere")
    (folder / "model.onnx").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IceboxError, match=r"model\.onnx: expected the export's own file, found a link; .*cp -rL"):
        predict.open_head(str(folder))


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../b", "~/x", "a//b", "a\\..\\b", ""])
def test_no_name_leads_out_of_its_folder(tmp_path, name):
    with pytest.raises(IceboxError, match="the name of a file in the folder"):
        exported.ExportFolder(tmp_path, {}).file(name)


def test_an_earlier_export_is_replaced_and_nothing_else(here, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("mine", "file"):
        with pytest.raises(IceboxError, match="expected nothing there"):
            export("photos-glyphnet/head", tmp_path / name)
    assert (tmp_path / "mine/notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["notes.txt", ".git/config", "figures/a.png", "link"])
def test_an_earlier_export_with_files_of_others_is_left_alone(here, tmp_path, name):
    folder = tmp_path / "model"
    shutil.copytree(here / "photos-model", folder)
    refuse_to_replace(folder)
    (folder / "__pycache__").mkdir(exist_ok=True)
    (folder / "__pycache__/preprocess.pyc").touch()
    refuse_to_replace(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).symlink_to("nowhere") if name == "link" else (folder / name).write_text("mine")
    with pytest.raises(IceboxError, match=f"found {name}, which would be lost"):
        refuse_to_replace(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(IceboxError, match="which would be lost"):
        refuse_to_replace(folder)


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(IceboxError, match=r"expected a folder at .*file, found a file"):
        refuse_to_replace(tmp_path / "file/a/b")


def test_an_export_that_answers_otherwise_fails_and_says_where_they_part(here):
    head = predict.open_head("photos-glyphnet/head")
    items = check.items_to_check(head.bundle)
    model = predict.open_export(Path("photos-model")).backbone
    assert check.check(head, model, items).items == len(items) == 6

    def changed(change, place):
        wrong = ExportedBackbone(exported.opened(Path("photos-model")), model.run)
        change(wrong)
        with pytest.raises(IceboxError, match=f"the export is not the head: .*{place}"):
            check.check(head, wrong, items)

    def other_scores(wrong):
        wrong.run = lambda names, arrays: [
            values + (i == 0) * 0.01 for i, values in enumerate(model.run(names, arrays))
        ]

    def other_features(wrong):
        wrong.run = lambda names, arrays: [values + (i != 1) * 0.1 for i, values in enumerate(model.run(names, arrays))]

    def other_pictures(wrong):
        wrong.prepare = lambda content: 255 - ExportedBackbone.prepare(wrong, content)

    changed(other_scores, "they part in the head")
    changed(other_features, "they part in the network")
    changed(other_pictures, "they part where items are prepared")


def test_of_a_store_in_another_precision_it_is_the_network_in_float32(here):
    exact = predict.open_head("photos-glyphnet/head")
    assert check.in_float32(exact) is exact
    loaded = backbones.load("glyphnet", "glyphnet", ["last"], precision="bfloat16")
    head = replace(exact, bundle=replace(exact.bundle, precision="bfloat16"), backbone=loaded)
    assert check.in_float32(head).backbone.spec == exact.backbone.spec
    items = check.items_to_check(head.bundle)
    assert check.same_answers(head, check.in_float32(head), items) <= len(items) == 6


def test_items_that_are_not_here_are_named(here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("data/backbones/glyphnet", "results"):
        shutil.copytree(here / name, tmp_path / name)
    with pytest.raises(IceboxError, match="an export is checked on items of the test split; run: dvc pull"):
        export("photos-glyphnet/head", tmp_path / "out")
    assert not (tmp_path / "out").exists()
