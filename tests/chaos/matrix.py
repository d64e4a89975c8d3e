"""The fault matrix: each fault, how it is started and ended, and the expected findings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


class Site(Protocol):
    """The target of a fault: one account of SWR with its own images."""

    def inject_fault(self, kind: str, **values: Any) -> None:
        """Let the emulator apply a fault to this account; see ``Fault`` of the emulator."""
        ...

    def refuse_connections(self) -> None:
        """Let the account's endpoint refuse connections."""
        ...

    def hang_connections(self) -> None:
        """Let the account's endpoint accept connections and send nothing."""
        ...

    def resolve(self, order: str) -> None:
        """Let the name of the account's endpoint ``hang`` or ``fail``."""
        ...

    def expire_token(self) -> None:
        """Let the account's token expire."""
        ...

    def skew_clock(self) -> None:
        """Let SWR's clock and ours be 20 minutes apart."""
        ...

    def mend(self) -> None:
        """End the fault."""
        ...

    def rotate(self) -> None:
        """Write a new secret, as an operator does after a failed authentication."""
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """One fault.

    ``cold`` is the finding of an image that was never looked up, with the code of its denial; ``earlier``
    that of one that was trusted before. ``mixed`` allows cold images to be trusted, too, if the fault is
    intermittent. ``from_start`` is for a fault that begins before the webhook starts, so that there is no
    earlier image. ``rotates`` says that the recovery needs a new secret.
    """

    name: str
    key: str
    inject_fault: Callable[[Site], None]
    cold: tuple[str, int]
    earlier: str
    mixed: bool = False
    from_start: bool = False
    rotates: bool = False
    signed: bool = False


def _status(status: int, body: str = "", **headers: str) -> Callable[[Site], None]:
    return lambda site: site.inject_fault("status", status=status, body=body, headers=headers)


def _code(number: str) -> str:
    return f'{{"errors":[{{"errorCode":"SVCSTG.SWR.{number}","errorMessage":"no"}}]}}'


def _kind(kind: str, **values: Any) -> Callable[[Site], None]:
    return lambda site: site.inject_fault(kind, **values)


STALE = "trusted/stale"
UNAVAILABLE = ("unknown/unavailable", 503)
TIMEOUT = ("unknown/timeout", 503)
THROTTLED = ("unknown/throttled", 429)
MALFORMED = ("unknown/malformed", 403)
UNAUTHORIZED = ("unknown/unauthorized", 403)
FORBIDDEN = ("unknown/forbidden", 403)
MISSING = ("missing", 403)

MATRIX = (
    Row("connections refused", "refused", lambda site: site.refuse_connections(), UNAVAILABLE, STALE),
    Row("connections reset", "reset", _kind("reset"), UNAVAILABLE, STALE),
    Row("connections accepted, no response", "hole", lambda site: site.hang_connections(), TIMEOUT, STALE),
    Row("no response after the request", "silence", _kind("hang"), TIMEOUT, STALE),
    Row("slow response headers", "headers", _kind("trickle-headers", latency=0.05), TIMEOUT, STALE),
    Row("slow response body", "body", _kind("trickle-body", latency=0.05), TIMEOUT, STALE),
    Row("200 with HTML", "html", _status(200, "<html>Welcome</html>"), MALFORMED, MALFORMED[0]),
    Row("200 with a list", "list", _status(200, "[]"), MALFORMED, MALFORMED[0]),
    Row("truncated JSON", "cut", _kind("cut"), UNAVAILABLE, STALE),
    Row("gzip bomb", "bomb", _kind("gzip"), MALFORMED, MALFORMED[0]),
    Row("response of 100 MB", "huge", _kind("huge"), MALFORMED, MALFORMED[0]),
    Row(
        "redirect",
        "redirect",
        _kind("redirect", body="https://elsewhere.chaos.test/"),
        MALFORMED,
        MALFORMED[0],
    ),
    Row("401", "unauthorized", _status(401, _code("4010000")), UNAUTHORIZED, STALE, rotates=True),
    Row("401, other account", "foreign", _status(401, _code("4011064")), FORBIDDEN, FORBIDDEN[0]),
    Row("403, no permission", "permission", _status(403, _code("4039001")), FORBIDDEN, FORBIDDEN[0]),
    Row("403, rate limit", "throttle", _status(403, _code("4031032")), THROTTLED, THROTTLED[0]),
    Row("404, no such tag", "tag", _status(404, _code("4040115")), MISSING, MISSING[0]),
    Row("404, no such repository", "repository", _status(404, _code("4040113")), MISSING, MISSING[0]),
    Row("404, no such organization", "organisation", _status(404, _code("4040058")), MISSING, MISSING[0]),
    Row("404 from the gateway", "gateway", _status(404, '{"error_code":"APIGW.0101"}'), UNAVAILABLE, STALE),
    Row("404 from an unknown server", "stranger", _status(404, "<html>"), MALFORMED, MALFORMED[0]),
    Row(
        "429, Retry-After one hour", "busy", _status(429, **{"Retry-After": "3600"}), THROTTLED, THROTTLED[0]
    ),
    Row("500", "broken", _status(500), UNAVAILABLE, STALE),
    Row("503", "down", _status(503), UNAVAILABLE, STALE),
    Row("resets every other second", "flapping", _kind("reset", period=1.0), UNAVAILABLE, STALE, mixed=True),
    Row("DNS resolution hangs", "dnshang", lambda site: site.resolve("hang"), TIMEOUT, "", from_start=True),
    Row(
        "DNS resolution fails", "dnsfail", lambda site: site.resolve("fail"), UNAVAILABLE, "", from_start=True
    ),
    Row("token expired", "expired", lambda site: site.expire_token(), UNAUTHORIZED, STALE, rotates=True),
    Row(
        "clock skew of 20 minutes",
        "skew",
        lambda site: site.skew_clock(),
        UNAUTHORIZED,
        STALE,
        rotates=True,
        signed=True,
    ),
)
