"""Training a small transformer from where its frozen part ends gives what training it whole gives."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pytest
import tokenizers
import torch
from torch import nn

from icebox.features import compat
from icebox.features.abc.backbone import write_settings
from icebox.features.backbones import transformers as family
from icebox.features.extraction.extract import extract
from icebox.features.nn.partial_forward import PartialForward
from icebox.features.store.feature_store import FeatureStore
from icebox.features.weights.transformers_models import silence
from icebox.pipeline.config.unfreeze import UnfreezeOptions
from icebox.pipeline.unfreezing.cached_inputs import CachedTexts
from icebox.pipeline.unfreezing.end_to_end import EndToEndModel
from icebox.pipeline.unfreezing.freezing_schedule import FreezingSchedule
from icebox.pipeline.unfreezing.inputs import PreparedItems
from icebox.pipeline.unfreezing.trainer import FineTuner
from tests.tiny import rows

WORDS = [f"w{i}" for i in range(20)]
TEXTS = [" ".join(WORDS[(3 * i + j) % 20] for j in range(1 + 7 * i % 12)) for i in range(40)]  # of 1 to 12 words
LABELS = np.arange(40) % 2


@pytest.fixture(params=["bert", "distilbert"])
def folder(request, tmp_path):
    """A network of four layers with dropout, as `fetch` would leave it."""
    compat.allow_mismatched_torchvision()
    import transformers

    torch.manual_seed(0)
    if request.param == "bert":
        sizes = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}
        network = transformers.BertModel(transformers.BertConfig(vocab_size=30, max_position_embeddings=16, **sizes))
    else:
        sizes = {"dim": 16, "n_layers": 4, "n_heads": 2, "hidden_dim": 32}
        config = transformers.DistilBertConfig(vocab_size=30, max_position_embeddings=16, **sizes)
        network = transformers.DistilBertModel(config)
    vocabulary = {token: i for i, token in enumerate(["[PAD]", "[UNK]", *WORDS])}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]", pad_token="[PAD]")
    with silence():
        network.save_pretrained(tmp_path / "tiny")
        tokenizer.save_pretrained(tmp_path / "tiny")
    weights = {"weights_file": "model.safetensors", "max_tokens": 16, "family": "transformers"}
    write_settings(tmp_path / "tiny", weights)
    return tmp_path / "tiny"


class Noted(FineTuner):
    """Keeps the loss of every step."""

    def train_step(self, *args):
        loss = super().train_step(*args)
        self.losses_of_steps = [*getattr(self, "losses_of_steps", []), loss]
        return loss


def run(folder, work, *, cut):
    """(the loss of every step, the curve) of training the last two blocks for three epochs."""
    network = family.load(folder, outputs=["last:mean"], device="cpu")
    torch.manual_seed(1)
    whole = EndToEndModel(network, nn.Linear(16, 2))
    how = UnfreezeOptions(free="last 2", epochs=3, batch_size=8, learning_rate=0.01)
    given = {"targets": LABELS, "score": lambda scores: {"accuracy": float((scores.argmax(1) == LABELS).mean())}}
    with ThreadPoolExecutor(1) as pool, ExitStack() as stack:
        items = PreparedItems(rows(*TEXTS), lambda source: source, network, pool)
        tried = items.inputs([items.item(i) for i in range(4)])[0]
        schedule = FreezingSchedule.for_backbone(network, how, tried)
        if cut:
            entered = PartialForward(network.layer_outputs, schedule.last_frozen_block, tried)
            items = CachedTexts(entered, extracted(folder, work, entered.block), np.arange(len(TEXTS)), items)
            stack.enter_context(entered.entered())
        training = Noted(whole, schedule, how, train=items, val=items, **given)
        progress = training.run(work)
        return training.losses_of_steps, progress.curve


def extracted(folder, work, block):
    """A store of what the block gives of each token."""
    backbone = family.load(folder, outputs=[f"{block}:tokens"], device="cpu")
    places = {"cache_root": work / "cache", "store": work / "store"}
    extract(rows(*TEXTS), read=lambda source: source, backbone=backbone, shard_rows=16, **places)
    return FeatureStore(work / "store")


def test_from_the_cut_every_step_of_a_text_network_has_the_loss_of_the_whole(folder, tmp_path):
    expected, plain = run(folder, tmp_path / "plain", cut=False)
    found, known = run(folder, tmp_path / "cut", cut=True)
    assert len(found) == 15
    assert found == pytest.approx(expected, rel=1e-5)
    assert [line["accuracy"] for line in known] == [line["accuracy"] for line in plain]
    assert found[-1] < found[0]
