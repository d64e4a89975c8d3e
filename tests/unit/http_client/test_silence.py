"""A timeout is the registry's fault only if no call is answered: virtual time, the product's own threads."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.simulation.virtual import VirtualTime
from webhook.deadlines import Deadline
from webhook.errors import Fault, LookupTimeout, RegistryUnavailable, TrustLookupError, Unauthorized
from webhook.http_client.silence import ALIVE, CONTROL_DELAY, Silence

SECONDS = 3.0
"""The time of a call."""

LATE = LookupTimeout("late", fault=Fault.REGISTRY)
ANSWERS_OTHERS = "image: late, and answers about other images"
NOT_KNOWN = "local: late; whether it answers about other images is not known"


@dataclass
class Endpoint:
    """An endpoint without answers of its own; each control request ends as ``control`` says."""

    clock: VirtualTime
    control: Callable[[Deadline], None]
    bytes: int = 0
    controls: list[float] = field(default_factory=list)
    """The time of each control request, in seconds from the beginning."""
    heard: int = 0
    """The number of times that a waiting call saw an answer."""

    def __post_init__(self) -> None:
        self.began = self.clock.now
        self.silence = Silence(lambda: self.bytes)
        self.ends: list[str] = []

    def ask(self, deadline: Deadline, record_sent: Callable[[], None]) -> None:
        """Send a control request."""
        self.controls.append(round(self.clock.now - self.began, 3))
        record_sent()
        self.control(deadline)
        self.silence.record_answer()

    def hear(self) -> None:
        self.heard += 1

    def call(self, error: TrustLookupError = LATE, *, in_doubt: bool = False, spent: float = 0.0) -> None:
        """Make a call that is not answered, when a share of the time of its lookup is ``spent``."""
        left = SECONDS * (1 - spent)
        try:
            with self.silence.watch(
                Deadline.after(left), self.ask, self.hear, timeout=SECONDS, in_doubt=in_doubt
            ):
                self.clock.sleep(left)
                raise error
        except TrustLookupError as failure:
            self.ends.append(f"{failure.fault}: {failure.detail}")

    def run(self, *calls: Callable[[], None], seconds: float = 30.0) -> list[str]:
        """Run calls concurrently; return the result of each, in the same order."""
        for call in calls:
            self.clock.spawn(call)
        self.clock.run(seconds)
        return self.ends

    def later(self, seconds: float, do: Callable[[], None]) -> Callable[[], None]:
        """Return a call that waits before its action."""

        def wait() -> None:
            self.clock.sleep(seconds)
            do()

        return wait


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> VirtualTime:
    """Return virtual time, which advances only when all calls wait."""
    made = VirtualTime()
    made.install(monkeypatch, seed=1)
    return made


def answer_at_once(deadline: Deadline) -> None:
    """Answer the control request."""


def fail_at_once(deadline: Deadline) -> None:
    """Refuse the connection."""
    raise RegistryUnavailable("no connection")


def have_no_secret(deadline: Deadline) -> None:
    """Send nothing, because there is no credential."""
    raise Unauthorized("paused", fault=Fault.LOCAL)


@pytest.fixture
def hang(clock: VirtualTime) -> Callable[[Deadline], None]:
    """Leave the control request without an answer."""

    def hang(deadline: Deadline) -> None:
        clock.sleep(deadline.remaining())
        raise LATE

    return hang


def test_timeout_without_any_answer_is_registry_fault(
    clock: VirtualTime, hang: Callable[[Deadline], None]
) -> None:
    """Faults B2 and B4: two control requests are sent after a quarter of the call's time and not answered."""
    endpoint = Endpoint(clock, hang)
    assert endpoint.run(endpoint.call) == ["registry: late"]
    assert endpoint.controls == [0.75, 1.0]
    assert endpoint.heard == 0


def late(endpoint: Endpoint, spent: float) -> Callable[[], None]:
    """Return a call that begins when this share of the time of its lookup is spent."""
    return lambda: endpoint.call(LookupTimeout("late", fault=Fault.REGISTRY), spent=spent)


BEGINNINGS: dict[float, tuple[str, list[float]]] = {
    0.0: ("registry: late", [0.75, 1.0]),
    0.05: ("registry: late", [0.6, 0.85]),
    0.12: ("registry: late", [0.39, 0.64]),
    0.3: ("registry: late", [0.0, 0.25]),
    0.4: ("registry: late", [0.0, 0.25]),
    0.45: (NOT_KNOWN, [0.0, 0.25]),
    0.95: (NOT_KNOWN, [0.0]),
}
"""The fault and the control requests of a call, by the share of its lookup that is spent before."""


