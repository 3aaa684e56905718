import os
from pathlib import Path

import pytest

from icebox.features.datasets.wikitext2 import FILES, Source
from icebox.features.errors import IceboxError
from icebox.features.text import tokenization

TEXT = " \n = One = \n \n = = Early = = \n \n Some <unk> . \n = Two = \n \n x = 3 = y \n"


def written(folder: Path) -> Source:
    for name in FILES.values():
        (folder / name).write_text(TEXT)
    return Source(path=folder)


def test_articles_begin_at_titles_and_put_together_are_the_file(tmp_path):
    source = written(tmp_path)
    items = [item for item in source.items() if item.split == "train"]
    assert [item.label for item in items] == ["One", "Two"]
    assert "".join(source.read(item.source) for item in items) == TEXT


def test_the_official_split_is_kept(tmp_path):
    assert [item.split for item in written(tmp_path).items()] == ["train"] * 2 + ["val"] * 2 + ["test"] * 2


def test_a_missing_file_and_one_of_another_format_are_named(tmp_path):
    with pytest.raises(IceboxError, match=r"no file .*wiki\.train\.tokens"):
        list(Source(path=tmp_path).items())
    (tmp_path / "wiki.train.tokens").write_text("no titles here")
    with pytest.raises(IceboxError, match="found none"):
        list(Source(path=tmp_path).items())


@pytest.mark.real_data
@pytest.mark.skipif("ICEBOX_REAL_DATA" not in os.environ, reason="ICEBOX_REAL_DATA is not set")
def test_the_official_files_have_the_published_numbers_of_tokens():
    source = Source(path=Path(os.environ["ICEBOX_REAL_DATA"]) / "wikitext2")
    tokens = {split: 0 for split in FILES}
    for item in source.items():
        tokens[item.split] += len(tokenization.tokenize_lines(source.read(item.source)))
    assert tokens["val"] == 217_646  # as published, line ends counted
    assert tokens["test"] == 245_569


def test_a_file_that_is_no_utf8_is_one_line_and_a_mended_one_is_read(tmp_path):
    for split in ("train", "valid", "test"):
        (tmp_path / f"wiki.{split}.tokens").write_text(" \n = One = \n \n Some words . \n")
    source = Source(path=tmp_path)
    assert len(list(source.items())) == 3
    (tmp_path / "wiki.train.tokens").write_bytes(b" = One = \n caf\xe9 \n")
    with pytest.raises(IceboxError, match=r"wiki\.train\.tokens can't be read: .*; fetch it anew"):
        list(source.items())
