import pytest
import torch

from icebox.features.errors import IceboxError
from icebox.features.weights import matching

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
    network = {key: torch.zeros(2) for key in expected} | {expected[-1]: torch.zeros((), dtype=torch.int64)}
    taken = matching.fit(tensors, network, "own.pth", "own.pth", without=("extra",))
    assert all(torch.equal(taken[key], tensors[prefix + key]) for key in PARTS)
    left = [key.removeprefix("module.") for key in tensors if key not in {prefix + part for part in PARTS}]
    (line,) = caplog.messages
    assert line.startswith(f"own.pth: taken are {'3 of' if left else 'all'} {len(tensors)} tensors")
    assert (f" under '{prefix.removeprefix('module.')}'" in line) == bool(prefix)
    assert not left or f"; left are {left[0]}" in line


def test_networks_that_nothing_chooses_from_are_named():
    with pytest.raises(IceboxError, match=r"own\.pth holds this network 2 times, under a\., b\.; save the one"):
        matching.take(under("a.", "b."), PARTS, "own.pth")


def test_where_names_are_missing_the_errors_are_about_those_under_the_most_likely_prefix():
    tensors = under("model.")
    del tensors["model.norm.bias"]
    assert matching.take(tensors, PARTS, "own.pth").keys() == PARTS.keys() - {"norm.bias"}


def test_keys_that_are_missing_unexpected_or_of_another_shape_are_named():
    expected = {"a": torch.zeros(2), "b": torch.zeros(2), "c": torch.zeros(3, 1)}
    with pytest.raises(IceboxError) as caught:
        matching.match_to_network(
            {"a": torch.zeros(2), "c": torch.zeros(3, 2), "d": torch.zeros(1)}, expected, "own.pth"
        )
    assert str(caught.value) == (
        "own.pth: missing: b; unexpected: d; of another shape: c (expected (3, 1), found (3, 2))"
    )


def test_of_many_keys_only_the_first_are_named():
    with pytest.raises(IceboxError, match=r"missing: k0, k1, k2, k3, k4 and 95 more$"):
        matching.match_to_network({}, {f"k{number}": torch.zeros(1) for number in range(100)}, "own.pth")


def test_tensors_come_out_as_float32_with_the_counters_that_old_files_lack():
    expected = {"weight": torch.zeros(2), "norm.num_batches_tracked": torch.zeros((), dtype=torch.int64)}
    found = matching.match_to_network({"weight": torch.ones(2, dtype=torch.float64)}, expected, "own.pth")
    assert found["weight"].dtype == torch.float32
    assert found["norm.num_batches_tracked"] == 0


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda key: f"_orig_mod.{key}",
        lambda key: f"module._orig_mod.model.{key}",
        lambda key: key.replace("layer.0.", "layer.0._orig_mod."),
        lambda key: key.replace("layer.0.", "_fsdp_wrapped_module.layer._checkpoint_wrapped_module.0."),
        lambda key: f"backbone.{key.replace('layer.0.', 'layer.0.module.')}",
        lambda key: f"0.auto_model.encoder.{key}",
    ],
)
def test_whatever_wrappers_left_in_the_names_is_taken_off(wrapped):
    tensors = {wrapped(key): value for key, value in under("").items()}
    assert matching.take(tensors, PARTS, "own.pth").keys() == PARTS.keys()


@pytest.mark.parametrize("prefix", ["", "model.", "net.", "wrapped.model."])
def test_a_network_whose_own_names_have_a_prefix_takes_those_without_or_with_another(prefix):
    expected = {f"model.{key}": value for key, value in PARTS.items()}
    tensors = {f"{prefix}{key}": value for key, value in PARTS.items()} | {"head.weight": torch.ones(1)}
    taken = matching.take(tensors, expected, "own.pth", without=("head.", "model.head."))
    assert taken.keys() == expected.keys()


def test_parameters_that_were_pruned_are_taken_with_their_mask():
    mask = torch.tensor([0.0, 1.0])
    tensors = under("") | {"conv.weight_orig": torch.full((2,), 3.0), "conv.weight_mask": mask}
    del tensors["conv.weight"]
    assert torch.equal(matching.fit(tensors, PARTS, "own.pth", "own.pth")["conv.weight"], mask * 3)


def test_quantized_parameters_are_no_parameters():
    tensors = under("") | {"conv.weight": torch.ones(2, dtype=torch.int8)}
    with pytest.raises(IceboxError, match=r"^own\.pth: quantized: conv\.weight$"):
        matching.fit(tensors, PARTS, "own.pth", "own.pth")


def test_a_classifier_of_another_size_or_form_is_left_and_told(caplog):
    caplog.set_level("INFO", "icebox")
    tensors = under("model.") | {"model.fc.0.weight": torch.ones(7, 2), "model.fc.2.weight": torch.ones(3, 7)}
    assert matching.fit(tensors, PARTS, "own.pth", "own.pth", without=("fc.",)).keys() == PARTS.keys()
    assert caplog.messages == [
        "own.pth: taken are 3 of 5 tensors under 'model.'; left are model.fc.0.weight, model.fc.2.weight"
    ]
