import argparse
import functools
import http.server
import threading

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
        lambda tensors: {f"module._orig_mod.{key}": value for key, value in tensors.items()},
    ],
    ids=["plain", "DataParallel", "training script", "arguments", "teacher", "compiled"],
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


def test_keys_that_are_missing_unexpected_or_of_another_shape_are_named():
    expected = {"a": torch.zeros(2), "b": torch.zeros(2), "c": torch.zeros(3, 1)}
    with pytest.raises(IceboxError) as caught:
        checkpoints.match_to_network(
            {"a": torch.zeros(2), "c": torch.zeros(3, 2), "d": torch.zeros(1)}, expected, "own.pth"
        )
    assert str(caught.value) == (
        "own.pth: missing: b; unexpected: d; of another shape: c (expected (3, 1), found (3, 2))"
    )


def test_of_many_keys_only_the_first_are_named():
    with pytest.raises(IceboxError, match=r"missing: k0, k1, k2, k3, k4 and 95 more$"):
        checkpoints.match_to_network({}, {f"k{number}": torch.zeros(1) for number in range(100)}, "own.pth")


def test_tensors_come_out_as_float32_with_the_counters_that_old_files_lack():
    expected = {"weight": torch.zeros(2), "norm.num_batches_tracked": torch.zeros((), dtype=torch.int64)}
    found = checkpoints.match_to_network({"weight": torch.ones(2, dtype=torch.float64)}, expected, "own.pth")
    assert found["weight"].dtype == torch.float32
    assert found["norm.num_batches_tracked"] == 0


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


PARTS = {key: torch.ones(2) for key in ("conv.weight", "layer.0.conv.weight", "norm.bias")}


def under(*prefixes: str, **others: torch.Tensor) -> dict[str, torch.Tensor]:
    return {f"{prefix}{key}": value + i for i, prefix in enumerate(prefixes) for key, value in PARTS.items()} | others


@pytest.mark.parametrize(
    ("tensors", "prefix"),
    [
        (under(""), ""),
        (under("", extra=torch.ones(1)), ""),
        (under("model.", **{"loss.weight": torch.ones(3)}), "model."),
        (under("module.encoder_k.", "module.encoder_q.", queue=torch.ones(3)), "module.encoder_q."),
        (under("student.backbone.", "teacher.backbone."), "teacher.backbone."),
        (under("net.online_encoder.", "net.target_encoder."), "net.online_encoder."),
        (under("0.encoder."), "0.encoder."),
    ],
)
def test_the_tensors_under_a_prefix_that_all_names_have_are_taken_and_told(tensors, prefix, caplog):
    caplog.set_level("INFO", "icebox")
    expected = [*PARTS, "norm.num_batches_tracked"]
    taken = checkpoints.without_prefix(tensors, expected, "own.pth")
    assert taken.keys() >= PARTS.keys()
    assert all(torch.equal(taken[key], tensors[prefix + key]) for key in PARTS)
    assert len(caplog.messages) == bool(prefix)
    assert not prefix or f"own.pth: taken are the tensors under '{prefix}'" in caplog.messages[0]


def test_networks_that_nothing_chooses_from_are_named():
    with pytest.raises(IceboxError, match=r"own\.pth holds this network 2 times, under a\., b\.; save the one"):
        checkpoints.without_prefix(under("a.", "b."), PARTS, "own.pth")


def test_where_names_are_missing_the_errors_are_about_those_under_the_most_likely_prefix():
    tensors = under("model.")
    del tensors["model.norm.bias"]
    assert checkpoints.without_prefix(tensors, PARTS, "own.pth").keys() == PARTS.keys() - {"norm.bias"}


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
