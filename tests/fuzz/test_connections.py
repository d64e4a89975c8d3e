"""Random bytes over connections to the installed program: every response is well-formed and about its request."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from tests.differential.readings import Seen
from tests.differential.webhook_reader import read_by_webhook
from tests.emulator.server import Emulator
from tests.fuzz.effort import seeds
from tests.fuzz.http_inputs import change, divide, requests
from tests.fuzz.oracle import find
from tests.fuzz.raw_client import RawClient
from tests.http.wire import HELLO
from tests.support.builders import HOST, pod, review
from tests.support.serving import ServerProcess, make_certificate

pytestmark = pytest.mark.slow

CLIENTS: Final = 16
"""Connections at a time."""

TRUSTED: Final = f"{HOST}/shop/web:1.0"
UNTRUSTED: Final = f"{HOST}/shop/web:2.0"
PROBES: Final = [
    b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"HEAD /readyz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /nothing HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"PUT /validate HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
]
ANSWERED: Final = {100, 200, 400, 404, 405, 413, 415}
REFUSED: Final = {400, 405, 414, 417, 431, 501}
STAGES: Final = {"handshake", "idle", "request", "malformed", "full"}
HARMLESS: Final = ("DELETE", "CONNECT"), ("status", "scale", "resize", "binding", "eviction")

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [A-Za-z -]+\r\n")
_FIELD: Final = re.compile(rb"([A-Z][A-Za-z-]*): ([ -~]+)\r\n")


@pytest.fixture
def server(emulator: Emulator, tmp_path: Path) -> Iterator[ServerProcess]:
    """Return a webhook that waits for two seconds at most."""
    certificate = make_certificate(tmp_path)
    with ServerProcess(tmp_path, emulator.url, certificate, inject="tests.http.short_timeouts") as running:
        yield running


def test_random_connections_get_defined_responses(server: ServerProcess) -> None:
    """Whatever a client sends, divides and damages: no untrusted image is admitted, and the server lives on."""
    answered: Counter[str] = Counter()
    context = server.context()
    remaining = seeds(8)
    with ThreadPoolExecutor(CLIENTS) as threads:
        while batch := list(islice(remaining, 1000)):
            for counts in threads.map(lambda seed: _converse(server.port, context, seed), batch):
                answered.update(counts)
    # A busy machine is slower than the server's limits for a few of them.
    assert answered["responses"] > answered["expected"] / 2 > 0
    assert answered["allowed"] > 0
    _check_server(server)


def _check_server(server: ServerProcess) -> None:
    """It answers reviews, has logged no error, and has counted what it aborted."""
    assert server.process is not None
    assert server.process.poll() is None
    assert server.validate(review(pod(TRUSTED)))["allowed"]
    assert not server.validate(review(pod(UNTRUSTED)))["allowed"]
    assert "Traceback" not in server.logs()
    page = server.get("/metrics")[1].decode()
    stages = set(re.findall(r'swr_trust_connections_cut_total\{stage="(\w+)"\}', page))
    assert stages <= STAGES
    assert {"handshake", "malformed"} <= stages


def _converse(port: int, context: Any, seed: int) -> Counter[str]:
    """Run one connection; return how many responses it got and could get."""
    random = Random(seed)
    client = RawClient(port, context, random)
    try:
        if not random.randrange(8):
            client.send(_no_tls(random))
            client.end_data()
            client.read_raw()
            return Counter()
        try:
            client.handshake()
        except OSError:  # the machine is too slow for the server's limit
            return Counter()
        data = change(random, requests(random, _valid(random, seed)))
        _send(client, random, data)
        return _check(data, client.read_to_end())
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error
    finally:
        client.close()


def _send(client: RawClient, random: Random, data: bytes) -> None:
    """Send ``data``, often divided, sometimes damaged; end it in one of several ways."""
    records = client.encrypt(divide(random, data) if random.randrange(2) else [data])
    kind = random.randrange(20)
    if kind == 0:
        place = random.randrange(len(records))
        records = records[:place] + random.randbytes(random.randint(0, 3)) + records[place + 1 :]
    elif kind == 1:
        records = records[: random.randrange(len(records))]
    client.send(records)
    end = random.randrange(8)
    if end == 0:
        client.end_tls()
    elif end > 1 or _is_answered(data):  # a connection that was answered may be idle for long
        client.end_data()


def _is_answered(data: bytes) -> bool:
    return bool(read_by_webhook([data]).requests)


def _no_tls(random: Random) -> bytes:
    """Return bytes that are not a TLS handshake, or only look like one."""
    return random.choice(
        [
            random.randbytes(random.randint(1, 300)),
            HELLO + random.randbytes(random.randint(0, 300)),
            b"\x16\x03\x01" + random.randbytes(random.randint(1, 40)),
            random.choice(PROBES),
        ]
    )


def _valid(random: Random, seed: int) -> list[bytes]:
    """Return valid requests, among them two reviews with uids of their own."""
    valid = [*PROBES]
    for number, image in enumerate((TRUSTED, UNTRUSTED, TRUSTED)):
        body = review(pod(image), uid=f"{seed:x}-{number}")
        head = b"POST /validate?timeout=5s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        if number < 2:
            valid.append(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body))
        else:
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in divide(random, body))
            valid.append(b"%bTransfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % (head, chunks))
    return valid


def _check(sent: bytes, received: bytes) -> Counter[str]:
    """Compare the responses with what the same conversation reads in memory."""
    read = read_by_webhook([sent])
    expected = iter(read.requests)
    counts = Counter(expected=len(read.answers))
    while received:
        counts["responses"] += 1
        status, fields, received = _read_head(received)
        if status == 100:
            continue
        seen = next(expected, None)
        length = 0 if seen is not None and seen.method == "HEAD" else int(fields[b"Content-Length"])
        assert fields[b"Connection"] in {b"close", b"keep-alive"}
        if len(received) < length:  # the client damaged what followed, and lost the end of the response
            break
        body, received = received[:length], received[length:]
        if seen is None:
            assert status in REFUSED, status
            assert fields[b"Connection"] == b"close"
            assert not received
        else:
            assert status in ANSWERED, status
            counts["allowed"] += _check_answer(seen, status, body)
    assert counts["responses"] <= counts["expected"], (sent, counts)
    return counts


def _read_head(received: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
    """Return status, fields and the rest; assert that the head is well-formed."""
    head, end, rest = received.partition(b"\r\n\r\n")
    head += b"\r\n"
    line = _STATUS_LINE.match(head)
    assert line is not None, head
    assert end, head
    fields: dict[bytes, bytes] = {}
    position = line.end()
    while position < len(head):
        field = _FIELD.match(head, position)
        assert field is not None, head
        assert field[1] not in fields, head
        fields[field[1]] = field[2]
        position = field.end()
    return int(line[1]), fields, rest


def _check_answer(seen: Seen, status: int, body: bytes) -> bool:
    """Return whether a review was allowed; assert that it may be, and that the response is about it."""
    if status != 200 or not seen.target.startswith("/validate"):
        return False
    response = json.loads(body)["response"]
    assert response["uid"].encode() in seen.body
    if response["allowed"]:
        try:
            request = json.loads(seen.body.decode(errors="replace"))["request"]
        except ValueError:
            raise AssertionError(f"a review that cannot be read was allowed: {seen.body!r}") from None
        operations, subresources = HARMLESS
        images = {image for _, _, image, _ in find(request["object"])}
        assert (
            images <= {TRUSTED}
            or request.get("operation") in operations
            or request.get("subResource") in subresources
        ), images
    return bool(response["allowed"])
