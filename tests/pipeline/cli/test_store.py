"""The store commands as people type them, in a project of two tiny stores."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from icebox.features.extraction.extract import extract
from icebox.features.manifest import manifest
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.catalog import backbones
from icebox.pipeline.cli.app import main
from icebox.pipeline.config import loader
from icebox.pipeline.project import paths
from tests.tiny import Doubling, rows

PARAMS = """
datasets:
  notes: {source: csv_text, path: notes.csv, text: text, label: label}
backbones:
  hashing: {dimensions: 8}
stores:
  notes-hashing: {dataset: notes, backbone: hashing, stored: float32}
heads:
  logreg: {}
"""


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A folder with the stores `tiny` and `tiny-more`, of one fingerprint, and no params.yaml."""
    monkeypatch.chdir(tmp_path)
    make("tiny", "012345")
    make("tiny-more", "0123456")
    return tmp_path


def make(name: str, items: str) -> None:
    extract(
        rows(*items),
        read=lambda source: source,
        backbone=Doubling(),
        cache_root=paths.shards(),
        store=paths.store(name),
        shard_rows=3,
    )


def shard_of(name: str, number: int = 0) -> Path:
    return FeatureStore(paths.store(name)).shards[number].path


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(data))


def test_ls_lists_what_is_here(project, capsys):
    assert main(["store", "ls"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["tiny", "tiny-more"]
    assert "last 2 float32, grid 2×2 float32" in lines[2]
    assert FeatureStore(paths.store("tiny")).fingerprint[:12] in lines[2]


def test_ls_shows_a_damaged_store_beside_the_others(project, capsys):
    shard_of("tiny-more", 2).unlink()
    assert main(["store", "ls"]) == 0
    assert "damaged; see: icebox store verify tiny-more" in capsys.readouterr().out


def test_ls_of_nothing_says_what_to_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["store", "ls"]) == 1
    assert "dvc repro" in capsys.readouterr().err


def test_info_tells_what_the_store_holds_and_how_it_was_made(project, capsys):
    assert main(["store", "info", "tiny"]) == 0
    out = capsys.readouterr().out
    assert "6 (train 6)" in out
    assert "doubling" in out
    assert FeatureStore(paths.store("tiny")).fingerprint in out


def test_an_unknown_store_suggests_a_known_one(project, capsys):
    assert main(["store", "info", "tinny"]) == 1
    assert "did you mean 'tiny'" in capsys.readouterr().err


def test_verify_of_whole_stores_says_so(project, capsys):
    assert main(["store", "verify"]) == 0
    assert capsys.readouterr().out == "tiny: whole\ntiny-more: whole\n"


def test_verify_names_the_damaged_shard_and_what_to_run(project, capsys):
    flip(victim := shard_of("tiny"))
    assert main(["store", "verify", "tiny"]) == 1
    error = capsys.readouterr().err
    assert str(victim) in error
    assert "store verify --repair tiny" in error
    assert "dvc repro -f extract@tiny" in error


def test_repair_mends_every_store_that_shares_the_shard(project, capsys):
    whole = shard_of("tiny").read_bytes()
    flip(shard_of("tiny"))
    assert main(["store", "verify", "--repair"]) == 0
    assert "1 shards are lost; run: dvc repro -f extract@tiny " in capsys.readouterr().out
    make("tiny", "012345")
    assert shard_of("tiny").read_bytes() == whole
    assert main(["store", "verify", "--repair"]) == 0
    assert "tiny-more: mended" in capsys.readouterr().out
    assert main(["store", "verify"]) == 0


def test_a_broken_index_is_damage_that_repair_leaves_to_extraction(project, capsys):
    (paths.store("tiny") / "index.h5").write_bytes(b"nonsense")
    assert main(["store", "verify", "--repair", "tiny"]) == 1
    assert "tiny: damaged; run: dvc repro -f extract@tiny" in capsys.readouterr().err


def test_compact_shrinks_the_store_and_says_what_dvc_must_be_told(project, capsys):
    make("tiny", "0145")
    assert main(["store", "compact", "tiny"]) == 0
    out = capsys.readouterr().out
    assert "dropped 2 rows, rewrote 2 shards" in out
    assert "dvc commit -f extract@tiny" in out
    assert FeatureStore(paths.store("tiny")).load(output="last")[:, 0].tolist() == [0, 1, 4, 5]
    assert main(["store", "verify"]) == 0
    assert main(["store", "compact", "tiny"]) == 0
    assert "dvc commit" not in capsys.readouterr().out.splitlines()[-1]


def test_prune_frees_what_no_store_needs(project, capsys):
    make("tiny", "9")
    make("tiny", "8")
    assert main(["store", "prune"]) == 0
    assert "removed 1 shards" in capsys.readouterr().out
    assert main(["store", "verify"]) == 0


def test_prune_leaves_a_killed_unfreezing_its_checkpoint_unless_told(project, capsys):
    checkpoint = paths.UNFREEZE / "tuned-0123/seed-0/checkpoint.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"weights")
    assert main(["store", "prune"]) == 0
    assert checkpoint.exists()
    assert main(["store", "prune", "--unfinished"]) == 0
    assert not checkpoint.exists()


@pytest.fixture
def hashed(project, monkeypatch) -> str:
    """The store of params.yaml's own dataset and backbone."""
    Path("params.yaml").write_text(PARAMS)
    Path("notes.csv").write_text("text,label\ngood thing,plus\nbad thing,minus\nthing,plus\n")
    for stage, key in (("manifest", "notes"), ("fetch", "hashing"), ("extract", "notes-hashing")):
        assert main([stage, key]) == 0
    return "notes-hashing"


def test_recompute_passes_items_again_and_compares(hashed, capsys):
    assert main(["store", "verify", "--recompute", hashed]) == 0
    assert "whole, and 3 items gave the same features again" in capsys.readouterr().out


def test_recompute_refuses_a_backbone_that_is_no_longer_the_stores(hashed, capsys):
    yaml = YAML(typ="safe", pure=True)
    params = yaml.load(Path("params.yaml").read_text())
    params["backbones"]["hashing"]["dimensions"] = 16
    with Path("params.yaml").open("w") as stream:
        yaml.dump(params, stream)
    assert main(["fetch", "hashing"]) == 0
    assert main(["store", "verify", "--recompute", hashed]) == 1
    assert "no longer those of the store" in capsys.readouterr().err


def test_recompute_of_a_store_outside_params_says_so(hashed, capsys):
    assert main(["store", "verify", "--recompute", "tiny"]) == 1
    assert "stores.tiny: not in params.yaml" in capsys.readouterr().err


def test_ls_and_info_name_dataset_and_backbone(hashed, capsys):
    assert main(["store", "ls"]) == 0
    assert main(["store", "info", hashed]) == 0
    out = capsys.readouterr().out
    assert "notes-hashing  notes      hashing" in out
    assert "backbones.hashing" in out


def test_prune_keeps_what_an_unfinished_store_would_go_on_from(hashed, capsys):
    (paths.store(hashed) / "index.h5").unlink()
    assert main(["store", "prune"]) == 1
    assert "notes-hashing would go on from" in capsys.readouterr().err
    assert main(["store", "prune", "--unfinished"]) == 0
    assert "removed 1 shards" in capsys.readouterr().out


def test_the_fixture_is_what_the_stages_make(hashed):
    assert len(FeatureStore(paths.store(hashed))) == len(manifest.read(paths.manifest("notes")))
    assert backbones.load("hashing", "hashing", None, precision="float32").outputs
    assert list(loader.load().stores) == [hashed]
