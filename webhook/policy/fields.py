"""Types of single values in the configuration file: hosts, URLs, patterns and others.

The message of a type says in one clause what is wrong with a value and what to write. No message repeats a
value that might be a misplaced secret.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from collections.abc import Callable
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import Field, PlainValidator, WithJsonSchema

from webhook.errors import InvalidPatternError, InvalidReferenceError
from webhook.images.patterns import MAX_LENGTH, ImagePattern, parse_pattern
from webhook.images.reference import check_domain
from webhook.policy.quantities import DURATION_PATTERN, format_duration, parse_duration, parse_expiry

MAX_ENTRIES: Final = 200
"""Patterns of one rule or exemption."""

_MAX_TEXT: Final = 4096

_API: Final = "https://swr-api.example.com"
_REGISTRY: Final = "https://swr.example.com"

_REGION: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_PROJECT: Final = re.compile(r"[0-9A-Za-z-]{1,64}")
_NAMESPACE_GLOB: Final = re.compile(r"[a-z0-9*](?:[a-z0-9*-]{0,61}[a-z0-9*])?")
# SWR API Reference, Querying an Image Tag: the parameter namespace.
_ORGANIZATION: Final = re.compile(r"[a-z][a-z0-9]*(?:(?:\.|-|_{1,2})[a-z0-9]+)*")
# Kubernetes, Annotations: an optional DNS subdomain and a slash, then a name of at most 63 characters.
_ANNOTATION: Final = re.compile(
    r"(?:[a-z0-9][a-z0-9.-]{0,251}/)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
)

BROAD_GROUPS: Final = frozenset(
    {
        "system:authenticated",
        "system:unauthenticated",
        "system:serviceaccounts",
        "system:nodes",
        "system:bootstrappers",
    }
)
"""Groups of all users or all machines, which must not be allowed to use break-glass."""

CONTROLLERS: Final = ("system:kube-controller-manager", "system:kube-scheduler", "system:apiserver")
"""Users that act for others: they create objects that another user requested."""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("write text; put quotes around it if it looks like a number")  # noqa: TRY004 - pydantic gathers ValueErrors
    if len(value) > _MAX_TEXT:
        raise ValueError(f"has more than {_MAX_TEXT} characters")
    return value


def _parsed(parse: Callable[[str], Any], **schema: Any) -> Any:
    """Return the metadata of a type that is written as text and read by ``parse``."""
    return PlainValidator(lambda value: parse(_text(value))), WithJsonSchema({"type": "string", **schema})


def _line(maximum: int, least: int = 1) -> Callable[[str], str]:
    """Return a validator of one line of text, which also strips white space."""

    def check(text: str) -> str:
        text = text.strip()
        if len(text) < least:
            raise ValueError("is empty: write some text")
        if len(text) > maximum:
            raise ValueError(f"has {len(text)} characters: write at most {maximum}")
        if not text.isprintable():
            raise ValueError("contains a line break or another unprintable character: remove it")
        return text

    return check


def _payload_text(maximum: int, least: int) -> Callable[[str], str]:
    """Return a validator of text that is compared with that of a signed payload, so nothing is stripped."""
    check_line = _line(maximum, least)

    def check(text: str) -> str:
        check_line(text)
        return text

    return check


def _matching(pattern: re.Pattern[str], message: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if pattern.fullmatch(text) is None:
            raise ValueError(message)
        return text

    return check


def _check_host(text: str) -> str:
    host = text.lower()
    try:
        check_domain(host)
    except InvalidReferenceError:
        raise ValueError(
            "write a host as in image references, with its port if it has one, without scheme and path"
        ) from None
    if "." not in host and ":" not in host and host != "localhost":
        raise ValueError(f"an image reference cannot name {host}: a registry's host has a dot or a port")
    return host


def _check_organization(text: str) -> str:
    if len(text) > 64 or _ORGANIZATION.fullmatch(text) is None:  # noqa: PLR2004 - SWR's limit
        raise ValueError(
            "write the name of an SWR organization: 1 to 64 lower-case letters, digits and single separators"
        )
    return text


def _secure_url(example: str) -> Callable[[str], str]:
    """Return a validator of a base URL that a credential is sent to; messages show ``example``."""

    def check(text: str) -> str:
        base = _split_url(text, example)
        if base.startswith("http:") and not _is_loopback(urlsplit(base).hostname or ""):
            raise ValueError("plain http would reveal the credential to the network: write https")
        return base

    return check


def _check_proxy(text: str) -> str:
    return _split_url(text, _API)


def _split_url(text: str, example: str) -> str:
    """Return scheme, host and port of a base URL, in lower case."""
    message = f"write a base URL such as {example}, without a path"
    if not text.isascii() or not text.isprintable():
        raise ValueError(message)
    parts = urlsplit(text)
    if "@" in parts.netloc:
        raise ValueError(
            "a URL in this file must not contain user and password: for a proxy, set HTTPS_PROXY"
        )
    host = parts.netloc.lower()
    if parts.scheme not in ("https", "http") or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(message)
    try:
        check_domain(host)
    except InvalidReferenceError:
        raise ValueError(message) from None
    return f"{parts.scheme}://{host}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_file(text: str) -> str:
    if not text.startswith("/") or not text.isprintable():
        raise ValueError("write the absolute path of a file, such as /etc/swr/token")
    return text


def _check_user(text: str) -> str:
    name = _check_name(text)
    if name == "system:anonymous":
        raise ValueError("system:anonymous is every user who has not logged in: name a person")
    if name in CONTROLLERS or name.startswith(("system:node:", "system:serviceaccount:kube-system:")):
        raise ValueError(
            f"{name} creates Pods for other users, so any user could use break-glass: name a person"
        )
    return name


def _check_group(text: str) -> str:
    name = _check_name(text)
    if name in BROAD_GROUPS or name.startswith(("system:serviceaccounts:", "system:bootstrappers:")):
        raise ValueError(f"{name} is too broad, any user could use break-glass: name a group of people")
    return name


def _check_name(text: str) -> str:
    if not text.strip() or text != text.strip() or "*" in text or not text.isprintable():
        raise ValueError("write the whole name: there are no wildcards here")
    return text


def _parse_image(text: str) -> ImagePattern:
    try:
        return parse_pattern(text)
    except InvalidPatternError as error:
        raise ValueError(str(error)) from None


def between(least: str, most: str) -> Any:
    """Return the metadata of a duration within two bounds, in seconds; both are durations themselves."""
    low, high = parse_duration(least), parse_duration(most)

    def check(value: object) -> float:
        seconds = parse_duration(value)
        if not low <= seconds <= high:
            raise ValueError(f"write a duration from {format_duration(low)} to {format_duration(high)}")
        return seconds

    return PlainValidator(check), WithJsonSchema({"type": "string", "pattern": f"^(?=.){DURATION_PATTERN}$"})


Region = Annotated[
    str,
    *_parsed(
        _matching(_REGION, "write the name of a region, such as cn-north-4"),
        examples=["cn-north-4", "eu-west-101"],
    ),
]
Project = Annotated[
    str, *_parsed(_matching(_PROJECT, "write the project's ID: 1 to 64 letters, digits and hyphens"))
]
Host = Annotated[str, *_parsed(_check_host, examples=["10.125.0.198:20202"])]
Organization = Annotated[str, *_parsed(_check_organization)]
Url = Annotated[str, *_parsed(_secure_url(_API), format="uri", pattern="^https?://")]
RegistryUrl = Annotated[str, *_parsed(_secure_url(_REGISTRY), format="uri", pattern="^https?://")]
ProxyUrl = Annotated[str, *_parsed(_check_proxy, format="uri", pattern="^https?://")]
File = Annotated[str, *_parsed(_check_file, pattern="^/")]
Name = Annotated[str, *_parsed(_line(100), minLength=1)]
Reason = Annotated[str, *_parsed(_line(500), minLength=1)]
PayloadKey = Annotated[str, *_parsed(_payload_text(100, 1), minLength=1)]
PayloadText = Annotated[str, *_parsed(_payload_text(500, 0))]
Hint = Annotated[str, *_parsed(_line(300, least=0))]
Annotation = Annotated[
    str, *_parsed(_matching(_ANNOTATION, "write the name of an annotation, such as swr-trust/break-glass"))
]
User = Annotated[str, *_parsed(_check_user, minLength=1)]
Group = Annotated[str, *_parsed(_check_group, minLength=1)]
Expiry = Annotated[
    dt.datetime,
    PlainValidator(parse_expiry),
    WithJsonSchema({"type": "string", "examples": ["2027-06-30", "2027-06-30T18:00:00+08:00"]}),
]
Images = Annotated[
    list[
        Annotated[
            ImagePattern,
            *_parsed(
                _parse_image, maxLength=MAX_LENGTH, examples=["swr.cn-north-4.myhuaweicloud.com/shop/**"]
            ),
        ]
    ],
    Field(min_length=1, max_length=MAX_ENTRIES),
]
Namespaces = Annotated[
    list[
        Annotated[
            str,
            *_parsed(
                _matching(
                    _NAMESPACE_GLOB, "write the name of a namespace, in which * matches any characters"
                ),
                examples=["shop", "sandbox-*"],
            ),
        ]
    ],
    Field(min_length=1, max_length=MAX_ENTRIES),
]
