import argparse
import enum
import functools
import http.server
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from icebox.features.errors import IceboxError
from icebox.features.weights import checkpoints

TENSORS = {"conv.weight": torch.ones(2, 3), "norm.bias": torch.arange(4.0)}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """torch's cache in a fresh folder; returns where its checkpoints go."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def server(tmp_path):
    """(folder, URL): what lies in the folder is served on the loopback."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))
    ) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".th", ".ckpt", ".bin", ".pth.tar"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: tensors,
        lambda tensors: {"state_dict": {f"module.{key}": value for key, value in tensors.items()}, "epoch": 3},
        lambda tensors: {"model": tensors, "args": {"lr": 0.1}},
        lambda tensors: {"model": tensors, "args": argparse.Namespace(lr=0.1), "best": np.float64(0.5)},
        lambda tensors: {"student": {"other": torch.ones(1)}, "teacher": tensors},
        lambda tensors: {"ema": {f"module.{key}": value for key, value in tensors.items()}, "step": 3},
        lambda tensors: {"checkpoint": {"model": tensors}, "best": torch.ones(1)}["checkpoint"],
        lambda tensors: {"model": {"state_dict": tensors}, "config": {"depth": 3, "model": "own"}},
        lambda tensors: {"model": "resnet18", "net": tensors, "optimizer": {"state": {0: {"step": torch.ones(1)}}}},
        lambda tensors: {**tensors, "epoch": 3, "scheduler": {"last": 0.1}},
        lambda tensors: {f"module._orig_mod.{key}": value for key, value in tensors.items()},
    ],
    ids=[
        "plain",
        "DataParallel",
        "training script",
        "arguments",
        "teacher",
        "EMA",
        "nested",
        "twice",
        "optimizer",
        "beside numbers",
        "compiled",
    ],
)
def test_checkpoints_as_training_scripts_write_them_are_unwrapped(tmp_path, wrap, suffix):
    path = tmp_path / f"own{suffix}"
    torch.save(wrap(TENSORS), path)
    found = checkpoints.read_tensors(path)
    assert list(found) == list(TENSORS)
    assert all(torch.equal(found[key], TENSORS[key]) for key in TENSORS)


def test_a_safetensors_file_gives_its_tensors(tmp_path):
    save_file(TENSORS, tmp_path / "own.safetensors")
    found = checkpoints.read_tensors(tmp_path / "own.safetensors")
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[key], TENSORS[key]) for key in TENSORS)


class Hyperparameters(dict):
    """Stands for AttributeDict, of another package in each version of Lightning."""


class Callback:
    def __init__(self) -> None:
        self.best = Path("best.ckpt")
        self.mode = Mode.MAX
        self.scores = {"val": 0.5}


class Mode(enum.Enum):
    MAX = "max"


