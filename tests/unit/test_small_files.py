"""Small files are read within a limit, and without waiting."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from webhook.small_files import read_at_once


def test_file_is_read_up_to_the_limit(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    assert [read_at_once(str(file), limit) for limit in (4, 5, 6)] == [b"1234", b"12345", b"12345"]


def test_named_pipe_is_empty(tmp_path: Path) -> None:
    """With or without a writer, who may write nothing."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert read_at_once(str(pipe), 10) == b""
    with os.fdopen(os.open(pipe, os.O_RDWR), "wb"):
        assert read_at_once(str(pipe), 10) == b""


@pytest.mark.parametrize("name", ["missing", "."])
def test_file_that_cannot_be_read_raises(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError, match=name):
        read_at_once(str(tmp_path / name), 10)
