"""On a backbone of four small blocks, whose numbers can be followed."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from icebox.features.errors import IceboxError
from icebox.features.nn.layer_outputs import Inputs, LayerOutputs
from icebox.features.nn.partial_forward import PartialForward
from icebox.pipeline.config.unfreeze import Lora, UnfreezeOptions
from icebox.pipeline.unfreezing import trainer
from icebox.pipeline.unfreezing.end_to_end import EndToEndModel
from icebox.pipeline.unfreezing.freezing_schedule import FreezingSchedule
from icebox.pipeline.unfreezing.trainer import FineTuner
from tests.pipeline.training.test_checkpoint import DAMAGE, saved, written

N, D = 96, 6


class Chain(nn.Sequential):
    """Four blocks with all that needs care: batch norm, dropout, an in-place ReLU."""

    def __init__(self) -> None:
        super().__init__(*(nn.Sequential(nn.Linear(D, D), nn.BatchNorm1d(D), nn.ReLU(inplace=True)) for _ in range(3)))
        self.append(nn.Sequential(nn.Linear(D, D), nn.Dropout(0.2)))


class Rows:
    """Items that are rows of a matrix."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = torch.from_numpy(values)

    def __len__(self):
        return len(self.values)

    def batches(self, order, size):
        for at in range(0, len(order), size):
            yield order[at : at + size], list(order[at : at + size])

    def sub_batches(self, prepared):
        return [list(range(len(prepared)))]

    def inputs(self, prepared):
        return [Inputs((self.values[np.array(prepared)],))]


class Activations(Rows):
    """The same items, known where the cut is."""

    def __init__(self, rows: Rows, cut: PartialForward, layer_outputs: LayerOutputs) -> None:
        self.cut, self.rows = cut, rows
        with torch.no_grad():
            self.values = cut._block_output(Inputs((rows.values,)))

    def inputs(self, prepared):
        (like,) = self.rows.inputs(prepared)
        return [self.cut.inputs(self.values[np.array(prepared)], like)]


def data(seed: int = 0):
    random = np.random.default_rng(seed)
    values = random.normal(size=(N, D)).astype(np.float32)
    return Rows(values), (values[:, 0] > 0).astype(np.int64)


def made(seed: int = 0):
    torch.manual_seed(seed)
    network = Chain()
    return LayerOutputs(network, ["last"]), nn.Linear(D, 2)


def accuracy(labels):
    return lambda scores: {"accuracy": float((scores.argmax(1) == labels).mean()), "n": len(labels)}


def run(folder, *, cut=False, seed=0, on_epoch=None, **how):
    layer_outputs, head = made()
    rows, labels = data()
    val, val_labels = data(1)
    defaults = UnfreezeOptions(epochs=4, batch_size=16, learning_rate=0.01, seed=seed)
    settings = defaults.model_copy(update=how)  # beyond the bounds of params.yaml, too

    class Backbone:
        pass

    backbone = Backbone()
    backbone.layer_outputs = layer_outputs
    whole = EndToEndModel(backbone, head)
    schedule = FreezingSchedule.for_backbone(backbone, settings, *rows.inputs(range(4)))
    given = {"targets": labels, "score": accuracy(val_labels), "on_epoch": on_epoch}
    if not cut:
        work = FineTuner(whole, schedule, settings, train=rows, val=val, **given)
        return work.run(folder), whole
    at = PartialForward(layer_outputs, schedule.last_frozen_block, *rows.inputs(range(4)))
    known, known_val = Activations(rows, at, layer_outputs), Activations(val, at, layer_outputs)
    with at.entered():
        progress = FineTuner(whole, schedule, settings, train=known, val=known_val, **given).run(folder)
    return progress, whole