class Runs:
    """Would write a file if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_the_tensors_of_a_lightning_checkpoint_are_read_and_its_objects_are_left_out(tmp_path, caplog):
    caplog.set_level("INFO", "icebox")
    content = {
        "state_dict": {f"model.{key}": value for key, value in TENSORS.items()},
        "hyper_parameters": Hyperparameters(lr=0.1, folder=Path("data")),
        "callbacks": {Callback: Callback(), "ModelCheckpoint": {"best": torch.ones(1)}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2)}}}],
        "pytorch-lightning_version": "2.5.0",
    }
    for zipped in (True, False):
        torch.save(content, tmp_path / "own.ckpt", _use_new_zipfile_serialization=zipped)
        caplog.clear()
        found = checkpoints.read_tensors(tmp_path / "own.ckpt")
        assert {key: value.tolist() for key, value in found.items()} == {k: v.tolist() for k, v in TENSORS.items()}
        (line,) = caplog.messages
        assert line.startswith("own.ckpt: left out are Python objects, not read: ")
        assert "Hyperparameters" in line
        assert "Callback" in line


@pytest.mark.parametrize("beside", [True, False])
def test_no_code_of_a_file_is_run(tmp_path, beside):
    path = tmp_path / "own.pth"
    torch.save({"state_dict": TENSORS, "x": Runs(tmp_path / "ran")} if beside else Runs(tmp_path / "ran"), path)
    try:
        checkpoints.read_tensors(path)
    except IceboxError as error:
        assert "may run code" in str(error)  # noqa: PT017
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("code", [eval, getattr, print])
def test_pythons_own_functions_in_a_file_are_refused(tmp_path, code):
    torch.save({"state_dict": TENSORS, "x": code}, tmp_path / "own.pth")
    with pytest.raises(IceboxError, match=rf"holds Python objects \({code.__name__}\), which may run code"):
        checkpoints.read_tensors(tmp_path / "own.pth")


@pytest.mark.parametrize("name", ["own", "own.weights", "own.pkl", "checkpoint-100", "own.pth.old"])
def test_a_file_is_known_by_its_content_not_by_its_ending(tmp_path, name):
    save_file(TENSORS, tmp_path / name)
    assert checkpoints.read_tensors(tmp_path / name).keys() == TENSORS.keys()
    torch.save(TENSORS, tmp_path / name)
    assert checkpoints.read_tensors(tmp_path / name).keys() == TENSORS.keys()


def test_tensors_under_names_that_no_script_shares_keep_these(tmp_path):
    torch.save({"generator": TENSORS, "critic": {"out.weight": torch.ones(1)}, "epoch": 3}, tmp_path / "own.pth")
    found = checkpoints.read_tensors(tmp_path / "own.pth")
    assert found.keys() == {f"generator.{key}" for key in TENSORS} | {"critic.out.weight"}


def test_a_pickled_model_and_damaged_files_are_refused(tmp_path):
    torch.save(torch.nn.Linear(50, 50), tmp_path / "object.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "object.pth").read_bytes()[:1000])
    (tmp_path / "cut.safetensors").write_bytes(b"\x08\0\0\0")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    for name, expected in {
        "object.pth": r"may run code.*model\.state_dict\(\)",
        "cut.pth": "damaged",
        "cut.safetensors": "damaged",
        "empty.pth": "found epoch",
    }.items():
        with pytest.raises(IceboxError, match=expected):
            checkpoints.read_tensors(tmp_path / name)


@pytest.mark.parametrize("suffix", [".pth", ".ckpt", ".safetensors"])
def test_whatever_a_damaged_file_raises_is_one_line(tmp_path, suffix):
    path = tmp_path / f"own{suffix}"
    if suffix == ".safetensors":
        save_file(TENSORS, path)
    else:
        torch.save(TENSORS, path, _use_new_zipfile_serialization=suffix == ".ckpt")
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    refused = []
    for _ in range(150):
        damaged = bytearray(whole[: random.integers(1, len(whole) + 1)])
        for position in random.integers(0, len(damaged), 8):
            damaged[position] = random.integers(0, 256)
        path.write_bytes(damaged)
        try:
            checkpoints.read_tensors(path)
        except IceboxError as error:
            refused.append(str(error))
    assert len(refused) > 100
    assert all("\n" not in line and line.count(str(path)) == 1 for line in refused)


def test_a_file_is_downloaded_once(hub, server):
    folder, url = server
    (folder / "own.pth").write_bytes(b"weights")
    path = checkpoints.download(f"{url}/own.pth")
    (folder / "own.pth").unlink()
    assert checkpoints.download(f"{url}/own.pth") == path == hub / "own.pth"
    assert path.read_bytes() == b"weights"


def test_without_a_network_the_error_says_what_to_bring_and_where_to_put_it(hub, server):
    _, url = server
    with pytest.raises(IceboxError) as caught:
        checkpoints.download(f"{url}/resnet18-f37072fd.pth")
    for expected in (f"{url}/resnet18-f37072fd.pth", "404", str(hub), "`weights: path/to/resnet18-f37072fd.pth`"):
        assert expected in str(caught.value)
    with pytest.raises(IceboxError, match="could not fetch http://127"):
        checkpoints.download("http://127.0.0.1:9/resnet18-f37072fd.pth")


def test_a_download_that_is_not_what_its_name_says_is_refused(hub, server):
    folder, url = server
    (folder / "resnet18-f37072fd.pth").write_bytes(b"a login page")
    with pytest.raises(IceboxError, match="invalid hash value"):
        checkpoints.download(f"{url}/resnet18-f37072fd.pth")
    assert list(hub.iterdir()) == []
    (hub / "resnet18-f37072fd.pth").write_bytes(b"an older login page")
    with pytest.raises(IceboxError, match=r"starts with f37072fd, found .*; delete it"):
        checkpoints.download(f"{url}/resnet18-f37072fd.pth")


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", "git lfs pull fetches"),
        (b"\n<!DOCTYPE html><title>Sign in</title>", "a page of the web"),
        (b"", "it is empty"),
        (b"text", "damaged, or not a weights file"),
    ],
)
def test_what_lies_in_a_weights_files_place_is_called_by_its_name(tmp_path, name, content, advice):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(IceboxError, match=advice) as caught:
        checkpoints.read_tensors(tmp_path / name)
    assert "\n" not in str(caught.value)
