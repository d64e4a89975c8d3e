"""What replicas tell each other: which of two facts holds, what is passed on, what is worth a write."""

from __future__ import annotations

import pytest

from webhook.trust.facts import FUTURE, MAX_FACTS, Fact, Merger, prevail

NOW = 1_000_000


def fact(name: str = "web", age: int = 0, *, trusted: bool = True, digest: str | None = None) -> Fact:
    """Return a fact about ``shop/name:1`` of this age."""
    return Fact(("registry", "shop", name, ":1"), NOW - age, trusted, digest)


def merger(*stored: Fact, life: float = 3600) -> Merger:
    """Return a merger of what is stored with what is to come."""
    return Merger(stored, NOW - life, NOW + FUTURE)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (fact(age=10), fact(age=20), fact(age=10)),
        (fact(age=20), fact(age=10), fact(age=10)),
        (fact(age=20), fact(age=10, trusted=False), fact(age=10, trusted=False)),
        (fact(age=20, trusted=False), fact(age=10), fact(age=10)),
        (fact(age=20, trusted=False), fact(age=15), fact(age=20, trusted=False)),
        (fact(age=10), fact(age=10, trusted=False), fact(age=10, trusted=False)),
        (None, fact(), fact()),
    ],
    ids=[
        "newer trust",
        "newer trust, the other way round",
        "a refusal after trust",
        "trust after a refusal",
        "trust after a refusal by less than clocks may differ",
        "both at once",
        "nothing known",
    ],
)
def test_the_newer_fact_holds_and_in_doubt_the_refusal(one: Fact | None, other: Fact, expected: Fact) -> None:
    """Whichever of them comes first."""
    assert prevail(one, other) == expected
    if one is not None:
        assert prevail(other, one) == expected


def test_a_merge_holds_what_either_side_knows() -> None:
    """Newest first."""
    both = merger(fact("a", 30))
    both.add([fact("b", 20), fact("a", 10)])
    assert both.result() == [fact("a", 10), fact("b", 20)]


def test_an_older_trust_does_not_undo_a_stored_refusal() -> None:
    """A replica that has not heard of it writes its trust in vain."""
    both = merger(fact(age=10, trusted=False))
    both.add([fact(age=30)])
    assert both.result() == [fact(age=10, trusted=False)]


@pytest.mark.parametrize("age", [3600, -FUTURE - 1], ids=["too old", "from the future"])
@pytest.mark.parametrize("trusted", [True, False])
def test_what_cannot_count_is_passed_on_from_neither_side(age: int, trusted: bool) -> None:
    """Not for longer than ``staleIfError``, and nothing from the future."""
    both = merger(fact("stored", int(age), trusted=trusted))
    both.add([fact("known", int(age), trusted=trusted)])
    assert both.result() == []


def test_the_newest_are_passed_on() -> None:
    """The number is bounded, and images in use are the newest."""
    both = merger(life=100_000)
    both.add(fact(f"image-{age}", age) for age in range(MAX_FACTS + 10, 0, -1))
    result = both.result()
    assert len(result) == MAX_FACTS
    assert result[0] == fact("image-1", 1)
    assert result[-1] == fact(f"image-{MAX_FACTS}", MAX_FACTS)


@pytest.mark.parametrize(
    ("stored", "known", "expected"),
    [
        ([], [fact()], True),
        ([fact(age=50)], [fact(age=0)], False),
        ([fact(age=61)], [fact(age=0)], True),
        ([fact(age=50)], [fact(age=0, trusted=False)], True),
        ([fact(age=50, digest="sha256:a")], [fact(age=0, digest="sha256:b")], True),
        ([fact("gone", age=3600)], [], False),
    ],
    ids=["a new image", "a little newer", "much newer", "a refusal", "another digest", "nothing known"],
)
def test_what_is_worth_a_write(stored: list[Fact], known: list[Fact], expected: bool) -> None:
    """A write is a new version of the whole: images in use alone do not cause one a minute."""
    both = merger(*stored)
    both.add(known)
    assert both.has_news(60, full=False) is expected


@pytest.mark.parametrize(("age", "expected"), [(200, False), (50, True)])
def test_what_would_not_fit_is_not_worth_a_write(age: int, expected: bool) -> None:
    """Otherwise a full snapshot would be written by each replica each minute."""
    both = merger(fact("a", 10), fact("b", 100))
    both.add([fact("c", age)])
    assert both.has_news(60, full=True) is expected
