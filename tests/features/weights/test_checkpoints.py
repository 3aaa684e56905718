import functools
import http.server
import threading

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


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".th"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: tensors,
        lambda tensors: {"state_dict": {f"module.{key}": value for key, value in tensors.items()}, "epoch": 3},
        lambda tensors: {"model": tensors, "args": {"lr": 0.1}},
        lambda tensors: {f"module._orig_mod.{key}": value for key, value in tensors.items()},
    ],
    ids=["plain", "DataParallel", "training script", "compiled"],
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
