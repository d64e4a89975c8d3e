"""Signed digests: cached for cache.signed, renewed ahead, verified once for concurrent callers."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tests.support.fakes import FakeClock
from webhook.deadlines import Deadline
from webhook.errors import Fault, LookupTimeout, RegistryUnavailable, Throttled, TrustLookupError
from webhook.evidence.signed_digests import Key, SignedDigests
from webhook.signatures.check import SignatureCheck, SignatureResult
from webhook.trust.cache import BATCH_SIZE
from webhook.trust.key_changes import KeyChange
from webhook.trust.settings import CacheSettings

HOUR = CacheSettings(signed=3600.0, max_entries=3)
WEB: Key = ("registry", "shop/web", "sha256:" + "a" * 64)
API: Key = ("registry", "shop/api", "sha256:" + "a" * 64)
SOON = Deadline(1e9)


class Verifier:
    """Verifies as a test says; counts its calls."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.result = SignatureResult.SIGNED
        self.failure: Exception | None = None
        self.calls = 0

    def __call__(self) -> SignatureCheck:
        self.calls += 1
        if self.failure is not None:
            raise self.failure
        return SignatureCheck(self.result, self.clock(), signers=("release",))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_000_000.0)  # whole seconds: renewed from 60 % of the life


@pytest.fixture
def verify(clock: FakeClock) -> Verifier:
    return Verifier(clock)


@pytest.mark.parametrize(
    ("age", "calls"),
    [(0.0, 1), (3600 * 0.6 - 1, 1), (3600 * 0.6 + 1, 2), (3599.0, 2), (3600.0, 2), (-4.0, 1), (-6.0, 2)],
)
def test_signed_digest_is_verified_again_from_60_percent_of_its_life(
    clock: FakeClock, verify: Verifier, age: float, calls: int
) -> None:
    """A clock that was set back makes a check from the future, which counts within the skew only."""
    signed = SignedDigests(HOUR, clock)
    signed.get(WEB, SOON, verify)
    clock.tick(age)
    signed.get(WEB, SOON, verify)
    assert verify.calls == calls


def test_check_that_ends_soon_counts_if_its_renewal_fails(clock: FakeClock, verify: Verifier) -> None:
    signed = SignedDigests(HOUR, clock)
    first = signed.get(WEB, SOON, verify)
    clock.tick(3599)
    verify.failure = RegistryUnavailable("down")
    assert signed.get(WEB, SOON, verify) is first


def test_check_does_not_count_after_its_life(clock: FakeClock, verify: Verifier) -> None:
    """Who revokes by deleting a signature waits for no longer than ``cache.signed``."""
    signed = SignedDigests(HOUR, clock)
    signed.get(WEB, SOON, verify)
    clock.tick(3600)
    verify.failure = RegistryUnavailable("down")
    with pytest.raises(RegistryUnavailable, match="down"):
        signed.get(WEB, SOON, verify)


def test_renewal_that_finds_no_signature_counts_at_once(clock: FakeClock, verify: Verifier) -> None:
    signed = SignedDigests(HOUR, clock)
    signed.get(WEB, SOON, verify)
    clock.tick(3599)
    verify.result = SignatureResult.UNSIGNED
    assert signed.get(WEB, SOON, verify).result is SignatureResult.UNSIGNED
    verify.failure = RegistryUnavailable("down")
    with pytest.raises(RegistryUnavailable, match="down"):
        signed.get(WEB, SOON, verify)


@pytest.mark.parametrize("result", [result for result in SignatureResult if result != "signed"])
def test_digest_that_is_not_signed_is_not_cached(
    clock: FakeClock, verify: Verifier, result: SignatureResult
) -> None:
    """It may be signed in a moment."""
    signed = SignedDigests(HOUR, clock)
    verify.result = result
    for _ in range(2):
        assert signed.get(WEB, SOON, verify).result is result
    assert verify.calls == 2


def test_digest_is_signed_in_its_repository_only(clock: FakeClock, verify: Verifier) -> None:
    """Another repository may hold the same image unsigned."""
    signed = SignedDigests(HOUR, clock)
    signed.get(WEB, SOON, verify)
    signed.get(API, SOON, verify)
    assert verify.calls == 2


def test_digests_are_bounded(clock: FakeClock, verify: Verifier) -> None:
    signed = SignedDigests(HOUR, clock)
    for number in range(4):
        signed.get((*WEB[:2], str(number)), SOON, verify)
    signed.get((*WEB[:2], "3"), SOON, verify)
    assert verify.calls == 4
    signed.get((*WEB[:2], "0"), SOON, verify)
    assert verify.calls == 5


