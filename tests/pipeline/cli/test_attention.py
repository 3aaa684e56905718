import re

import pytest
import torch
from torch import nn

from icebox.features.compat import allow_mismatched_torchvision
from icebox.features.nn.layer_outputs import LAST
from icebox.pipeline.cli import attention_layers
from icebox.pipeline.cli.app import main
from icebox.pipeline.cli.describe import recording_hook

allow_mismatched_torchvision()
transformers = pytest.importorskip("transformers")
SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 50}
NETWORKS = {
    "bert": SIZE,
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 50, "bos_token_id": 0, "eos_token_id": 0},
    "llama": SIZE | {"num_key_value_heads": 2},
    "qwen2": SIZE | {"num_key_value_heads": 1},
    "qwen3": SIZE | {"num_key_value_heads": 2, "head_dim": 16},
    "phi3": SIZE | {"num_key_value_heads": 2, "pad_token_id": 0},
    "mpnet": SIZE,
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "vocab_size": 50},
    "vit": SIZE | {"image_size": 32, "patch_size": 8},
    "dinov2": SIZE | {"image_size": 32, "patch_size": 8},
    "falcon": SIZE | {"bos_token_id": 0, "eos_token_id": 0},
}
HEADS = {"qwen2": 1, "falcon": 1, "llama": 2, "qwen3": 2, "phi3": 2}


def rows(text: str) -> dict[str, tuple[tuple[int, ...], int]]:
    """{step: (shape, parameters)} of a table; of steps that share a name the last."""
    table = {}
    for line in text.splitlines():
        if match := re.match(r"(.*?) {2,}(?:\([a-z, ·]+\))? *(\([\d, ]+\)) *([\d,]*)", line):
            name, shape, parameters = match.groups()
            shape = tuple(int(size) for size in shape.strip("()").split(",") if size.strip())
            table[name.strip()] = (shape, int(parameters.replace(",", "") or 0))
    return table


def total(text: str) -> int:
    """The sum under a table."""
    return int(re.search(r"^all.*?([\d,]+)$", text, re.MULTILINE)[1].replace(",", ""))


