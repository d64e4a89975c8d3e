"""The webhook and Go divide the same bytes into the same requests, or the webhook refuses them."""

from __future__ import annotations

import pytest

from tests.differential.cases import CASES, VALID
from tests.differential.comparison import STRICTER, TOLERATED, find_difference, stricter, tolerated
from tests.differential.go_reader import go_server, read_by_go
from tests.differential.readings import Seen
from tests.differential.recording import REFRESH, recorded_inputs, recorded_readings
from tests.differential.webhook_reader import read_by_webhook


@pytest.mark.parametrize("case", CASES)
def test_accepted_bytes_are_divided_as_by_go(case: str) -> None:
    """Otherwise a part of one request would be another request for one of them."""
    assert find_difference(read_by_webhook([CASES[case]]), recorded_readings()[case]) == ""


@pytest.mark.parametrize("case", VALID)
def test_valid_bytes_are_accepted_as_by_go(case: str) -> None:
    """Being strict must not cost a client."""
    assert read_by_webhook([CASES[case]]).reading().refusal == ""
    assert len(read_by_webhook([CASES[case]]).requests) == len(recorded_readings()[case].requests)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("size", [1, 7])
def test_division_does_not_depend_on_network(case: str, size: int) -> None:
    """Pieces of one and of seven bytes are read as the whole."""
    data = CASES[case]
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    assert read_by_webhook(pieces).requests == read_by_webhook([data]).requests


@pytest.mark.parametrize("case", CASES)
def test_refused_connection_ends(case: str) -> None:
    """The rest is not read as another request: nobody knows where that begins."""
    read = read_by_webhook([CASES[case]])
    final = [answer for answer in read.answers if answer.status != 100]
    assert len(final) == len(read.requests) + len(read.aborted)
    assert all(answer.headers["connection"] == "close" for answer in final[len(read.requests) :])


def test_hidden_request_is_never_answered() -> None:
    """It is in a body in every case, or in bytes that no parser may take for a request."""
    hidden = [name for name, data in CASES.items() if "/hidden" in data.decode("latin-1")]
    answered = {name for name in hidden if "/hidden" in {seen.target for seen in _requests(name)}}
    assert answered == {"a body without any length", "a length with an underscore in its name"}
    assert len(hidden) > 20


def test_every_stricter_kind_has_a_case() -> None:
    """The list does not outlive the code."""
    refused = {
        stricter(read)
        for name, data in CASES.items()
        if len((read := read_by_webhook([data])).requests) < len(recorded_readings()[name].requests)
    }
    assert refused == set(STRICTER)


def test_every_tolerated_kind_has_a_case() -> None:
    """The list does not outlive the code."""
    kinds: set[str] = set()
    for name, data in CASES.items():
        read, common = read_by_webhook([data]), len(recorded_readings()[name].requests)
        if len(read.requests) > common:
            kinds |= tolerated(read, common)
    assert kinds == set(TOLERATED)


def test_recorded_readings_are_of_these_cases() -> None:
    """To refresh them: ``python -m tests.differential``."""
    assert recorded_inputs() == CASES, f"refresh with: {REFRESH}"


@pytest.mark.slow
def test_recorded_readings_are_those_of_installed_go() -> None:
    """To refresh them: ``python -m tests.differential``."""
    live = dict(zip(CASES, read_by_go(go_server(), CASES.values()), strict=True))
    assert live == recorded_readings(), f"refresh with: {REFRESH}"


def _requests(case: str) -> list[Seen]:
    return read_by_webhook([CASES[case]]).requests