def test_retain_forgets_digests_of_other_registries(clock: FakeClock, verify: Verifier) -> None:
    """A registry whose keys have changed is another one."""
    signed = SignedDigests(HOUR, clock)
    signed.get(WEB, SOON, verify)
    signed.retain({"other"})
    signed.get(WEB, SOON, verify)
    assert verify.calls == 2


@pytest.mark.parametrize(
    ("settings", "calls"),
    [
        (CacheSettings(signed=3600.0, max_entries=100), 1),
        (CacheSettings(signed=60.0, max_entries=3), 2),
        (CacheSettings(signed=7200.0, max_entries=3), 1),
    ],
)
def test_new_settings_apply_to_known_digests(
    clock: FakeClock, verify: Verifier, settings: CacheSettings, calls: int
) -> None:
    signed = SignedDigests(HOUR, clock)
    signed.get(WEB, SOON, verify)
    clock.tick(100)
    signed.configure(settings)
    signed.get(WEB, SOON, verify)
    assert verify.calls == calls


def test_concurrent_callers_share_one_verification(clock: FakeClock) -> None:
    """All images that run the digest wait for the same calls."""
    signed = SignedDigests(HOUR, clock)
    began, gate, calls = threading.Semaphore(0), threading.Event(), []

    def verify() -> SignatureCheck:
        calls.append(1)
        began.release()
        gate.wait(5)
        return SignatureCheck(SignatureResult.SIGNED, clock())

    results: list[SignatureCheck] = []
    threads = [
        threading.Thread(target=lambda: results.append(signed.get(WEB, Deadline.after(5), verify)))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    began.acquire(timeout=5)
    gate.set()
    for thread in threads:
        thread.join(5)
    assert (len(calls), len(results)) == (1, 20)


def test_caller_waits_until_its_own_deadline(clock: FakeClock) -> None:
    """That is our fault: the image's author may have begun the verification late."""
    signed = SignedDigests(HOUR, clock)
    began, gate = threading.Semaphore(0), threading.Event()

    def verify() -> SignatureCheck:
        began.release()
        gate.wait(5)
        return SignatureCheck(SignatureResult.SIGNED, clock())

    first = threading.Thread(target=lambda: signed.get(WEB, Deadline.after(5), verify))
    first.start()
    began.acquire(timeout=5)
    with pytest.raises(LookupTimeout, match="another lookup was still verifying the signatures") as caught:
        signed.get(WEB, Deadline.after(0.01), verify)
    gate.set()
    first.join(5)
    assert caught.value.fault is Fault.LOCAL


def test_limits_of_one_caller_do_not_decide_about_others(clock: FakeClock) -> None:
    """A background lookup has a small part of the rate limit: a review that waits for it verifies itself."""
    signed = SignedDigests(HOUR, clock)
    began, gate, results = threading.Event(), threading.Event(), list[str]()

    def refuse() -> SignatureCheck:
        began.set()
        gate.wait(5)
        raise Throttled("our own rate limit is exceeded", fault=Fault.LOCAL)

    def get(verify: Callable[[], SignatureCheck]) -> None:
        try:
            results.append(signed.get(WEB, Deadline.after(5), verify).result)
        except TrustLookupError as error:
            results.append(error.reason)

    first = threading.Thread(target=get, args=(refuse,))
    first.start()
    began.wait(5)
    second = threading.Thread(target=get, args=(lambda: SignatureCheck(SignatureResult.SIGNED, clock()),))
    second.start()
    threading.Event().wait(0.05)
    gate.set()
    first.join(5)
    second.join(5)
    assert sorted(results) == ["signed", "throttled"]


def test_bug_in_a_verification_is_our_fault(clock: FakeClock, verify: Verifier) -> None:
    """It never admits anything."""
    verify.failure = ZeroDivisionError()
    with pytest.raises(TrustLookupError, match="could not be verified: ZeroDivisionError") as caught:
        SignedDigests(HOUR, clock).get(WEB, SOON, verify)
    assert caught.value.fault is Fault.LOCAL


def test_smaller_cache_keeps_digests_that_were_used_last(clock: FakeClock, verify: Verifier) -> None:
    """Not those that were verified last: an image that runs is verified once an hour, and used all the time."""
    signed = SignedDigests(HOUR, clock)
    digests: list[Key] = [(*WEB[:2], str(number)) for number in range(3)]
    for digest in (*digests, digests[0]):
        signed.get(digest, SOON, verify)
    signed.configure(CacheSettings(signed=3600.0, max_entries=2))
    for digest in (digests[0], digests[2]):
        signed.get(digest, SOON, verify)
    assert verify.calls == 3
    signed.get(digests[1], SOON, verify)
    assert verify.calls == 4


def test_order_of_use_survives_a_larger_cache(clock: FakeClock, verify: Verifier) -> None:
    signed = SignedDigests(HOUR, clock)
    digests: list[Key] = [(*WEB[:2], str(number)) for number in range(3)]
    for digest in (*digests, digests[0]):
        signed.get(digest, SOON, verify)
    signed.configure(CacheSettings(signed=3600.0, max_entries=4))
    for name in ("3", "4"):
        signed.get((*WEB[:2], name), SOON, verify)
    signed.get(digests[0], SOON, verify)
    assert verify.calls == 5


NEW_WEB: Key = ("new", *WEB[1:])


@pytest.mark.parametrize(
    ("names", "threshold", "signers"),
    [
        ({"release": "release"}, 1, ("release",)),
        ({"release": "release-2026"}, 1, ("release-2026",)),
        ({}, 1, None),
        ({"release": "release"}, 2, None),
    ],
    ids=["still counts", "renamed", "removed", "threshold"],
)
def test_digest_stays_signed_if_its_signers_suffice_after_a_change_of_keys(
    clock: FakeClock,
    verify: Verifier,
    names: dict[str, str],
    threshold: int,
    signers: tuple[str, ...] | None,
) -> None:
    """It is verified again as late as without the change."""
    signed = SignedDigests(HOUR, clock)
    first = signed.get(WEB, SOON, verify)
    signed.get(("other", *WEB[1:]), SOON, verify)
    clock.tick(2000)
    signed.carry_over({"registry": KeyChange("new", False, threshold, names, ("release", "release-2026"))})
    verify.failure = RegistryUnavailable("down")
    signed.get(("other", *WEB[1:]), SOON, verify)
    with pytest.raises(RegistryUnavailable, match="down"):
        signed.get(WEB, SOON, verify)
    if signers is None:
        with pytest.raises(RegistryUnavailable, match="down"):
            signed.get(NEW_WEB, SOON, verify)
        return
    carried = signed.get(NEW_WEB, SOON, verify)
    assert (carried.signers, carried.checked_at) == (signers, first.checked_at)
    clock.tick(1600)
    with pytest.raises(RegistryUnavailable, match="down"):
        signed.get(NEW_WEB, SOON, verify)


@pytest.mark.parametrize(("later", "is_newer"), [("new", True), ("registry", False)])
def test_newer_check_of_a_digest_is_kept_when_keys_change(
    clock: FakeClock, verify: Verifier, later: str, is_newer: bool
) -> None:
    """Reviews may use the new keys already."""
    signed = SignedDigests(HOUR, clock)
    for registry in ("registry", "new") if is_newer else ("new", "registry"):
        signed.get((registry, *WEB[1:]), SOON, verify)
        clock.tick(10)
    newest = signed.get((later, *WEB[1:]), SOON, verify)
    signed.carry_over({"registry": KeyChange("new", False, 1, {"release": "release"}, ("release",))})
    assert signed.get(NEW_WEB, SOON, verify) == newest


def test_verification_by_old_keys_that_ends_later_does_not_count_for_new_ones(
    clock: FakeClock, verify: Verifier
) -> None:
    signed = SignedDigests(HOUR, clock)
    change = {"registry": KeyChange("new", False, 1, {"release": "release"}, ("release",))}

    def verify_slowly() -> SignatureCheck:
        signed.carry_over(change)
        signed.retain({"new"})
        return verify()

    signed.get(WEB, SOON, verify_slowly)
    signed.get(NEW_WEB, SOON, verify)
    assert verify.calls == 2


def test_many_digests_are_carried_over(clock: FakeClock, verify: Verifier) -> None:
    """In batches, and a full cache loses none."""
    count = 2 * BATCH_SIZE + 1
    signed = SignedDigests(CacheSettings(signed=3600.0, max_entries=count), clock)
    for number in range(count):
        signed.get((*WEB[:2], str(number)), SOON, verify)
    signed.carry_over({"registry": KeyChange("new", False, 1, {"release": "release"}, ("release",))})
    for number in range(count):
        signed.get((*NEW_WEB[:2], str(number)), SOON, verify)
    assert verify.calls == count