@pytest.fixture
def describe(tmp_path, monkeypatch, capsys):
    """What `describe attention` prints, in a folder that is no project."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, fails: bool = False) -> str:
        assert main(["describe", "attention", *arguments]) == (1 if fails else 0)
        printed = capsys.readouterr()
        return printed.err if fails else printed.out

    return run


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("batch", "length", "hidden", "heads"), [(10, 90, 20, 5), (1, 1, 8, 8), (3, 7, 12, 1)])
def test_a_layer_of_numbers_is_torchs_multihead_attention(describe, batch, length, hidden, heads, bias):
    numbers = ["--batch", str(batch), "--length", str(length), "--hidden", str(hidden), "--heads", str(heads)]
    text = describe(*numbers, *([] if bias else ["--no-bias"]))
    table, plus = rows(text), " + b" if bias else ""
    module = nn.MultiheadAttention(hidden, heads, bias=bias, batch_first=True)
    x = torch.zeros(batch, length, hidden)
    output, maps = module(x, x, x, average_attn_weights=False)
    assert total(text) == sum(p.numel() for p in module.parameters())
    assert table[f"output Z·Wo{plus and plus + 'o'}"][0] == table["dropout of the output"][0] == tuple(output.shape)
    assert table["attention map, softmax over t"][0] == table["dropout of the map"][0] == tuple(maps.shape)
    assert table["map of one head"][0] == tuple(maps[:, 0].shape)
    for letter, weight in zip("qkv", module.in_proj_weight.chunk(3), strict=True):
        shape, parameters = table[f"{letter.upper()} = X·W{letter}{plus and plus + letter}"]
        assert shape == tuple((x @ weight.T).shape)
        assert parameters == weight.numel() + bias * hidden
        in_heads = (x @ weight.T).unflatten(-1, (heads, -1)).transpose(1, 2)
        assert table[f"{letter.upper()} in heads"][0] == tuple(in_heads.shape)
    assert table["Q of one head"][0] == tuple(in_heads[:, 0].shape)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("width", [1, 33, 80])
def test_with_a_feed_forward_width_it_is_torchs_encoder_layer(describe, width, bias):
    numbers = ["--batch", "2", "--length", "9", "--hidden", "20", "--heads", "5", "--feed-forward", str(width)]
    text = describe(*numbers, *([] if bias else ["--no-bias"]))
    layer = nn.TransformerEncoderLayer(20, 5, width, bias=bias, batch_first=True)
    shapes = {}
    for name in ("linear1", "dropout", "linear2", "dropout2", "norm1", "norm2"):
        layer.get_submodule(name).register_forward_hook(recording_hook(shapes, name))
    layer(torch.zeros(2, 9, 20))
    table, plus = rows(text), " + b{}" if bias else ""
    assert total(text) == sum(p.numel() for p in layer.parameters())
    steps = {
        "linear1": f"feed-forward A·W1{plus.format(1)}",
        "dropout": "activation, dropout: H",
        "linear2": f"H·W2{plus.format(2)}",
        "dropout2": "dropout of the feed-forward",
        "norm1": "A = layer norm of X + output",
        "norm2": "layer norm of A + feed-forward",
    }
    for name, step in steps.items():
        parameters = sum(p.numel() for p in layer.get_submodule(name).parameters())
        assert table[step] == (shapes[name], parameters), name


def test_keys_and_values_of_other_tokens_are_cross_attention(describe):
    text = describe("--batch", "2", "--length", "9", "--memory", "4", "--hidden", "20", "--heads", "5")
    module = nn.MultiheadAttention(20, 5, batch_first=True)
    _, maps = module(torch.zeros(2, 9, 20), *[torch.zeros(2, 4, 20)] * 2, average_attn_weights=False)
    table = rows(text)
    assert text.startswith("Cross-attention")
    assert table["attention map, softmax over s"][0] == tuple(maps.shape) == (2, 5, 9, 4)
    assert table["K = M·Wk + bk"][0] == (2, 4, 20)


def test_fewer_heads_of_keys_are_grouped_query_attention(describe):
    text = describe("--batch", "2", "--length", "9", "--hidden", "32", "--heads", "4", "--kv-heads", "2", "--no-bias")
    layer = transformers.AutoModel.from_config(
        transformers.AutoConfig.for_model("llama", **SIZE, num_key_value_heads=2)
    ).layers[0]
    assert total(text) == sum(p.numel() for p in layer.self_attn.parameters())
    assert rows(text)["K in heads, each for 2 heads of Q"][0] == (2, 2, 9, 8)


def test_a_causal_layer_tells_how_much_of_its_maps_is_left(describe):
    text = describe("--length", "90", "--hidden", "20", "--heads", "5", "--causal")
    mask = nn.Transformer.generate_square_subsequent_mask(90)
    assert f"{int((mask == 0).sum()):,} of each map's {mask.numel():,} weights" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hidden", "20", "--heads", "6"], "--heads: expected a divisor of --hidden 20"),
        (["--hidden", "20", "--heads", "6"], "found 6; try 2, 4, 5"),
        (["--hidden", "20", "--heads", "40"], "found 40; try 5, 10, 20"),
        (["--hidden", "20", "--heads", "4", "--kv-heads", "3"], "--kv-heads: expected a divisor of --heads 4"),
        (["--hidden", "20"], "expected --hidden and --heads, found no --heads"),
        ([], "found no --hidden and no --heads"),
        (["--hidden", "20", "--heads", "0"], "--heads: expected 1 or more, found 0"),
        (["--hidden", "20", "--heads", "5", "--feed-forward", "-1"], "--feed-forward: expected 1 or more, found -1"),
        (["--hidden", "20", "--heads", "5", "--size", "64"], "--size: is for backbones that take images"),
        (["--hidden", "20", "--heads", "5", "--memory", "4", "--causal"], "--causal: is for self-attention"),
    ],
)
def test_numbers_that_make_no_layer_are_one_line(describe, arguments, message):
    printed = describe(*arguments, fails=True)
    assert message in printed
    assert printed.count("\n") == 1


def shapes_of(network: nn.Module, **inputs: torch.Tensor) -> dict[str, tuple[int, ...]]:
    """Shapes of what each module returns."""
    shapes: dict[str, tuple[int, ...]] = {}
    hooks = [
        module.register_forward_hook(recording_hook(shapes, name or LAST)) for name, module in network.named_modules()
    ]
    with torch.no_grad():
        network(**inputs)
    for hook in hooks:
        hook.remove()
    return shapes


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_attention_of_a_network_is_that_of_its_own_maps(kind):
    config = transformers.AutoConfig.for_model(kind, **NETWORKS[kind], attn_implementation="eager")
    network = transformers.AutoModel.from_config(config).eval()
    image = kind in ("vit", "dinov2")
    inputs = {"pixel_values": torch.zeros(3, 3, 32, 32)} if image else {"input_ids": torch.full((3, 7), 5)}
    modules = {name or LAST: module for name, module in network.named_modules()}
    (text,) = attention_layers.texts(modules, shapes_of(network, **inputs), items=3)
    with torch.no_grad():
        maps = network(**inputs, output_attentions=True).attentions
    table = rows(text)
    assert "(2 layers alike)" in text
    assert table["attention map, softmax over t"][0] == tuple(maps[0].shape)
    keys = next(shape for step, (shape, _) in table.items() if step.startswith("K in heads"))
    assert keys[1] == HEADS.get(kind, 4)
    layers = next(module for module in network.modules() if isinstance(module, nn.ModuleList))
    assert total(text) == sum(p.numel() for p in layers[0].parameters())
    assert ("causal" in text.splitlines()[1]) == (maps[0][0, 0, 0, 1] == 0)
    factor = re.search(r"scores Q·Kᵀ / √(\d+)", text)
    assert int(factor[1]) == (16 if kind == "qwen3" else 8)


def test_torchs_own_layers_are_described_too():
    layer = nn.TransformerEncoderLayer(20, 5, 33, batch_first=True)
    network = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False).eval()
    modules = {name or LAST: module for name, module in network.named_modules()}
    (text,) = attention_layers.texts(modules, shapes_of(network, src=torch.zeros(2, 9, 20)), items=2)
    assert text.startswith("layers.0, layers.1, layers.2 (3 layers alike)")
    assert total(text) == sum(p.numel() for p in layer.parameters())
    assert rows(text)["attention map, softmax over t"][0] == (2, 5, 9, 9)


def test_layers_that_differ_a_little_are_a_line():
    config = transformers.AutoConfig.for_model(
        "t5", d_model=32, num_layers=3, num_heads=4, d_kv=8, d_ff=48, vocab_size=50
    )
    network = transformers.AutoModel.from_config(config).encoder.eval()
    modules = {name or LAST: module for name, module in network.named_modules()}
    whole, line = attention_layers.texts(modules, shapes_of(network, input_ids=torch.full((2, 7), 5)), items=2)
    assert "scores Q·Kᵀ  " in whole  # T5 does not divide by the root
    assert line.startswith(
        "block.1, block.2 (2 layers alike): attention as in block.0, without layer.0.SelfAttention.rel"
    )


def test_a_network_without_attention_has_no_table():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    modules = {name or LAST: module for name, module in network.named_modules()}
    assert attention_layers.texts(modules, shapes_of(network, input=torch.zeros(1, 3, 8, 8)), items=1) == []
