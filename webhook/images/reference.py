"""Image references: what a Pod's ``image`` field names.

The grammar is that of the OCI distribution project (github.com/distribution/reference, package
comment) with Docker's normalisation, which is what containerd and CRI-O apply to the same string:

    reference  := name [ ":" tag ] [ "@" digest ]
    name       := [ domain "/" ] path
    domain     := host [ ":" port ]
    host       := component ("." component)* | IPv4 | "[" IPv6 "]"
    path       := path-component ("/" path-component)*
    path-component := [a-z0-9]+ (separator [a-z0-9]+)*
    separator  := "." | "_" | "__" | "-"+
    tag        := [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}
    digest     := "sha256:" [0-9a-f]{64}

The first component is a domain when it holds a dot, a colon or an upper-case letter, or is
``localhost``. Where this reading is stricter than the grammar (digests of other algorithms, names
of 64 hexadecimal digits), the reference is refused: nothing may be judged under another name than
the one a node pulls.

Every expression below is applied to one component at a time and has no nested repetition over the
same characters, so that time is linear in the length of the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from webhook.errors import InvalidReferenceError

DEFAULT_DOMAIN: Final = "docker.io"
LEGACY_DEFAULT_DOMAIN: Final = "index.docker.io"
OFFICIAL_NAMESPACE: Final = "library"
DEFAULT_TAG: Final = "latest"

MAX_NAME_LENGTH: Final = 255
"""Of domain and path together (distribution/reference: NameTotalLengthMax)."""

MAX_LENGTH: Final = MAX_NAME_LENGTH + len(":") + 128 + len("@sha256:") + 64
"""No reference is longer, so a longer text is refused before it is looked at."""

_PATH_COMPONENT: Final = re.compile(r"[a-z0-9]+(?:(?:\.|__|_|-+)[a-z0-9]+)*")
_HOST_COMPONENT: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
_IPV6_HOST: Final = re.compile(r"\[[0-9A-Fa-f:]+\]")
_PORT: Final = re.compile(r"[0-9]{1,5}")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_IDENTIFIER: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ImageReference:
    """A parsed and normalised image reference.

    ``domain`` is lower case and holds the port if there is one (``docker.io`` where none was
    written); ``path`` is the repository below the host, with Docker's ``library/`` put in;
    ``tag`` is ``latest`` where neither tag nor digest was written and ``None`` for a reference
    by digest alone; ``digest`` is ``sha256:`` and 64 hexadecimal digits, or ``None``.
    """

    domain: str
    path: str
    tag: str | None
    digest: str | None

    def __str__(self) -> str:
        """Return the canonical form; ``parse_reference(str(r)) == r`` for every reference."""
        tag = f":{self.tag}" if self.tag is not None else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        return f"{self.domain}/{self.path}{tag}{digest}"


def parse_reference(text: str) -> ImageReference:
    """Parse a reference, in time linear in its length.

    Raises:
        InvalidReferenceError: the text is no image reference.
    """
    _check_characters(text)
    name, at, digest = text.partition("@")
    if at and _DIGEST.fullmatch(digest) is None:
        raise InvalidReferenceError("bad-digest", "the digest must be sha256: and 64 hexadecimal digits")
    # A colon after the last slash starts the tag; one before it belongs to the host's port.
    slash = name.rfind("/")
    colon = name.find(":", slash + 1)
    tag: str | None = None
    if colon >= 0:
        name, tag = name[:colon], name[colon + 1 :]
        if _TAG.fullmatch(tag) is None:
            raise InvalidReferenceError(
                "bad-tag", "a tag has 1 to 128 letters, digits, dots, hyphens and underscores"
            )
    if _IDENTIFIER.fullmatch(name) is not None:
        raise InvalidReferenceError("bad-path", "64 hexadecimal digits are an image ID, not a name")
    domain, path = split_domain(name)
    check_domain(domain)
    check_path(path)
    if len(domain) + 1 + len(path) > MAX_NAME_LENGTH:
        raise InvalidReferenceError("too-long", f"a name has at most {MAX_NAME_LENGTH} characters")
    if tag is None and not at:
        tag = DEFAULT_TAG
    return ImageReference(domain, path, tag, digest if at else None)


def split_domain(name: str) -> tuple[str, str]:
    """Split a name into domain and path, with Docker's defaults put in, checking neither."""
    first, slash, rest = name.partition("/")
    is_domain = slash and ("." in first or ":" in first or first == "localhost" or first != first.lower())
    domain, path = (first.lower(), rest) if is_domain else (DEFAULT_DOMAIN, name)
    if domain == LEGACY_DEFAULT_DOMAIN:
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = f"{OFFICIAL_NAMESPACE}/{path}"
    return domain, path


def check_domain(domain: str) -> None:
    """Check a host with its optional port.

    Raises:
        InvalidReferenceError: reason ``bad-host``.
    """
    if domain.startswith("["):
        host, bracket, tail = domain.partition("]")
        good = _IPV6_HOST.fullmatch(host + bracket) is not None
        colon, port = tail[:1], tail[1:]
        good = good and colon in ("", ":")
    else:
        host, colon, port = domain.partition(":")
        good = all(_HOST_COMPONENT.fullmatch(component) for component in host.split("."))
    if colon:
        good = good and _PORT.fullmatch(port) is not None and 1 <= int(port) <= 65535  # noqa: PLR2004 - TCP
    if not good:
        raise InvalidReferenceError("bad-host", "the registry is no host name or address with a port")


def check_path(path: str) -> None:
    """Check the repository below the host.

    Raises:
        InvalidReferenceError: reason ``uppercase`` or ``bad-path``.
    """
    for component in path.split("/"):
        if _PATH_COMPONENT.fullmatch(component) is None:
            if _PATH_COMPONENT.fullmatch(component.lower()) is not None:
                raise InvalidReferenceError("uppercase", "an image name must be lower case")
            raise InvalidReferenceError(
                "bad-path",
                "each part of an image name has lower-case letters and digits, with single dots, one or two "
                "underscores or hyphens between them",
            )


def _check_characters(text: str) -> None:
    if not text:
        raise InvalidReferenceError("empty", "the image is empty")
    if len(text) > MAX_LENGTH:
        raise InvalidReferenceError("too-long", f"an image reference has at most {MAX_LENGTH} characters")
    if not text.isascii():
        raise InvalidReferenceError("non-ascii", "an image reference has ASCII characters only")
    if text != text.strip() or " " in text:
        raise InvalidReferenceError("whitespace", "an image reference holds no white space")
    if not text.isprintable():
        raise InvalidReferenceError("control-character", "an image reference holds no control characters")
