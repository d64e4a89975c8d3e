"""The budget of bytes for the bodies of all connections."""

from __future__ import annotations

import threading

import pytest

from webhook.server import body_budget
from webhook.server.body_budget import BEGINNING, SMALL, BodyBudget, Lease

LARGE = 4 * SMALL
REST = SMALL - BEGINNING
"""Bytes of a small body that its share limits."""


@pytest.fixture(autouse=True)
def _short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten all waits."""
    monkeypatch.setattr(body_budget, "WAIT", 0.05)


def budget(small: int = 2 * REST, large: int = LARGE) -> BodyBudget:
    """Return a budget with these shares."""
    return BodyBudget(small, large)


def lease_of(it: BodyBudget) -> Lease:
    """Return a lease whose connection is not closed in the test."""
    return it.lease(lambda: pytest.fail("a connection was ended"))


def test_bytes_over_budget_are_rejected() -> None:
    """Fault C2: the sum is limited, and a rejected piece takes nothing."""
    it = budget()
    first, second = lease_of(it), lease_of(it)
    assert first.grow(SMALL + LARGE)
    assert not second.grow(SMALL + 1)
    assert it.held == SMALL + LARGE


def test_small_bodies_do_not_wait_for_large_ones() -> None:
    """Fault C2: the first bytes of each body have a share of their own."""
    it = budget()
    assert lease_of(it).grow(SMALL + LARGE)
    assert lease_of(it).grow(SMALL)


def test_body_reserves_budget_as_bytes_arrive() -> None:
    """Its first bytes from the small share, the rest from the large one."""
    it = budget()
    lease = lease_of(it)
    assert all(lease.grow(SMALL // 2) for _ in range(6))
    assert (lease.beginning, lease.small, lease.large) == (BEGINNING, REST, 2 * SMALL)


def test_reserved_bytes_are_released_once() -> None:
    """A repeated release has no effect."""
    it = budget()
    lease = lease_of(it)
    lease.grow(3 * SMALL)
    lease.shrink_to_beginning()
    assert it.held == BEGINNING
    lease.release()
    lease.release()
    assert it.held == 0


def test_waiting_body_gets_released_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the time that a body may wait."""
    monkeypatch.setattr(body_budget, "WAIT", 10.0)
    it = budget()
    first, second = lease_of(it), lease_of(it)
    first.grow(SMALL + LARGE)
    timer = threading.Timer(0.05, first.release)
    timer.start()
    assert second.grow(SMALL + LARGE)
    timer.join()


def test_partly_received_bodies_do_not_deadlock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault C2: bodies that arrived in pieces each held a part, and all were denied."""
    monkeypatch.setattr(body_budget, "WAIT", 20.0)
    monkeypatch.setattr(body_budget, "PART_WAIT", 1.0)
    it = budget(small=4 * REST)
    crowd = [lease_of(it) for _ in range(4)]
    assert all(lease.grow(2 * SMALL) for lease in crowd)
    has_room: dict[int, bool] = {}

    def take(number: int) -> None:
        has_room[number] = crowd[number].grow(SMALL)
        if not has_room[number]:
            crowd[number].release()

    threads = [threading.Thread(target=take, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert has_room == {0: True, 1: True, 2: False, 3: False}
    assert min(crowd[0].wait_left, crowd[1].wait_left) > 10.0  # else their time was nearly over


def test_body_waits_for_half_of_its_time_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault C2: a call with ``timeoutSeconds: 2`` was over before its review was denied."""
    monkeypatch.setattr(body_budget, "WAIT", 60.0)
    it = budget()
    assert lease_of(it).grow(SMALL + LARGE)
    hasty = lease_of(it)
    hasty.expect_answer_within(0.1)
    assert not hasty.grow(SMALL + 1)
    hasty.release()
    hasty.expect_answer_within(1000.0)
    assert hasty.wait_left == 60.0


def test_beginning_of_body_is_always_accepted() -> None:
    """Fault C2: a review of which nothing is kept cannot be denied with its uid."""
    it = budget()
    assert all(lease_of(it).grow(SMALL) for _ in range(2))
    assert not lease_of(it).grow(BEGINNING + 1)
    assert lease_of(it).grow(BEGINNING)


@pytest.mark.parametrize(
    ("stalled", "has_arrived", "ended"),
    [(0.0, False, 1), (60.0, False, 0), (0.0, True, 0)],
    ids=["stalled", "still arriving", "waiting for its answer"],
)
def test_only_stalled_partial_body_is_evicted(
    stalled: float, has_arrived: bool, ended: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault C2: new reviews were aborted because of reviews that waited for SWR, and their calls failed."""
    monkeypatch.setattr(body_budget, "STALLED", stalled)
    it = budget(small=REST)
    evicted: list[Lease] = []

    def evict() -> None:
        evicted.append(half)
        half.release()

    half = it.lease(evict)
    assert half.grow(SMALL)
    if has_arrived:
        half.arrived()
    assert lease_of(it).grow(SMALL) is bool(ended)
    assert len(evicted) == ended


def test_partial_body_without_reserved_bytes_is_not_evicted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault C2: its first bytes are not part of the exhausted share."""
    monkeypatch.setattr(body_budget, "STALLED", 0.0)
    it = budget(small=0)
    assert lease_of(it).grow(BEGINNING)
    assert not lease_of(it).grow(SMALL)
