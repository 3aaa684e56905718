"""The answers of heads as torch modules: features in, scores out, computed in the number formats of the head itself.

Linear maps and distances are in float64, where the head has float32: nearer to the exact result than either.

Letters: b batch, d features, k classes (or labels of a set), m margins: k, or 1 for two classes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

TINY = float(np.finfo(np.float64).tiny)


class Answers(nn.Module):
    """The head's scores (b, k) float64: probabilities, margins, or of a regression values (b, 1).

    `has_margins`: whether `margins` gives the decision function (b, m), as scikit-learn has it.
    """

    has_probabilities = True
    has_margins = False

    def margins(self, x: Tensor) -> Tensor:
        """Features (b, d) → (b, m)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Features (b, d) → (b, k)."""
        raise NotImplementedError


class Linear(nn.Module):
    """A linear map in float64, its numbers kept as they are."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Any, bias: Any) -> None:
        """`weight` (out, in), `bias` (out,)."""
        super().__init__()
        weight = np.atleast_2d(np.asarray(weight, np.float64))
        self.register_buffer("weight", torch.from_numpy(np.ascontiguousarray(weight.T)))
        self.register_buffer("bias", torch.from_numpy(np.atleast_1d(np.asarray(bias, np.float64)).copy()))

    def forward(self, x: Tensor) -> Tensor:
        """(b, in) → (b, out)."""
        return x.double() @ self.weight + self.bias


class Layers(nn.Module):
    """Linear maps with ReLU between them."""

    def __init__(self, layers: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        """Of each layer weights (in, out) and bias (out,)."""
        super().__init__()
        self.layers = nn.ModuleList([Linear(weight.T, bias) for weight, bias in layers])

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) → (b, out)."""
        for layer in list(self.layers)[:-1]:
            x = torch.relu(layer(x))
        outputs: Tensor = self.layers[-1](x)
        return outputs


class Values(Answers):
    """A regression's values."""

    has_probabilities = False

    def __init__(self, outputs: nn.Module) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) → (b, 1)."""
        values: Tensor = self.outputs(x)
        return values


class Margins(Answers):
    """A classifier without probabilities."""

    has_probabilities = False
    has_margins = True

    def __init__(self, outputs: nn.Module) -> None:
        super().__init__()
        self.outputs = outputs

    def margins(self, x: Tensor) -> Tensor:
        """(b, d) → (b, m)."""
        margins: Tensor = self.outputs(x)
        return margins

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) → (b, k): of two classes the margin, against and for."""
        margins = self.margins(x)
        return torch.cat([-margins, margins], dim=1) if margins.shape[1] == 1 else margins


class SetMargins(Margins):
    """Margins of labels, each by itself."""

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) → (b, k), also of one label."""
        return self.margins(x)


class Logits(Answers):
    """A classifier with a logit for each class; a single one is the second's, the first's is 0."""

    has_margins = True

    def __init__(self, outputs: nn.Module, *, as_margins: bool = True) -> None:
        """`as_margins`: whether the head has a decision function too."""
        super().__init__()
        self.outputs, self.has_margins = outputs, as_margins

    def logits(self, x: Tensor) -> Tensor:
        """(b, d) → (b, k)."""
        outputs: Tensor = self.outputs(x)
        return torch.cat([torch.zeros_like(outputs), outputs], dim=1) if outputs.shape[1] == 1 else outputs

    def margins(self, x: Tensor) -> Tensor:
        """(b, d) → (b, m)."""
        logits = self.logits(x)
        return logits[:, 1:] - logits[:, :1] if logits.shape[1] == 2 else logits

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) → (b, k)."""
        return torch.softmax(self.logits(x).double(), dim=1)


class SetLogits(Answers):
    """Sets of labels, with a logit for each."""

    has_margins = False

    def __init__(self, outputs: nn.Module) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) → (b, k)."""
        return torch.sigmoid(self.outputs(x).double())


class Shares(Answers):
    """Scores that `outputs` gives as they are: shares of votes, means of trees."""

    def __init__(self, outputs: nn.Module) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) → (b, k)."""
        shares: Tensor = self.outputs(x)
        return shares


