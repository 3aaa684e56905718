import numpy as np
import pytest

from icebox.features import plugins
from icebox.features.datasets.sequences import Source, simulate_response
from icebox.features.errors import IceboxError
from icebox.pipeline.config import plugin_schema


def test_the_response_is_the_process_as_written_down():
    x = np.array([[1.0, 0], [0.5, -1]])
    a, b = np.array([1.0, 0]), np.array([0, 1.0])
    first = (1 + np.sin(2 * np.pi / 16) / 2) * np.tanh(1.0)
    second = 0.9 * first + (1 + np.sin(4 * np.pi / 16) / 2) * np.tanh(0.5) * (1 + 0.0 / 2)
    assert simulate_response(x, a, b) == pytest.approx(second / 3)
    third = 0.9 * second + (1 + np.sin(6 * np.pi / 16) / 2) * np.tanh(0.2) * (1 - 1.0 / 2)
    assert simulate_response(np.vstack([x, [0.2, 0]]), a, b) == pytest.approx(third / 3)


def test_equal_seeds_give_equal_sequences_of_every_length_asked_for():
    first, second, other = (Source(number=300, seed=seed) for seed in (0, 0, 1))
    items = list(first.items())
    assert items == list(second.items()) != list(other.items())
    np.testing.assert_array_equal(first.read("7"), second.read("7"))
    lengths = [len(first.read(item.source)) for item in items]
    assert (min(lengths), max(lengths)) == (8, 40)


def test_a_file_of_arrays_is_read_without_pickle(tmp_path):
    x, offsets, y = np.arange(12.0).reshape(6, 2), np.array([0, 2, 6]), np.array([0.5, -1])
    np.savez(tmp_path / "s.npz", x=x, offsets=offsets, y=y)
    source = Source(path=tmp_path / "s.npz")
    assert [item.label for item in source.items()] == ["0.5", "-1"]
    np.testing.assert_array_equal(source.read("1"), x[2:])
    np.savez(tmp_path / "bad.npz", x=np.array([{}], dtype=object), offsets=offsets, y=y)
    np.savez(tmp_path / "short.npz", x=x, offsets=offsets, y=y[:1])
    np.savez(tmp_path / "lacks.npz", x=x, offsets=offsets)
    for name, message in (
        ("bad.npz", "without pickled objects"),
        ("short.npz", "expected x"),
        ("absent.npz", "no file"),
        ("lacks.npz", "found no y"),
    ):
        with pytest.raises(IceboxError, match=message):
            list(Source(path=tmp_path / name).items())


@pytest.mark.parametrize("cut", [0, 10, 200, -40, -4])
def test_a_damaged_archive_is_one_line(tmp_path, cut):
    np.savez_compressed(tmp_path / "s.npz", x=np.ones((6, 2)), offsets=np.array([0, 2, 6]), y=np.array([0.5, -1]))
    (tmp_path / "s.npz").write_bytes((tmp_path / "s.npz").read_bytes()[:cut])
    with pytest.raises(IceboxError, match="can't be read as") as caught:
        list(Source(path=tmp_path / "s.npz").items())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("offsets", "y"),
    [
        (np.array([0, 4, 2, 6], np.uint64), np.array([1.0, 2, 3])),
        (np.array([0.0, 2, 6]), np.array([1.0, 2])),
        (np.array([0, 2, 6]), np.array(["a", "b"])),
        (np.array([[0, 2, 6]]), np.array([1.0, 2])),
    ],
)
def test_arrays_that_make_no_sequences_are_refused(tmp_path, offsets, y):
    np.savez(tmp_path / "s.npz", x=np.ones((6, 2)), offsets=offsets, y=y)
    with pytest.raises(IceboxError, match=r"expected x .*all numbers, found"):
        list(Source(path=tmp_path / "s.npz").items())


def recurrent(folder, **how):
    family = plugins.load("icebox.features.backbones", "recurrent")
    family.fetch(folder, **how)
    return family.load(folder, outputs=["last"], device="cpu")


def test_padding_changes_no_state(tmp_path):
    random = np.random.default_rng(0)
    short, long = (random.normal(size=(length, 10)).astype(np.float32) for length in (3, 9))
    for kind in ("shared", "padded"):
        network = recurrent(tmp_path / kind, kind=kind, steps=9)
        alone = network.encode([network.prepare(short)])["last"]
        beside = network.encode([network.prepare(short), network.prepare(long)])["last"]
        np.testing.assert_allclose(alone[0], beside[0], atol=1e-6)


def test_a_vanilla_rnn_is_torchs_own(tmp_path):
    import torch

    network = recurrent(tmp_path, kind="shared", hidden=5)
    own = network.layer_outputs.network
    library = torch.nn.RNN(10, 5, batch_first=True)
    with torch.no_grad():
        library.weight_ih_l0.copy_(own.from_input[0].T)
        library.weight_hh_l0.copy_(own.from_state[0].T)
        library.bias_ih_l0.copy_(own.bias[0])
        library.bias_hh_l0.zero_()
    x = np.random.default_rng(0).normal(size=(6, 10)).astype(np.float32)
    expected = library(torch.from_numpy(x)[None])[1][0, 0].detach().numpy()
    np.testing.assert_allclose(network.encode([network.prepare(x)])["last"][0], expected, atol=1e-6)


def test_truncated_sees_only_the_first_steps_and_refuses_shorter_ones(tmp_path):
    network = recurrent(tmp_path, kind="truncated", steps=4)
    x = np.random.default_rng(0).normal(size=(6, 10)).astype(np.float32)
    np.testing.assert_array_equal(
        network.encode([network.prepare(x)])["last"], network.encode([network.prepare(x[:4])])["last"]
    )
    with pytest.raises(Exception, match="3 steps, shorter than"):
        network.prepare(x[:3])


@pytest.mark.parametrize(
    ("package", "name", "function", "parameters"),
    [
        ("datasets", "sequences", "Source.__init__", {"number": 0}),
        ("datasets", "sequences", "Source.__init__", {"length_min": 0}),
        ("backbones", "recurrent", "fetch", {"kind": "shared", "hidden": 0}),
        ("backbones", "recurrent", "fetch", {"kind": "padded", "steps": -1}),
        ("backbones", "steps", "fetch", {"steps": 0}),
    ],
)
def test_a_number_out_of_bounds_is_named_with_its_place_and_bound(package, name, function, parameters):
    key, value = list(parameters.items())[-1]
    with pytest.raises(IceboxError, match=rf"^{package}\.x\.{key}: expected int at least [01].*, found {value}$"):
        plugin_schema.check(
            plugins.file(f"icebox.features.{package}", name), function, parameters, where=f"{package}.x"
        )


def test_lengths_in_the_wrong_order_are_refused():
    with pytest.raises(IceboxError, match="expected 1 ≤ length_min ≤ length_max, found 9 and 8"):
        list(Source(length_min=9, length_max=8).items())
