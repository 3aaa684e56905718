"""ICEBOX_CACHE as projects use it: one shard cache for all that set it."""

import errno
import shutil
import threading
import time
from pathlib import Path

import pytest

from icebox.features import files
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.cli.app import main
from icebox.pipeline.project import paths
from tests import faults
from tests.pipeline.cli.test_store import PARAMS

STORE = "notes-hashing"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Make a project and work in it; all share one cache."""
    monkeypatch.setenv("ICEBOX_CACHE", str(tmp_path / "lab"))

    def made(name: str) -> Path:
        folder = tmp_path / name
        if not folder.exists():
            folder.mkdir()
            (folder / "params.yaml").write_text(PARAMS)
            (folder / "notes.csv").write_text("text,label\ngood thing,plus\nbad thing,minus\nthing,plus\n")
        monkeypatch.chdir(folder)
        return folder

    return made


def extract() -> None:
    for stage, key in (("manifest", "notes"), ("fetch", "hashing"), ("extract", STORE)):
        assert main([stage, key]) == 0


def test_a_second_project_extracts_nothing(project, capsys, tmp_path):
    project("one")
    extract()
    project("two")
    capsys.readouterr()
    extract()
    assert "3 items, 0 distinct ones passed through hashing" in capsys.readouterr().err
    assert not Path(".icebox/shards").exists()
    assert len(list((tmp_path / "lab/shards").glob("*/shard-*.h5"))) == 1


def test_prune_leaves_a_shared_cache_alone_unless_told(project, capsys):
    project("one")
    extract()
    project("two")
    extract()
    shutil.rmtree(paths.STORES)
    assert main(["store", "prune", "--unfinished"]) == 1
    assert "others share this cache" in capsys.readouterr().err
    assert len(list(paths.shards().glob("*/shard-*.h5"))) == 1
    assert main(["store", "prune", "--unfinished", "--shared"]) == 0
    assert not list(paths.shards().glob("*/shard-*.h5"))
    project("one")
    assert len(FeatureStore(paths.store(STORE)).load()) == 3
    assert main(["store", "verify"]) == 0


def test_a_project_waits_for_another_that_extracts_the_same(project, monkeypatch, capsys):
    project("one")
    extract()
    monkeypatch.setattr(files, "PATIENCE_S", 0.05)
    [folder] = paths.shards().iterdir()
    held = threading.Event()

    def hold() -> None:
        with files.locked(folder / "lock"):
            held.set()
            time.sleep(0.3)

    threading.Thread(target=hold).start()
    held.wait()
    assert main(["extract", STORE]) == 0
    assert "another process is working on this right now; waiting" in capsys.readouterr().err


@pytest.mark.parametrize("number", [*faults.ERRNOS, errno.ENOENT])
def test_commands_name_file_and_cause_in_one_line_and_no_wrong_advice(project, capsys, number):
    project("one")
    extract()
    for command in (["extract", STORE], ["store", "verify"], ["store", "export", STORE, "--to", "x.npz"]):
        for names in ("shard-", "index.h5"):
            capsys.readouterr()
            with faults.failing(number, names=names):
                if main(command) == 0:
                    continue
            err = capsys.readouterr().err
            assert names in err
            assert "Traceback" not in err
            assert "dvc repro" not in err
            assert "--repair" not in err
    assert main(["store", "verify"]) == 0


def test_a_store_folder_that_cannot_be_listed_stops_pruning(project, monkeypatch, capsys):
    project("one")
    monkeypatch.delenv("ICEBOX_CACHE")
    extract()
    real = Path.stat

    def forbidden(path: Path, **options: bool):
        if path.name == "index.h5":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, **options)

    monkeypatch.setattr(Path, "stat", forbidden)
    assert main(["store", "prune", "--unfinished"]) == 1
    assert "index.h5: Permission denied" in capsys.readouterr().err
    assert len(list(Path(".icebox/shards").glob("*/shard-*.h5"))) == 1


@pytest.mark.parametrize(
    "error", [RuntimeError("can't start new thread"), MemoryError(), OSError(errno.ENOMEM, "no memory")]
)
def test_low_memory_is_one_line(project, monkeypatch, capsys, error):
    project("one")

    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("icebox.pipeline.stages.extract.run", fails)
    assert main(["extract", STORE]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "end other programs, or take less at once, then run this again" in err