class JointLogLikelihood(nn.Module):
    """Gaussian naive Bayes: the log of each class's density and prior."""

    weight: Tensor
    linear: Tensor
    bias: Tensor

    def __init__(self, model: Any) -> None:
        super().__init__()
        precision = 1 / np.asarray(model.var_, np.float64)  # (k, d)
        constant = np.log(model.class_prior_) - 0.5 * np.log(2 * np.pi * model.var_).sum(axis=1)
        constant -= 0.5 * (precision * model.theta_**2).sum(axis=1)
        self.register_buffer("weight", torch.from_numpy(np.ascontiguousarray(-0.5 * precision.T)))
        self.register_buffer("linear", torch.from_numpy(np.ascontiguousarray((precision * model.theta_).T)))
        self.register_buffer("bias", torch.from_numpy(constant))

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) → (b, k)."""
        x = x.double()
        return (x * x) @ self.weight + x @ self.linear + self.bias


class Neighbors(nn.Module):
    """Votes of the nearest train items, which are part of the network.

    `weigh`: uniform, distance (by its inverse) or squares (by that of its square).
    """

    items: Tensor
    votes: Tensor

    def __init__(self, items: np.ndarray, votes: np.ndarray, *, neighbors: int, weigh: str) -> None:
        """`items` (n, d), `votes` (n, k)."""
        super().__init__()
        self.neighbors, self.weigh = min(neighbors, len(items)), weigh
        self.register_buffer("items", torch.from_numpy(np.ascontiguousarray(items)))
        self.register_buffer("votes", torch.from_numpy(np.ascontiguousarray(votes, np.float64)))

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) → (b, k)."""
        items, x = self.items.double(), x.double()
        squares = (items * items).sum(1) - 2 * (x @ items.T)  # without the item's own, the same for all
        nearest = torch.topk(squares, self.neighbors, dim=1, largest=False).indices  # (b, neighbors)
        votes = self.votes[nearest]  # (b, neighbors, k)
        if self.weigh == "uniform":
            return votes.mean(1)
        differences = x[:, None] - items[nearest]  # anew: of equal items exactly 0
        distances = (differences * differences).sum(2)
        if self.weigh == "distance":
            distances = torch.sqrt(distances)
        same = distances == 0
        weights = torch.where(
            same.any(1, keepdim=True), same.double(), 1 / torch.where(same, torch.ones_like(distances), distances)
        )
        return (votes * weights[..., None]).sum(1) / weights.sum(1, keepdim=True)


class Behind(Answers):
    """Answers behind a preprocessing of their features."""

    def __init__(self, preprocessing: nn.Module, answers: Answers) -> None:
        super().__init__()
        self.preprocessing, self.answers = preprocessing, answers
        self.has_probabilities, self.has_margins = answers.has_probabilities, answers.has_margins

    def margins(self, x: Tensor) -> Tensor:
        """(b, d) → (b, m)."""
        return self.answers.margins(self.preprocessing(x))

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) → (b, k)."""
        scores: Tensor = self.answers(self.preprocessing(x))
        return scores


class Widened(Answers):
    """Answers over some of the classes as answers over all: others have no probability, or the lowest margin."""

    places: Tensor

    def __init__(self, answers: Answers, known: np.ndarray, classes: int) -> None:
        super().__init__()
        self.answers, self.has_probabilities, self.has_margins = answers, answers.has_probabilities, answers.has_margins
        places = np.full(classes, len(known))
        places[known] = np.arange(len(known))
        self.register_buffer("places", torch.from_numpy(places))

    def margins(self, x: Tensor) -> Tensor:
        """(b, d) → (b, m) of the known classes."""
        return self.answers.margins(x)

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) → (b, k)."""
        scores = self.answers(x)
        other = 0.0 if self.has_probabilities else -torch.inf
        widened: Tensor = torch.cat([scores, torch.full_like(scores[:, :1], other)], dim=1)[:, self.places]
        return widened


class Mean(Answers):
    """The mean of several heads' probabilities."""

    def __init__(self, members: Sequence[Answers]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) → (b, k)."""
        mean = torch.stack([summing_to_one(member(x)) for member in self.members]).mean(0)
        return summing_to_one(mean)


class MeanOfLabels(Mean):
    """The mean of several heads' probabilities of labels, each by itself."""

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) → (b, k)."""
        return torch.stack([member(x).float().double() for member in self.members]).mean(0)


def summing_to_one(scores: Tensor) -> Tensor:
    """Probabilities (b, k) float64 whose rows sum to 1."""
    scores = scores.double()
    return scores / scores.sum(1, keepdim=True)
