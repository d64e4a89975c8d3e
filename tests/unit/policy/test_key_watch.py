"""When key files are read again: after a change, after a lapse, and while one cannot be used."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.builders import policy, registry
from tests.support.signing_keys import ConfigMapVolume, public_pem, write_keys
from webhook.policy.key_watch import KeyWatch
from webhook.policy.model import Policy
from webhook.policy.signing_keys import refresh_keys
from webhook.registries import RegistryTable, SignatureSettings, SigningKey

NOW = 1_800_000_000.0


class Watched:
    """A policy whose keys are in files, and what the watch has done."""

    def __init__(self, *files: Path, not_after: float | None = None) -> None:
        keys = tuple(
            SigningKey(file.stem, str(file), not_after, problem="has not been read") for file in files
        )
        self.policy = policy(registries=RegistryTable.of([registry(signatures=SignatureSettings(keys))]))
        self.reads = self.pauses = 0
        self.watch = KeyWatch(self._refresh, self._settle)

    def check(self, now: float = NOW) -> bool:
        """Check once; return whether the policy has changed."""
        before = self.policy
        self.policy = self.watch.check(before, now)
        return self.policy is not before

    @property
    def counting(self) -> list[str]:
        """The names of the keys that count."""
        (current,) = self.policy.registries.registries
        assert current.signatures is not None
        return [key.name for key in current.signatures.counting]

    def _refresh(self, policy: Policy, now: float) -> Policy:
        self.reads += 1
        return refresh_keys(policy, now)

    def _settle(self) -> None:
        self.pauses += 1


def test_unchanged_files_are_read_once(tmp_path: Path) -> None:
    """The first check reads them: they may have changed since the policy was parsed."""
    write_keys(tmp_path, "a", "b")
    watched = Watched(tmp_path / "a.pub", tmp_path / "b.pub")
    assert [watched.check() for _ in range(4)] == [True, False, False, False]
    assert (watched.counting, watched.reads, watched.pauses) == (["a", "b"], 1, 0)


def test_policy_without_keys_reads_nothing() -> None:
    """Nor does it look for files."""
    watched = Watched()
    watched.policy = policy()
    assert watched.check() is False
    assert watched.reads == 0


def test_vanished_file_counts_no_longer_until_it_is_back(tmp_path: Path) -> None:
    """At the next check, after a pause in which a writer may replace it."""
    write_keys(tmp_path, "a")
    watched = Watched(tmp_path / "a.pub")
    watched.check()
    (tmp_path / "a.pub").unlink()
    assert watched.check() is True
    assert (watched.counting, watched.pauses) == ([], 1)
    write_keys(tmp_path, "a")
    assert watched.check() is True
    assert watched.counting == ["a"]


def test_file_that_is_written_during_the_pause_is_read_as_it_is_then(tmp_path: Path) -> None:
    """An editor that replaces a file removes the old one first."""
    write_keys(tmp_path, "a")
    watched = Watched(tmp_path / "a.pub")
    watched.check()
    (tmp_path / "a.pub").unlink()
    watched.watch._settle = lambda: write_keys(tmp_path, "a")
    assert watched.check() is False
    assert watched.counting == ["a"]


def test_file_that_is_written_during_the_pause_is_read_once(tmp_path: Path) -> None:
    """Its stamp is the one after the pause. Otherwise each change would pause and read twice."""
    write_keys(tmp_path, "a")
    watched = Watched(tmp_path / "a.pub")
    watched.check()
    (tmp_path / "a.pub").write_bytes(b"half")

    def write() -> None:
        watched.pauses += 1
        (tmp_path / "a.pub").write_bytes(public_pem("another") + b"\n" * watched.pauses)

    watched.watch._settle = write
    assert [watched.check(NOW + second) for second in range(3)] == [True, False, False]
    assert (watched.pauses, watched.reads) == (1, 2)


def test_file_that_changes_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    """The stamp that is remembered is older than the content."""
    write_keys(tmp_path, "a")
    file = tmp_path / "a.pub"
    watched = Watched(file)

    def read_before_change(policy: Policy, now: float) -> Policy:
        refreshed = refresh_keys(policy, now)
        file.unlink()
        return refreshed

    watched.watch._refresh = read_before_change
    assert watched.check() is True
    assert watched.counting == ["a"]
    watched.watch._refresh = refresh_keys
    assert watched.check() is True
    assert watched.counting == []


def test_symlink_swap_of_config_map_is_noticed(tmp_path: Path) -> None:
    """The path stays the same, and the kubelet replaces a link on the way to it."""
    volume = ConfigMapVolume(tmp_path / "keys", {"a.pub": public_pem("a"), "b.pub": public_pem("b")})
    watched = Watched(volume.folder / "a.pub", volume.folder / "b.pub")
    watched.check()
    volume.replace({"a.pub": public_pem("a2")})
    assert watched.check() is True
    assert watched.counting == ["a"]
    volume.replace({"a.pub": public_pem("a2"), "b.pub": public_pem("b")})
    assert watched.check() is True
    assert watched.counting == ["a", "b"]


def test_key_lapses_without_change_of_files(tmp_path: Path) -> None:
    """And counts again if the clock is put back."""
    write_keys(tmp_path, "a")
    watched = Watched(tmp_path / "a.pub", not_after=NOW + 30)
    assert watched.check(NOW) is True
    assert watched.check(NOW + 29) is False
    assert watched.check(NOW + 30) is True
    assert watched.counting == []
    assert watched.check(NOW + 32) is False
    assert watched.check(NOW) is True
    assert watched.counting == ["a"]


def test_file_that_cannot_be_used_is_read_at_each_check(tmp_path: Path) -> None:
    """What makes it readable may change no stamp, such as a file descriptor that becomes free."""
    write_keys(tmp_path, "a")
    watched = Watched(tmp_path / "a.pub", tmp_path / "gone.pub")
    for _ in range(3):
        watched.check()
    assert watched.reads == 3
    assert watched.counting == ["a"]


def test_files_with_the_same_stamps_are_read_each_minute(tmp_path: Path) -> None:
    """The times of some volumes have a resolution of seconds."""
    write_keys(tmp_path, "a")
    file = tmp_path / "a.pub"
    watched = Watched(file)
    watched.check()
    before = file.stat()
    content = public_pem("a2")
    assert len(content) == before.st_size
    with file.open("r+b") as stream:
        stream.write(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert watched.check(NOW + 59) is False
    assert watched.check(NOW + 60) is True
    assert watched.check(NOW + 61) is False


def test_clock_that_is_put_back_reads_again(tmp_path: Path) -> None:
    """Otherwise a minute could last for years."""
    write_keys(tmp_path, "a")
    watched = Watched(tmp_path / "a.pub")
    watched.check(NOW)
    watched.check(NOW - 1)
    assert watched.reads == 2