@pytest.mark.parametrize(("spent", "fault", "controls"), [(at, *row) for at, row in BEGINNINGS.items()])
def test_late_call_needs_same_seconds_of_silence(
    clock: VirtualTime, hang: Callable[[Deadline], None], spent: float, fault: str, controls: list[float]
) -> None:
    """Its control requests are sent sooner. If half of the lookup does not follow, there is no proof."""
    endpoint = Endpoint(clock, hang)
    assert endpoint.run(late(endpoint, spent)) == [fault]
    assert endpoint.controls == controls


def test_proof_is_recorded_in_the_error(clock: VirtualTime, hang: Callable[[Deadline], None]) -> None:
    """Whoever shares the error needs no time of its own (``Reservation.timed``)."""
    error = LookupTimeout("late", fault=Fault.REGISTRY)
    endpoint = Endpoint(clock, hang)
    endpoint.run(lambda: endpoint.call(error, spent=0.3))
    assert error.is_proven


@pytest.mark.parametrize("spent", [at / 20 for at in range(19)])
def test_late_call_about_slow_image_is_never_registry_fault(clock: VirtualTime, spent: float) -> None:
    """Fault B1: an author cannot choose a moment at which the answers to others do not matter."""
    endpoint = Endpoint(clock, lambda _: clock.sleep(0.05))
    (end,) = endpoint.run(late(endpoint, spent))
    assert end == ANSWERS_OTHERS
    assert len(endpoint.controls) <= 3


@pytest.mark.parametrize("spent", [0.0, 0.12, 0.3, 0.4, 0.5])
def test_control_request_of_late_call_has_as_much_time_for_its_answer(
    clock: VirtualTime, spent: float
) -> None:
    """Fault B1: half of what is left would be less, and a slow registry that answers would look silent."""

    def answer_slowly(deadline: Deadline) -> None:
        clock.sleep(SECONDS / 2 + 0.1)

    endpoint = Endpoint(clock, answer_slowly)
    assert endpoint.run(late(endpoint, spent)) == [ANSWERS_OTHERS if spent < 0.5 else NOT_KNOWN]


def test_late_call_while_others_are_answered_is_image_fault(
    clock: VirtualTime, hang: Callable[[Deadline], None]
) -> None:
    """Fault B1: it waited for our own rate limit or an earlier call. No control request is sent."""
    endpoint = Endpoint(clock, hang)
    others = [endpoint.later(at, endpoint.silence.record_answer) for at in (0.0, 0.7, 1.4, 2.1)]
    assert endpoint.run(*others, endpoint.later(0.1, late(endpoint, 0.3))) == [ANSWERS_OTHERS]
    assert endpoint.controls == []


def test_endpoint_that_answered_a_moment_ago_is_not_asked_sooner(
    clock: VirtualTime, hang: Callable[[Deadline], None]
) -> None:
    """A quarter without any answer comes first, so that calls of one lookup in a row send no more of them."""
    endpoint = Endpoint(clock, hang)
    endpoint.silence.record_answer()
    assert endpoint.run(endpoint.later(0.2, late(endpoint, 0.4))) == [NOT_KNOWN]
    assert endpoint.controls == [0.75, 1.0]


def test_late_call_shares_control_requests_of_others(
    clock: VirtualTime, hang: Callable[[Deadline], None]
) -> None:
    """The silence of an endpoint is known across lookups."""
    endpoint = Endpoint(clock, hang)
    assert endpoint.run(endpoint.call, endpoint.later(1.0, late(endpoint, 0.4))) == ["registry: late"] * 2
    assert endpoint.controls[:2] == [0.75, 1.0]


def test_late_call_does_not_wait_for_control_request_of_earlier_one(
    clock: VirtualTime, hang: Callable[[Deadline], None]
) -> None:
    """It has less time than a call that began before it."""
    endpoint = Endpoint(clock, hang)
    calls = [endpoint.call, endpoint.later(0.1, late(endpoint, 0.4))]
    assert endpoint.run(*calls) == ["registry: late"] * 2
    assert endpoint.controls[:2] == [0.1, 0.35]


def test_late_probe_does_not_wait_for_control_request_of_earlier_call(
    clock: VirtualTime, hang: Callable[[Deadline], None]
) -> None:
    """Its second control request follows the first one, although another call waits already."""
    endpoint = Endpoint(clock, hang)

    def probe() -> None:
        endpoint.call(LookupTimeout("late", fault=Fault.REGISTRY), in_doubt=True, spent=0.4)

    assert endpoint.run(endpoint.call, endpoint.later(0.1, probe)) == ["registry: late"] * 2
    assert endpoint.controls[:2] == [0.1, 0.35]


