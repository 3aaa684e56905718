import math

import pytest
import torch

from icebox.features.models import language_model
from icebox.features.models.language_model import CarriedStates, LSTMLanguageModel, mean_nll


@pytest.fixture
def network(monkeypatch) -> LSTMLanguageModel:
    monkeypatch.setattr(language_model, "CUTOFFS", (5, 9))
    torch.manual_seed(0)
    return LSTMLanguageModel(words=12, width=8, hidden=6, layers=2, dropout=0.5).eval()


def test_perplexity_is_that_of_one_pass_over_the_whole_text_whatever_the_pieces(network, monkeypatch):
    text = torch.randint(12, (23,))
    with torch.no_grad():
        states, _ = network(torch.cat([torch.tensor([3]), text[:-1]])[None])
        log_p = network.softmax.log_prob(states[0])  # (t, v), all of it
    assert log_p.exp().sum(1) == pytest.approx(torch.ones(23), abs=1e-5)
    expected = -log_p[torch.arange(23), text].mean().item()
    assert mean_nll(network, text, first=3) == pytest.approx(expected, rel=1e-5)
    monkeypatch.setattr(language_model, "EVALUATION_TOKENS", 4)
    assert mean_nll(network, text, first=3) == pytest.approx(expected, rel=1e-5)


def test_a_network_that_knows_nothing_has_the_perplexity_of_its_vocabulary(monkeypatch):
    monkeypatch.setattr(language_model, "CUTOFFS", ())  # all words but one in the shortlist, the last a group of one
    network = LSTMLanguageModel(words=12, width=8, hidden=6, layers=1).eval()
    torch.nn.init.zeros_(network.softmax.head.weight)
    torch.nn.init.zeros_(network.softmax.head.bias)
    assert math.exp(mean_nll(network, torch.arange(12), first=0)) == pytest.approx(12, rel=1e-4)


def test_words_are_read_by_the_vectors_that_predict_them(network):
    tokens = torch.tensor([[0, 4, 5, 8, 9, 11]])
    (narrow1, wide1), (narrow2, wide2) = network.tails()
    rows = [*network.softmax.head.weight[[0, 4]], *(wide1[[0, 3]] @ narrow1), *(wide2[[0, 2]] @ narrow2)]
    torch.testing.assert_close(network.embed(tokens)[0], torch.stack(rows) * math.sqrt(8))


def test_dropout_is_the_same_at_every_position_and_another_for_every_text(network):
    network.train()
    x = network.locked_dropout(torch.ones(4, 10, 8))
    assert (x == x[:, :1]).all()
    assert set(x.unique().tolist()) == {0.0, 2.0}
    assert len(x[:, 0].unique(dim=0)) > 1
    network.eval()
    assert (network.locked_dropout(torch.ones(1, 2, 8)) == 1).all()


def test_states_are_carried_without_the_graph_that_made_them(network):
    carried = CarriedStates(network, batch_size=2)
    _, states = network(torch.tensor([[1, 2], [3, 4]]), carried.get())
    carried.set(states)
    assert not carried.get()[0][0].requires_grad
    torch.testing.assert_close(carried.get()[1][0], states[1][0])
    assert set(carried.state_dict()) == {"h0", "c0", "h1", "c1"}
    carried.set(None)
    assert not any(tensor.any() for pair in carried.get() for tensor in pair)
