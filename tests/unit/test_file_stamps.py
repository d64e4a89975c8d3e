"""Detection of changed files."""

from __future__ import annotations

import os
from pathlib import Path

from webhook.file_stamps import FileWatcher, read_stamp


def test_change_is_reported_once(tmp_path: Path) -> None:
    """For each of the files: content, replacement, removal and creation."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("1", encoding="utf-8")
    watcher = FileWatcher([str(one), str(other)])
    assert not watcher.has_changed()
    other.write_text("2", encoding="utf-8")
    assert [watcher.has_changed(), watcher.has_changed()] == [True, False]
    one.unlink()
    assert [watcher.has_changed(), watcher.has_changed()] == [True, False]


def test_file_behind_a_symbolic_link_is_compared(tmp_path: Path) -> None:
    """A ConfigMap volume replaces a link on the path of its files."""
    for version in ("a", "b"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "file").write_text("same", encoding="utf-8")
    link = tmp_path / "..data"
    link.symlink_to("a")
    watcher = FileWatcher([str(link / "file")])
    before = read_stamp(str(link / "file"))
    (tmp_path / "new").symlink_to("b")
    os.replace(tmp_path / "new", link)  # noqa: PTH105 - as the kubelet does it
    assert watcher.has_changed()
    assert read_stamp(str(link / "file")) != before