def lose(number: int, hang: Callable[[Deadline], None]) -> Callable[[Deadline], None]:
    """Return a control request of which one gets no answer, counted from 0."""
    numbers = itertools.count()

    def send(deadline: Deadline) -> None:
        if next(numbers) == number:
            hang(deadline)

    return send


@pytest.mark.parametrize("lost", range(4))
def test_single_lost_control_request_of_late_calls_is_not_outage(
    clock: VirtualTime, hang: Callable[[Deadline], None], lost: int
) -> None:
    """Fault B4: the same for calls that begin at any moment of their lookups."""
    endpoint = Endpoint(clock, lose(lost, hang))
    calls = [endpoint.later(number * 0.1, late(endpoint, number % 11 / 20)) for number in range(60)]
    assert not any(end.startswith("registry") for end in endpoint.run(*calls))


def test_timeout_with_failed_control_requests_is_registry_fault(clock: VirtualTime) -> None:
    """Fault B4: a control request that fails at once is repeated after a pause."""
    endpoint = Endpoint(clock, fail_at_once)
    assert endpoint.run(endpoint.call) == ["registry: late"]
    assert endpoint.controls == [0.75, 1.0, 1.75, 2.5]


@pytest.mark.parametrize("lost", range(4))
def test_single_lost_control_request_is_not_outage(
    clock: VirtualTime, hang: Callable[[Deadline], None], lost: int
) -> None:
    """Fault B4: an answer may get lost, and an author may keep names in flight until that happens."""
    endpoint = Endpoint(clock, lose(lost, hang))
    calls = [endpoint.later(number * 0.1, endpoint.call) for number in range(60)]
    assert endpoint.run(*calls) == [ANSWERS_OTHERS] * 60


def test_two_calls_of_one_control_request_are_one_sample(
    monkeypatch: pytest.MonkeyPatch, clock: VirtualTime, hang: Callable[[Deadline], None]
) -> None:
    """Fault B4: if the registry does not offer the first call, both together are one sample."""
    endpoint = Endpoint(clock, hang)
    numbers = itertools.count()

    def ask(deadline: Deadline, record_sent: Callable[[], None]) -> None:
        if next(numbers):
            return  # answered by the gateway, which does not count
        record_sent()
        record_sent()
        hang(deadline)

    monkeypatch.setattr(endpoint, "ask", ask)
    assert endpoint.run(endpoint.call) == [NOT_KNOWN]


def test_control_request_waits_since_its_last_call(
    monkeypatch: pytest.MonkeyPatch, clock: VirtualTime, hang: Callable[[Deadline], None]
) -> None:
    """Its first one, for a token, may take most of the time. Then too little is left to show an outage."""
    endpoint = Endpoint(clock, hang)

    def ask(deadline: Deadline, record_sent: Callable[[], None]) -> None:
        record_sent()
        clock.sleep(1.6)
        record_sent()
        clock.sleep(0.8)
        endpoint.silence.record_answer()

    monkeypatch.setattr(endpoint, "ask", ask)
    assert endpoint.run(endpoint.call) == [NOT_KNOWN]


def test_timeout_is_image_fault_if_control_request_is_answered(clock: VirtualTime) -> None:
    """Fault B4: the author of a Pod knows such a name; the circuit breaker gets the answer at once."""
    endpoint = Endpoint(clock, answer_at_once)
    assert endpoint.run(endpoint.call) == [ANSWERS_OTHERS]
    assert endpoint.controls == [0.75, 1.5, 2.25]
    assert endpoint.heard >= 3


def test_control_request_of_breaker_probe_is_sent_at_once(clock: VirtualTime) -> None:
    """Fault B4: all other lookups wait for the end of the probe."""
    endpoint = Endpoint(clock, answer_at_once)
    endpoint.run(lambda: endpoint.call(in_doubt=True), seconds=0.1)
    assert (endpoint.controls, endpoint.heard) == ([0.0], 1)


def test_answers_to_other_calls_replace_control_request(
    clock: VirtualTime, hang: Callable[[Deadline], None]
) -> None:
    """Fault B4: while other calls are answered from time to time, no control request is sent."""
    endpoint = Endpoint(clock, hang)
    others = [endpoint.later(at, endpoint.silence.record_answer) for at in (0.7, 1.4, 2.1, 2.8)]
    assert endpoint.run(endpoint.call, *others) == [ANSWERS_OTHERS]
    assert endpoint.controls == []


