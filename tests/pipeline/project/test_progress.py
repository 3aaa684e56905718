import logging
import sys
import time

import pytest
from tqdm import tqdm

from icebox.pipeline.project import progress


@pytest.fixture
def hasty(monkeypatch, caplog):
    """Lines come every few milliseconds."""
    monkeypatch.setattr(progress, "INTERVAL_S", 0.005)
    caplog.set_level(logging.INFO, "icebox")
    return caplog


def wait_for_lines(caplog, count: int) -> list[str]:
    deadline = time.monotonic() + 5
    while len(caplog.records) < count and time.monotonic() < deadline:
        time.sleep(0.001)
    return [record.getMessage() for record in caplog.records]


def test_without_a_terminal_lines_come_now_and_then_and_end_with_it(hasty):
    with progress.bar(total=60_000, desc="extract s", unit="item") as bar:
        wait_for_lines(hasty, 1)
        bar.update(12_000)
        bar.set_postfix(loss="0.310", refresh=False)
        lines = wait_for_lines(hasty, 3)
    assert lines[0] == "extract s: 0 of 60,000 items after 0 s"
    assert lines[-1].startswith("extract s: 12,000 of 60,000 items, ")
    assert lines[-1].endswith(" left, loss 0.310")
    bar.closed.wait()
    count = len(hasty.records)
    time.sleep(0.05)
    assert len(hasty.records) <= count + 1  # one may have been on its way


def test_one_long_step_is_told_too(hasty):
    with progress.bar(total=1, desc="fit", unit="fit"):
        assert wait_for_lines(hasty, 2)[1].startswith("fit: 0 of 1 fits after")


def test_items_are_counted_as_they_pass_and_an_error_ends_the_lines(hasty):
    bar = progress.bar(iter("abc"), desc="manifest s", unit="item")
    assert list(bar) == ["a", "b", "c"]
    assert (bar.n, bar.closed.is_set()) == (3, True)
    broken = progress.bar((1 // 0 for _ in "abc"), desc="manifest s", unit="item")
    with pytest.raises(ZeroDivisionError):
        list(broken)
    assert broken.closed.is_set()


@pytest.mark.parametrize(
    ("elapsed_s", "sentence"),
    [
        (10.0, "unfreeze: 150 of 300 steps, 10 a second, 15 s left"),
        (2000.0, "unfreeze: 150 of 300 steps, 3.0 a minute, 50 min left"),
        (20_000.0, "unfreeze: 150 of 300 steps, 0.3 a minute, 8 h 20 min left"),
    ],
)
def test_rate_and_time_left_count_from_where_it_went_on(elapsed_s, sentence, monkeypatch):
    with progress.bar(total=300, initial=50, desc="unfreeze", unit="step") as bar:
        bar.update(100)
        monkeypatch.setattr(time, "monotonic", lambda: bar.began_s + elapsed_s)
        assert bar.sentence() == sentence


@pytest.mark.parametrize(("level", "disabled"), [(logging.INFO, False), (logging.WARNING, True)])
def test_a_terminal_has_a_bar_unless_it_is_quiet(monkeypatch, capsys, level, disabled):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    logger = logging.getLogger("icebox")
    monkeypatch.setattr(logger, "level", level)
    logger.manager._clear_cache()
    with progress.bar(total=3, desc="look s", unit="step") as bar:
        assert isinstance(bar, tqdm)
        assert bar.disable == disabled
    logger.manager._clear_cache()
