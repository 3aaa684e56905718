"""A checkpoint is what was written, whole and of this training, or it counts as none."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from icebox.features.errors import IceboxError
from icebox.pipeline.training.checkpoint import Checkpoint, CheckpointFiles, unchanged_on_failure
from icebox.pipeline.training.pretrain_loop import pretrain
from tests import faults
from tests.pipeline.training.test_pretrain_loop import Halving


def saved(state: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(state, stream)
    return stream.getvalue()


def written(folder: Path, data: bytes, number: int = 3) -> Path:
    """A checkpoint of these bytes under the name that is right for them."""
    path = folder / f"checkpoint-{number:08}-{hashlib.sha256(data).hexdigest()}.pt"
    path.write_bytes(data)
    return path


def flipped(data: bytes, where: float) -> bytes:
    changed = bytearray(data)
    changed[int(where * len(data))] ^= 1
    return bytes(changed)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "truncated": lambda data: data[:-10],
    "halved": lambda data: data[: len(data) // 2],
    "longer": lambda data: data + b"x",
    "text": lambda data: b"not a checkpoint",
    **{f"flipped at {where}": lambda data, where=where: flipped(data, where) for where in (0.0, 0.2, 0.5, 0.8, 0.99)},
}
# under names with the right sha256, as another version of the code would have written them
MISFITS = {
    "of another shape": saved({"parts": {"network": nn.Sequential(nn.Linear(2, 2)).state_dict()}, "losses": [1.0]}),
    "without a part": saved({"parts": {}, "losses": [1.0]}),
    "without losses": saved({"parts": {"network": Halving().network.state_dict()}}),
    "losses that are none": saved({"parts": {"network": Halving().network.state_dict()}, "losses": "xyz"}),
    "a list": saved([1, 2]),
    "a module, which is code": saved(nn.Linear(1, 1)),
    "no torch file": b"nonsense",
    "nothing": b"",
}


class Killed(Halving):
    """Killed before its last step."""

    def step(self, index: int) -> float:
        if index == 3:
            raise KeyboardInterrupt
        return super().step(index)


def begun(folder: Path) -> list[Path]:
    """The checkpoints of a training that was killed after three of four steps, the newest first."""
    with pytest.raises(KeyboardInterrupt):
        pretrain(Killed(), folder / "x", family="x", checkpoint=Checkpoint(folder / "checkpoint.pt", every_s=0))
    files = sorted(folder.glob("checkpoint-*.pt"), reverse=True)
    assert [path.name[:19] for path in files] == ["checkpoint-00000003", "checkpoint-00000002"]
    return files


def steps_taken(folder: Path) -> tuple[list[int], float]:
    """The steps of a training that goes on, and the weight it ends with."""
    training, steps = Halving(), []
    step = training.step
    training.step = lambda index: steps.append(index) or step(index)
    pretrain(training, folder / "x", family="x", checkpoint=Checkpoint(folder / "checkpoint.pt", every_s=0))
    assert not list(folder.glob("*.pt"))
    return steps, training.network[0].weight.item()


def test_it_goes_on_from_the_newest(tmp_path):
    begun(tmp_path)
    assert steps_taken(tmp_path) == ([3], 1 / 16)


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_one_counts_as_none_and_the_one_before_is_taken(tmp_path, caplog, kind):
    newest, _ = begun(tmp_path)
    newest.write_bytes(DAMAGE[kind](newest.read_bytes()))
    assert steps_taken(tmp_path) == ([2, 3], 1 / 16)
    [line] = [record.getMessage() for record in caplog.records if "counts as none" in record.getMessage()]
    assert line.startswith(f"{newest}: its bytes have changed")


@pytest.mark.parametrize("kind", MISFITS)
def test_one_that_does_not_fit_counts_as_none_and_leaves_no_trace_in_the_network(tmp_path, caplog, kind):
    path = written(tmp_path, MISFITS[kind])
    assert steps_taken(tmp_path) == ([0, 1, 2, 3], 1 / 16)
    [line] = [record.getMessage() for record in caplog.records if "counts as none" in record.getMessage()]
    assert line.startswith(f"{path}: ")
    assert "\n" not in line


def test_one_of_an_earlier_version_counts_as_none(tmp_path, caplog):
    (tmp_path / "checkpoint.pt").write_bytes(saved({"parts": {}, "losses": []}))
    assert steps_taken(tmp_path) == ([0, 1, 2, 3], 1 / 16)
    assert "without a sha256 in its name; it counts as none" in caplog.text


@pytest.mark.parametrize("number", faults.ERRNOS)
def test_one_that_cannot_be_read_now_is_an_error_and_stays(tmp_path, number):
    files = begun(tmp_path)
    with faults.failing(number, names="checkpoint-"), pytest.raises(IceboxError, match=str(files[0])) as caught:
        steps_taken(tmp_path)
    assert str(caught.value).endswith("then run this again")
    assert steps_taken(tmp_path) == ([3], 1 / 16)


def test_of_all_that_were_written_two_stay(tmp_path):
    files = CheckpointFiles(tmp_path / "checkpoint.pt")
    for number in range(5):
        files.save(number, {"x": number})
    assert sorted(path.name[:19] for path in tmp_path.iterdir()) == ["checkpoint-00000003", "checkpoint-00000004"]


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path):
    (tmp_path / ".tmp-999999999-0123456789abcdef").write_bytes(b"x")
    (tmp_path / ".tmp-999999999-01234567").write_bytes(b"x")
    CheckpointFiles(tmp_path / "checkpoint.pt").save(1, {"x": 1})
    assert len(list(tmp_path.iterdir())) in (1, 2)
    assert not [path for path in tmp_path.iterdir() if path.name.endswith("-01234567")]


def test_parts_are_as_before_where_one_of_them_does_not_fit():
    one, other = nn.Linear(1, 1), nn.Linear(2, 2)
    before = one.weight.item()

    def load() -> None:
        with unchanged_on_failure({"one": one, "other": other}):
            one.load_state_dict({"weight": torch.ones(1, 1), "bias": torch.ones(1)})
            other.load_state_dict(nn.Linear(3, 3).state_dict())

    with pytest.raises(RuntimeError):
        load()
    assert one.weight.item() == before
