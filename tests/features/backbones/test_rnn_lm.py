import numpy as np
import pytest
import torch

from icebox.features.backbones import rnn_lm
from icebox.features.errors import IceboxError, ItemError
from icebox.pipeline.training.pretrain_loop import pretrain
from tests import learnable


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("rnn_lm")
    learner = rnn_lm.pretraining(
        data=learnable.texts(), epochs=25, batch_size=2, tokens=10, width=16, layers=1, dropout=0.0, learning_rate=0.05
    )
    return made, pretrain(learner, made, family="rnn_lm"), learner


def test_it_learns_a_text_that_repeats_itself(folder):
    _, scores, learner = folder
    assert scores["perplexity_test"] < 3 < len(learner.vocabulary) / 5
    assert scores["perplexity_test"] == scores["perplexity_val"]  # the same text


def test_it_writes_what_it_has_read(folder):
    made, _, _ = folder
    text = str(rnn_lm.generator(made, device="cpu").make([""], seed=0)[0])
    assert "the sea" in text
    assert "<unk>" not in text
    judge = rnn_lm.judge(made, device="cpu")
    assert judge.perplexity(["The old man went to the sea"]) < judge.perplexity(["sea the to went man old The"])


def test_every_place_of_the_text_is_trained_on_once_an_epoch(folder):
    _, _, learner = folder
    text = learner.text["train"]
    seen = np.concatenate([learner.batch(3, i)[:, 1:].flatten() for i in range(learner.steps_per_epoch)])
    assert len(text) - len(seen) < 2 * learner.batch_size * learner.tokens
    one, following = learner.batch(3, 0), learner.batch(3, 1)
    assert one[:, -1].tolist() == following[:, 0].tolist()  # the states carried over fit
    assert not np.array_equal(learner.batch(3, 0), learner.batch(4, 0))


def test_words_never_seen_are_one_word_and_the_last_words_state_is_a_feature(folder):
    made, _, _ = folder
    network = rnn_lm.load(
        made, outputs=["last:final", "last:mean", "last:max", "layers.0:final", "words:max"], device="cpu"
    )
    assert network.prepare("the Zwieback went") == network.prepare("the quagga went")
    unknown = [network.is_mostly_unknown(network.prepare(text)) for text in ("the Zwieback", "Zwieback quagga the", "")]
    assert unknown == [False, True, False]
    texts = [network.prepare(text) for text in ("the old man", "the old man went", "")]
    found = network.encode(texts)
    assert {name: values.shape for name, values in found.items()} == dict.fromkeys(network.outputs, (3, 16))
    np.testing.assert_array_equal(found["last:final"], found["layers.0:final"])
    assert (found["last:max"] >= found["last:mean"]).all()
    numbers = torch.tensor([[network.number[word] for word in ("the", "old", "man")]])
    vectors = rnn_lm.load_network(made).embed(numbers).detach().numpy()
    np.testing.assert_allclose(found["words:max"][0], vectors[0].max(0), rtol=1e-5)
    np.testing.assert_allclose(found["last:final"][2], found["last:mean"][2])  # of "" only what stands before a line


def test_what_is_no_text_and_a_dataset_of_pictures_are_refused(folder):
    made, _, _ = folder
    with pytest.raises(ItemError, match="expected a text"):
        rnn_lm.load(made, outputs=["last:final"], device="cpu").prepare(b"text")
    with pytest.raises(IceboxError, match="holds images"):
        rnn_lm.pretraining(data=learnable.pictures())
