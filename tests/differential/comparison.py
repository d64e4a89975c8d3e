"""The rule: the requests that the webhook accepts are the first ones that Go accepts, byte for byte.

The webhook may refuse more. Each kind of such input is in ``STRICTER``. It may accept a request that Go
refuses only if that cannot change where the request ends; each kind is in ``TOLERATED``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from tests.differential.readings import Reading, Seen
from tests.differential.webhook_reader import WebhookReading

ENDED: Final = "the connection ends after the response"

STRICTER: Final[dict[str, str]] = {
    "the header fields are not those of HTTP/1.1": "Go reads line feeds without a carriage return, folded fields, "
    "two lengths that agree, and chunks with a length, which it ignores; llhttp refuses them, and white space "
    "after a coding",
    "a line ends without a carriage return": "Go accepts a line feed alone as the end of a line of a head",
    "the request line is not one of HTTP/1.1": "Go accepts fragments and octets beyond ASCII in a target, HTTP/1.2 "
    "and other versions, and up to four carriage returns and line feeds after the body of a POST",
    "HTTP/1.0 has no transfer codings": "Go ignores the coding, so that the chunks are the next request",
    "transfer-encoding is repeated": "Go ignores it in HTTP/1.0",
    "the length of the body is not one number": "Go reads any number of zeros before the length",
    "a chunk does not begin with its size": "Go removes white space after the size, ignores what an extension "
    "contains, and reads sizes of 16 digits",
    "a line of a chunked body is malformed or too long": "Go reads trailers like header fields, so their lines may "
    "end with a line feed alone; a line before a chunk may have 4 KB",
    "a trailer is not a header field": "Go reads folded trailers, and removes trailing white space from their names",
    "the only expectation is 100-continue": "Go finds the word among others",
    ENDED: "Go finds keep-alive of HTTP/1.0 among other words, which need no comma between them",
    "expect is repeated": "Go uses the first one",
    "content-type is repeated": "Go uses the first one",
    "the method is not in capital letters": "Go passes any token to the application",
    "the method is not known": "Go passes any token to the application",
    "a request of HTTP/1.1 has a Host": "Go requires none of CONNECT",
    "a request line has at most 2048 bytes": "Go limits a head to 1 MiB",
    "a header field has at most 4096 bytes": "Go limits a head to 1 MiB",
    "a request has at most 32 header fields": "Go limits a head to 1 MiB",
    "the header fields have at most 8192 bytes": "Go limits a head to 1 MiB",
}
"""How the webhook refuses what Go accepts, mostly the message of its response; and what Go does instead."""

_BAD_ESCAPE: Final = re.compile(r"[^?]*%(?![0-9A-Fa-f]{2})")
_ANNOUNCED_TRAILER: Final = re.compile(
    rb"\r\ntrailer:[^\r]*(content-length|transfer-encoding|trailer)", re.IGNORECASE
)

_OPTIONS: Final = re.compile(rb"\r\nconnection:(.*\r\nconnection:|[^\r]*close)", re.IGNORECASE | re.DOTALL)

TOLERATED: Final[dict[str, tuple[str, Callable[[Seen, bytes, bytes], bool]]]] = {
    "an empty line before a request": (
        "RFC 9112, section 2.2, asks for it; Go skips it after a POST only, as old clients send it there",
        lambda _, head, __: head.startswith(b"\r\n"),
    ),
    "an escape that is not one": (
        "Go decodes the target before the application sees it; here the application does not find it",
        lambda seen, _, __: _BAD_ESCAPE.match(seen.target) is not None,
    ),
    "a target that is not a path": (
        "Go checks the authority as part of a URL; here it is dropped",
        lambda seen, _, __: not seen.target.startswith("/"),
    ),
    "an announced trailer that is not allowed": (
        "trailers are never used, whether announced or not",
        lambda _, head, __: _ANNOUNCED_TRAILER.search(head) is not None,
    ),
    "many bytes that are not data": (
        "Go limits trailers to its buffer of 4 KB, and extensions of chunks to 16 KB together; here each line "
        "and the trailers together are limited, and a request has a time limit",
        lambda seen, head, _: b"\nx-large: yes" in head.lower(),
    ),
    "a request after one with unusual options": (
        "Go reads only the first field Connection for some options, and finds close among other words, which need "
        "no comma between them (RFC 9110, section 7.6.1); it ends the connection, and this request is lost",
        lambda _, __, previous: _OPTIONS.search(previous) is not None,
    ),
}
"""Kinds of requests that the webhook accepts and Go does not: why that is harmless, and how it is recognised by
the request, its head, and the head before it."""


def find_difference(webhook: WebhookReading, go: Reading) -> str:
    """Return how the webhook broke the rule, ``""`` if it did not."""
    ours = webhook.reading()
    for mine, theirs in zip(ours.requests, go.requests, strict=False):
        if _comparable(mine) != _comparable(theirs):
            return f"the same bytes are two requests: {mine} and {theirs}"
    common = len(go.requests)
    if len(ours.requests) > common and not tolerated(webhook, common):
        return f"only the webhook accepts {ours.requests[common]}"
    if len(ours.requests) < common and stricter(webhook) not in STRICTER:
        return f"only the webhook refuses {go.requests[len(ours.requests)]}: {stricter(webhook)}"
    return ""


def stricter(webhook: WebhookReading) -> str:
    """Return why the webhook does not read on: a key of ``STRICTER``, or ``""`` if more data is missing."""
    answers = webhook.answers
    return webhook.refusal or (ENDED if answers and answers[-1].headers.get("connection") == "close" else "")


def tolerated(webhook: WebhookReading, index: int) -> set[str]:
    """Return the kinds of ``TOLERATED`` to which a request belongs."""
    seen, head = webhook.requests[index], webhook.heads[index]
    previous = webhook.heads[index - 1] if index else b""
    return {kind for kind, (_, applies) in TOLERATED.items() if applies(seen, head, previous)}


def _comparable(seen: Seen) -> Seen:
    """Return a request without its host if the target names one: Go then ignores the field."""
    if seen.target.startswith("/"):
        return seen
    return Seen(seen.method, seen.target, "", seen.body)
