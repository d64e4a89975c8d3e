"""No bytes are divided into other requests than by Go's net/http, the HTTP library of kube-apiserver."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest

from tests.differential.comparison import find_difference
from tests.differential.go_reader import go_server, read_by_go
from tests.differential.webhook_reader import read_by_webhook
from tests.fuzz.effort import seeds
from tests.fuzz.http_inputs import VALID, change, divide, requests

AT_ONCE = 5000
"""Inputs for each run of Go's server."""


def make(random: Random) -> bytes:
    """Return valid requests that were changed."""
    return change(random, requests(random, VALID))


@pytest.mark.slow
def test_changed_requests_are_divided_as_by_go() -> None:
    """The webhook accepts the same first requests as Go, with the same bodies, and then perhaps no more."""
    program = go_server()
    remaining = iter(seeds(1))
    while batch := list(islice(remaining, AT_ONCE)):
        for seed, go in zip(batch, read_by_go(program, [make(Random(seed)) for seed in batch]), strict=True):
            data = make(Random(seed))
            assert find_difference(read_by_webhook([data]), go) == "", (seed, data)


def test_changed_requests_are_divided_independently_of_network() -> None:
    """However the bytes arrive, they are the same requests, and the connection ends for the same reason."""
    for seed in seeds(4):
        random = Random(seed)
        data = make(random)
        whole, parts = read_by_webhook([data]), read_by_webhook(divide(random, data))
        assert parts.requests == whole.requests, (seed, data)
        assert bool(parts.refusal) == bool(whole.refusal), (seed, data)
