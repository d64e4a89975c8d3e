"""Reloading of the policy in a running process: valid files take effect, invalid ones do not."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.support.fakes import FakeClock, RecorderSpy
from tests.unit.policy.test_loading import MINIMAL
from webhook.errors import ConfigError, Problem
from webhook.policy.findings import Mode
from webhook.policy.loading import parse_policy
from webhook.policy.model import Policy
from webhook.policy.reloading import PolicyFile


class Watched:
    """A policy file on disk."""

    def __init__(self, folder: Path, text: str = MINIMAL) -> None:
        self.path = folder / "policy.yaml"
        self.path.write_text(text, encoding="utf-8")
        self.notes, self.clock = RecorderSpy(), FakeClock(1_800_000_000.0)
        self.file = PolicyFile(
            str(self.path), self.notes, self.clock, pause=lambda seconds: None, parse=parse_policy
        )

    def write(self, text: str) -> bool:
        """Change the file and check it."""
        self.path.write_text(text, encoding="utf-8")
        return self.file.check()


def test_changed_policy_file_takes_effect(tmp_path: Path) -> None:
    """Subscribers get it before it is in force."""
    watched = Watched(tmp_path)
    heard: list[tuple[Policy, bool]] = []
    watched.file.on_change(lambda policy: heard.append((policy, watched.file.current is policy)))
    assert watched.write(MINIMAL + "mode: warn\n") is True
    assert watched.file.current.mode is Mode.WARN
    assert heard == [(watched.file.current, False)]
    assert watched.file.check() is False


def test_config_map_symlink_swap_is_detected(tmp_path: Path) -> None:
    """Kubernetes replaces the link ``..data``."""
    for name, mode in (("a", "warn"), ("b", "audit")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "policy.yaml").write_text(MINIMAL + f"mode: {mode}\n", encoding="utf-8")
    (tmp_path / "..data").symlink_to("a")
    (tmp_path / "policy.yaml").symlink_to("..data/policy.yaml")
    file = PolicyFile(str(tmp_path / "policy.yaml"), RecorderSpy(), parse=parse_policy)
    (tmp_path / "..new").symlink_to("b")
    (tmp_path / "..new").rename(tmp_path / "..data")
    assert file.check() is True
    assert file.current.mode is Mode.AUDIT


@pytest.mark.parametrize("text", ["", "mode: [", MINIMAL + "mood: warn\n", MINIMAL[: len(MINIMAL) // 2]])
def test_invalid_policy_file_keeps_last_policy(tmp_path: Path, text: str) -> None:
    """The last valid policy stays in force, and the problem is counted and kept for the probe."""
    watched = Watched(tmp_path)
    before = watched.file.current
    assert watched.write(text) is False
    assert watched.file.current is before
    assert watched.file.problems
    assert len(watched.notes.named("policy_rejected")) == 1


def test_invalid_policy_file_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log lists all problems, but not again every two seconds."""
    watched = Watched(tmp_path)
    with caplog.at_level(logging.ERROR):
        watched.write(MINIMAL + "mood: warn\n")
        for _ in range(5):
            watched.file.check()
    (record,) = caplog.records
    assert vars(record)["problems"][0].startswith("mood: there is no such key, did you mean mode?")


def test_policy_that_cannot_be_applied_is_retried(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """For example, a CA file may be mounted a moment later; the problem is logged once."""
    watched = Watched(tmp_path)
    missing = [Problem("registries", "the caFile is not there")]

    def follow(policy: Policy) -> None:
        if missing:
            raise ConfigError(missing)

    watched.file.on_change(follow)
    with caplog.at_level(logging.ERROR):
        assert watched.write(MINIMAL + "mode: warn\n") is False
        assert watched.file.check() is False
    before = watched.file.current
    assert before.mode is Mode.ENFORCE
    assert watched.file.problems == tuple(missing)
    assert len(caplog.records) == 1
    missing.clear()
    assert watched.file.check() is True
    assert watched.file.current.mode is Mode.WARN
    assert watched.file.problems == ()


def test_missing_policy_file_keeps_last_policy(tmp_path: Path) -> None:
    """A file may be absent for a moment."""
    watched = Watched(tmp_path)
    watched.path.unlink()
    assert watched.file.check() is False
    assert str(watched.file.problems[0]).endswith("cannot be read: No such file or directory")
    assert watched.write(MINIMAL + "mode: warn\n") is True
    assert watched.file.problems == ()


def test_restored_policy_file_clears_problems(tmp_path: Path) -> None:
    """An undone mistake is a success, too."""
    watched = Watched(tmp_path)
    watched.write("broken")
    watched.write(MINIMAL)
    assert watched.file.problems == ()


def test_invalid_policy_file_at_start_is_error(tmp_path: Path) -> None:
    """There is no last valid policy yet."""
    with pytest.raises(ConfigError):
        Watched(tmp_path, "broken: [")


def test_ending_exemptions_are_reported_once_a_day(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two weeks before the end, in log and metric."""
    ending = "exemptions: [{name: soon, reason: r, images: [a], expires: 2027-01-20}, {name: gone, reason: r, images: [b], expires: 2026-01-01}]\n"
    with caplog.at_level(logging.WARNING):
        watched = Watched(tmp_path, MINIMAL + ending)
        watched.file.check()
        assert set(watched.notes.named("exemptions_expiring")) == {(1, 1)}
        assert [(vars(record)["soon"], vars(record)["ended"]) for record in caplog.records] == [
            (["soon"], ["gone"])
        ]
        watched.clock.tick(90_000)
        watched.file.check()
    assert len(caplog.records) == 2
