"""A page with many readers is rendered only as often as the budget allows."""

from __future__ import annotations

from itertools import count

import pytest

from webhook.telemetry.kept_page import BURST, PER_SECOND, KeptPage


class Clock:
    """Advances only when it is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def make_page(clock: Clock) -> KeptPage:
    """Return a page with the number of its renderings."""
    numbers = count(1)
    return KeptPage(lambda: b"%d" % next(numbers), clock)


def test_infrequent_reads_render_page_each_time() -> None:
    """For any length of time."""
    clock = Clock()
    page = make_page(clock)
    for number in range(1, 1000):
        clock.now += 1 / PER_SECOND + 0.001
        assert page.read() == b"%d" % number


def test_frequent_reads_return_cached_page() -> None:
    """Fault C3: the budget allows so many renderings, and one more each time that it is refilled."""
    clock = Clock()
    page = make_page(clock)
    assert [page.read() for _ in range(4000)][-1] == b"%d" % BURST
    clock.now += 1 / PER_SECOND + 0.001
    assert {page.read() for _ in range(4000)} == {b"%d" % (BURST + 1)}
    clock.now += 3600
    assert [page.read() for _ in range(4000)][-1] == b"%d" % (2 * BURST + 1)


def test_failed_page_rendering_is_retried() -> None:
    """A failure costs nothing of the budget, and no empty page is kept."""
    fails = True

    def make() -> bytes:
        if fails:
            raise ValueError("broken")
        return b"page"

    page = KeptPage(make, Clock())
    for _ in range(2 * BURST):
        with pytest.raises(ValueError, match="broken"):
            page.read()
    fails = False
    assert page.read() == b"page"