def test_answer_before_outage_does_not_count(clock: VirtualTime, hang: Callable[[Deadline], None]) -> None:
    """Half of the call's time without an answer counts, regardless of earlier answers."""
    endpoint = Endpoint(clock, hang)
    answered = endpoint.later(0.3, endpoint.silence.record_answer)
    assert endpoint.run(endpoint.call, answered) == ["registry: late"]
    assert endpoint.controls == [1.05, 1.3]


def test_late_answer_to_other_call_prevents_outage(
    clock: VirtualTime, hang: Callable[[Deadline], None]
) -> None:
    """Fault B4: the control request was pending for less than half of the call's time."""
    endpoint = Endpoint(clock, hang)
    answered = endpoint.later(0.7, endpoint.silence.record_answer)
    assert endpoint.run(endpoint.call, answered) == [ANSWERS_OTHERS]


def test_incoming_bytes_of_large_answers_are_not_outage(
    clock: VirtualTime, hang: Callable[[Deadline], None]
) -> None:
    """Fault B2: an author's large manifests saturate the network, and no answer is complete in time."""
    endpoint = Endpoint(clock, hang)

    def arrive() -> None:
        endpoint.bytes += ALIVE

    assert endpoint.run(endpoint.call, endpoint.later(2.0, arrive)) == [NOT_KNOWN]


def test_timeout_with_few_incoming_bytes_is_registry_fault(
    clock: VirtualTime, hang: Callable[[Deadline], None]
) -> None:
    """An endpoint that sends single bytes is down."""
    endpoint = Endpoint(clock, hang)

    def arrive() -> None:
        endpoint.bytes += 1

    trickle = [endpoint.later(tenth / 10, arrive) for tenth in range(30)]
    assert endpoint.run(endpoint.call, *trickle) == ["registry: late"]


def test_unsent_control_request_does_not_count(clock: VirtualTime) -> None:
    """Fault B6: no call was made."""
    endpoint = Endpoint(clock, have_no_secret)
    assert endpoint.run(endpoint.call) == [NOT_KNOWN]


def test_exception_in_control_request_does_not_stop_later_ones(
    clock: VirtualTime, caplog: pytest.LogCaptureFixture
) -> None:
    """Otherwise no later outage would be detected."""

    def break_down(deadline: Deadline) -> None:
        raise KeyError("a bug")

    endpoint = Endpoint(clock, break_down)
    assert endpoint.run(endpoint.call) == [NOT_KNOWN]
    assert endpoint.controls == [0.75, 1.0, 1.75, 2.5]
    assert caplog.messages == ["a control request failed"] * 4


def test_calls_in_outage_share_control_requests(clock: VirtualTime, hang: Callable[[Deadline], None]) -> None:
    """A call during an outage needs no control request of its own."""
    endpoint = Endpoint(clock, hang)
    calls = [endpoint.later(number * 0.25, endpoint.call) for number in range(20)]
    assert endpoint.run(*calls) == ["registry: late"] * 20
    assert endpoint.controls == [0.75, 1.0, 3.75, 4.5, 6.75, 7.5]


def test_earlier_outage_does_not_affect_later_timeout(
    clock: VirtualTime, hang: Callable[[Deadline], None]
) -> None:
    """Fault B4: an outage of yesterday does not explain a timeout of today."""
    endpoint = Endpoint(clock, hang)
    endpoint.run(endpoint.call)
    endpoint.ends.clear()
    endpoint.control = answer_at_once
    assert endpoint.run(endpoint.call) == [ANSWERS_OTHERS]


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (LookupTimeout("held up", fault=Fault.LOCAL), "local: held up"),
        (RegistryUnavailable("no connection"), "registry: no connection"),
    ],
)
def test_failures_other_than_timeout_are_unchanged(
    clock: VirtualTime, error: TrustLookupError, end: str
) -> None:
    """Only a timeout of the endpoint needs a control request."""
    endpoint = Endpoint(clock, answer_at_once)
    assert endpoint.run(lambda: endpoint.call(error=error)) == [end]


def test_answered_calls_send_no_control_request(clock: VirtualTime, hang: Callable[[Deadline], None]) -> None:
    """With any number of calls."""
    endpoint = Endpoint(clock, hang)

    def answered() -> None:
        with endpoint.silence.watch(Deadline.after(SECONDS), endpoint.ask, endpoint.hear):
            clock.sleep(SECONDS * CONTROL_DELAY * 0.9)
            endpoint.silence.record_answer()

    endpoint.run(*[endpoint.later(number * 0.1, answered) for number in range(100)])
    assert endpoint.controls == []
    assert endpoint.silence._watchers == 0
