import math

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from icebox.features.backbones import vae
from icebox.pipeline.training.pretrain_loop import pretrain
from tests import learnable


def test_the_divergence_is_that_of_the_distributions():
    mean, log_variance = torch.randn(5, 3), torch.randn(5, 3)
    posterior = Independent(Normal(mean, (log_variance / 2).exp()), 1)
    prior = Independent(Normal(torch.zeros(5, 3), torch.ones(5, 3)), 1)
    torch.testing.assert_close(vae.kl_divergence(mean, log_variance), kl_divergence(posterior, prior))


def test_the_likelihood_is_that_of_the_distribution():
    x, mean, spread = torch.rand(4, 1, 28, 28), torch.rand(4, 1, 28, 28), torch.rand(1, 28, 28) + 0.1
    torch.testing.assert_close(
        vae.gaussian_nats(x, mean, spread), -Normal(mean, spread.expand(4, 1, 28, 28)).log_prob(x)
    )


def test_the_bound_is_below_the_likelihood_and_meets_it_at_the_true_posterior():
    """x = z + noise, all numbers: evidence N(0, 1 + s²), posterior N(x / (1 + s²), s² / (1 + s²))."""
    x, s2 = torch.tensor(1.3), torch.tensor(0.25)
    evidence = Normal(0.0, (1 + s2).sqrt()).log_prob(x)
    torch.manual_seed(0)

    def bound(mean: torch.Tensor, variance: torch.Tensor) -> float:
        code = mean + torch.randn(200_000) * variance.sqrt()
        nats = vae.gaussian_nats(x, code, s2.sqrt()).mean()
        return float(-nats - vae.kl_divergence(mean[None, None], variance.log()[None, None])[0])

    assert bound(x / (1 + s2), s2 / (1 + s2)) == pytest.approx(evidence.item(), abs=5e-3)
    assert bound(x / 2, s2) < evidence - 0.05


def test_a_density_of_1_costs_all_bits_of_a_grey_level():
    assert vae.bits_per_dimension(0.0, 784) == 8
    assert vae.bits_per_dimension(-784 * math.log(256), 784) == 0


def test_dequantised_pictures_stay_within_their_grey_levels():
    learner = vae.pretraining(data=learnable.pictures(), epochs=1, batch_size=4, z=4, d=8, width=2)
    levels = learner.images["test"]
    assert torch.equal((learner.dequantize(levels) * 256).floor().to(torch.uint8), levels)


def test_it_learns_reports_its_bound_and_tells_two_kinds_apart(tmp_path):
    learner = vae.pretraining(
        data=learnable.pictures(), epochs=60, batch_size=10, learning_rate=0.003, z=4, d=16, width=4
    )
    before = learner.step(0)
    scores = pretrain(learner, tmp_path, family="vae")
    assert scores["elbo_nats_test"] > -before
    assert scores["elbo_nats_test"] == pytest.approx(
        scores["log_likelihood_nats_test"] - scores["kl_nats_test"], rel=1e-4
    )
    assert scores["bits_per_dimension_test"] == pytest.approx(
        vae.bits_per_dimension(-scores["elbo_nats_test"], 784), rel=1e-4
    )
    network = vae.load(tmp_path, outputs=["last"], device="cpu")
    data = learnable.pictures()
    means = network.encode([network.prepare(content) for content in data.contents("test")])["last"]
    sides = np.array(data.labels("test"))
    centres = {side: means[sides == side].mean(0) for side in ("left", "right")}
    nearer = [min(centres, key=lambda side: ((mean - centres[side]) ** 2).sum()) for mean in means]
    assert nearer == sides.tolist()
    sheets = vae.generator(tmp_path, device="cpu").comparison_rows(list(data.contents("test")), seed=0)
    assert {name: (len(rows), len(rows[0])) for name, rows in sheets.items()} == {
        "reconstructions": (2, 10),
        "walk": (5, 10),
    }
