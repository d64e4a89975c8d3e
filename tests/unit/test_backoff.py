"""Back-off: pauses between failing attempts."""

from __future__ import annotations

from webhook.backoff import Backoff, jittered


def test_pause_doubles_up_to_the_longest() -> None:
    """It starts again after a success."""
    backoff = Backoff(2.0, 30.0)
    assert [backoff.fail() for _ in range(6)] == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    backoff.reset()
    assert backoff.fail() == 2.0


def test_jitter_shortens_by_a_quarter_at_most() -> None:
    """Replicas must not act in step."""
    pauses = {jittered(4.0) for _ in range(100)}
    assert 3.0 <= min(pauses) < max(pauses) <= 4.0