def state(whole):
    return {name: value.clone() for name, value in whole.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_it_learns_and_keeps_the_best_epoch(tmp_path):
    progress, whole = run(tmp_path, epochs=12, learning_rate=0.02)
    scores = [line["accuracy"] for line in progress.curve]
    assert len(scores) == 13
    assert max(scores) > scores[0] + 0.1
    assert scores[progress.best_epoch] == max(scores) == pytest.approx(progress.best)
    val, labels = data(1)
    with torch.no_grad():
        found = whole(val.inputs(range(N))).argmax(1).numpy()
    assert (found == labels).mean() == pytest.approx(max(scores))


def test_equal_runs_are_equal_bit_for_bit_and_another_seed_is_another_run(tmp_path):
    first, second, other = (run(tmp_path / name, seed=seed)[1] for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert same(state(first), state(second))
    assert not same(state(first), state(other))


def test_two_passes_that_must_agree_learn_as_well_and_end_elsewhere(tmp_path):
    progress, whole = run(tmp_path / "r-drop", epochs=12, learning_rate=0.02, r_drop=1.0)
    _, plain = run(tmp_path / "plain", epochs=12, learning_rate=0.02)
    assert progress.best > progress.curve[0]["accuracy"] + 0.1
    assert not same(state(whole), state(plain))


@pytest.mark.parametrize("how", [{}, {"average": 0.9}, {"free": Lora(lora=2, dropout=0.1), "average": 0.9}])
@pytest.mark.slow
def test_a_run_killed_after_any_epoch_ends_with_the_same_weights(tmp_path, monkeypatch, how):
    whole_run, expected = run(tmp_path / "whole", **how)
    for killed_after in (1, 3):
        with monkeypatch.context() as patched:
            epoch = FineTuner.train_epoch

            def dying(self, number, *rest):
                if number == killed_after:  # noqa: B023
                    raise KeyboardInterrupt
                return epoch(self, number, *rest)  # noqa: B023

            patched.setattr(FineTuner, "train_epoch", dying)
            with pytest.raises(KeyboardInterrupt):
                run(tmp_path / f"killed{killed_after}", **how)
        progress, found = run(tmp_path / f"killed{killed_after}", **how)
        assert same(state(found), state(expected))
        assert [line["accuracy"] for line in progress.curve] == [line["accuracy"] for line in whole_run.curve]


def test_what_is_not_freed_stays_as_it_was(tmp_path):
    before = made()[0].network.state_dict()
    _, whole = run(tmp_path, free={0: "none", 2: "last 1"}, learning_rate=0.05, epochs=6)
    after = whole.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if not name.startswith("3."))
    assert not torch.equal(before["3.0.weight"], after["3.0.weight"])


@pytest.mark.parametrize(("free", "kept"), [(Lora(lora=2), ".lora_"), ("last 1", "3.0.")])
def test_a_checkpoint_holds_only_what_learns(tmp_path, free, kept):
    before = made()[0].network.state_dict()
    progress, whole = run(tmp_path, free=free, learning_rate=0.05)
    (checkpoint, *_) = sorted(tmp_path.glob("*.pt"), reverse=True)
    saved_state = torch.load(checkpoint, weights_only=True)
    statistics = {name for name in before if "running" in name or "tracked" in name}
    names = {name.removeprefix("network.") for name in saved_state["whole"] if name.startswith("network.")} - statistics
    assert names
    assert all(kept in name for name in names)
    assert progress.best_epoch > 0
    for name, value in before.items():
        now = whole.network.state_dict()
        if kept not in name:
            assert torch.equal(now.get(name, now.get(name.replace(".0.", ".0.base_layer."))), value)


def test_from_the_cut_every_loss_and_score_is_that_of_the_whole_network(tmp_path):
    free = {0: "last 1", 2: "last 2"}
    plain, whole = run(tmp_path / "a", free=free)
    cached, entered = run(tmp_path / "b", free=free, cut=True)
    for one, other in zip(plain.curve, cached.curve, strict=True):
        assert one["accuracy"] == other["accuracy"]
        assert (math.isnan(one["loss"]) and math.isnan(other["loss"])) or one["loss"] == pytest.approx(
            other["loss"], rel=1e-6
        )
    for name, value in state(whole).items():
        torch.testing.assert_close(entered.state_dict()[name], value, rtol=1e-5, atol=1e-6)


def test_a_loss_that_is_no_number_stops_with_step_and_rate(tmp_path):
    with pytest.raises(IceboxError, match=r"the loss is (nan|inf) at step \d+ of 24 \(epoch \d, learning rate"):
        run(tmp_path, learning_rate=1e30, clip=1e30, norm_statistics="updated")


def test_it_stops_when_val_has_not_improved_for_as_long_as_patience_says(tmp_path):
    progress, _ = run(tmp_path, epochs=50, learning_rate=1e-9, patience=3)
    assert progress.epochs == 3


def test_out_of_memory_it_goes_on_with_smaller_pieces_that_add_up(tmp_path, monkeypatch, caplog):
    expected, _ = run(tmp_path / "a", epochs=1, free="none")
    backward = FineTuner.backward

    def small(self, prepared, *rest):
        if len(prepared) > 4:
            raise torch.cuda.OutOfMemoryError
        return backward(self, prepared, *rest)

    monkeypatch.setattr(FineTuner, "backward", small)
    found, _ = run(tmp_path / "b", epochs=1, free="none")
    assert "8 items at a time" in caplog.text
    assert found.curve[-1]["loss"] == pytest.approx(expected.curve[-1]["loss"], rel=1e-5)


def test_items_of_a_batch_that_pass_apart_add_up_too_and_are_scored_in_their_order(tmp_path, monkeypatch):
    expected, _ = run(tmp_path / "a", epochs=3, free="none")
    monkeypatch.setattr(Rows, "sub_batches", lambda _, part: [[*range(1, len(part), 2)], [*range(0, len(part), 2)]])
    found, _ = run(tmp_path / "b", epochs=3, free="none")
    for one, other in zip(expected.curve[1:], found.curve[1:], strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
        assert one["accuracy"] == other["accuracy"]


@pytest.mark.parametrize("precision", ["bfloat16"])
def test_mixed_precision_trains_too(tmp_path, precision):
    progress, _ = run(tmp_path, precision=precision)
    assert math.isfinite(progress.curve[-1]["loss"])


def test_the_schedule_knows_where_the_frozen_part_ends():
    layer_outputs, _ = made()
    rows, _ = data()
    backbone = type("Backbone", (), {"layer_outputs": layer_outputs})
    for free, block in (("all", None), ("last 1", "2"), ({0: "none", 1: "last 3"}, "0"), ("none", "3.0")):
        assert (
            FreezingSchedule.for_backbone(
                backbone, UnfreezeOptions(free=free), *rows.inputs(range(4))
            ).last_frozen_block
            == block
        )
    assert trainer.PRECISIONS.keys() == {"float32", "bfloat16", "float16"}


def test_who_looks_on_hears_every_epoch_also_those_before_a_run_was_killed(tmp_path, monkeypatch):
    heard: list[dict[str, float]] = []
    whole, _ = run(tmp_path / "whole", on_epoch=heard.append)
    assert heard == whole.curve
    heard.clear()
    killed = FineTuner.save_checkpoint

    def kill(self, checkpoint):
        killed(self, checkpoint)
        if self.progress.epochs == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(FineTuner, "save_checkpoint", kill)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed")
    monkeypatch.undo()
    went_on, _ = run(tmp_path / "killed", on_epoch=heard.append)
    assert [line["epoch"] for line in heard] == [0, 1, 2, 3, 4]
    assert heard == went_on.curve


def killed_after_three_epochs(folder, **how):
    """The checkpoints that a killed run leaves, the newest first."""
    with pytest.MonkeyPatch.context() as patch:
        save = FineTuner.save_checkpoint

        def kill(self, checkpoint):
            save(self, checkpoint)
            if self.progress.epochs == 3:
                raise KeyboardInterrupt

        patch.setattr(FineTuner, "save_checkpoint", kill)
        with pytest.raises(KeyboardInterrupt):
            run(folder, **how)
    return sorted(folder.glob("checkpoint-*.pt"), reverse=True)


@pytest.mark.parametrize("average", [None, 0.9])
@pytest.mark.parametrize("kind", ["flipped at 0.5", "truncated", "empty"])
@pytest.mark.slow
def test_a_damaged_checkpoint_counts_as_none_and_the_end_is_the_same(tmp_path, caplog, kind, average):
    _, whole = run(tmp_path / "whole", average=average)
    newest, _ = killed_after_three_epochs(tmp_path / "killed", average=average)
    newest.write_bytes(DAMAGE[kind](newest.read_bytes()))
    heard = []
    _, went_on = run(tmp_path / "killed", average=average, on_epoch=heard.append)
    assert [line["epoch"] for line in heard] == [0, 1, 2, 3, 4]
    assert same(state(whole), state(went_on))
    assert f"{newest}: its bytes have changed; it counts as none" in caplog.text


@pytest.mark.parametrize("part", ["whole", "best", "mean", "optimiser", "progress"])
@pytest.mark.slow
def test_a_checkpoint_of_another_shape_counts_as_none_whichever_part_differs(tmp_path, caplog, part):
    _, whole = run(tmp_path / "whole", average=0.9)
    for path in killed_after_three_epochs(tmp_path / "other", average=0.9):
        content = torch.load(path, weights_only=True)
        content[part] = {"epoch": 3} if part == "progress" else {name: torch.ones(3, 5) for name in content[part]}
        path.unlink()
        written(path.parent, saved(content), number=3)
    _, anew = run(tmp_path / "other", average=0.9)
    assert same(state(whole), state(anew))
    assert "it counts as none" in caplog.text
