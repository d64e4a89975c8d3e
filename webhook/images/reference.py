"""Image references, as in the ``image`` field of a container.

The grammar is that of the OCI distribution project (github.com/distribution/reference, package
comment) with Docker's normalization. The kubelet, containerd and CRI-O apply both to the same string::

    reference  := name [ ":" tag ] [ "@" digest ]
    name       := [ domain "/" ] path
    domain     := host [ ":" port ]
    host       := component ("." component)* | IPv4 | "[" IPv6 "]"
    path       := path-component ("/" path-component)*
    path-component := [a-z0-9]+ (separator [a-z0-9]+)*
    separator  := "." | "_" | "__" | "-"+
    tag        := [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}
    digest     := "sha256:" [0-9a-f]{64}

The first component is a domain if it contains a dot or a colon, or is ``localhost``.

An image must be evaluated under the name that a node runs. This parser is therefore narrower than the
grammar where a node could read a string differently. Such a string is denied:

- ``sha256:...`` alone is grammatically the tag ``...`` of ``docker.io/library/sha256``. containerd
  takes it, or its beginning, for the ID of an image on the node and starts that image (containerd,
  CRI image service, ``LocalResolve``).
- 64 hexadecimal digits alone are an image ID, too; the grammar rejects them only without a tag.
- An upper-case first component without dot or colon (``Shop/web``) is a host in some versions of
  the grammar and an invalid path in others.
- ``Docker.io`` and ``INDEX.docker.io`` reach another server than ``docker.io`` and get no ``library/``,
  because runtimes redirect only the lower-case spelling. Other hosts are the same in any case, because
  DNS ignores case.
- Digests other than sha256 are ones that SWR does not report. Ports have no leading zero.

One difference remains: CRI-O with ``unqualified-search-registries`` pulls a name without a domain
from the registries listed there. Here such a name belongs to Docker Hub, which is not an SWR registry.

Every expression below is applied to one component and cannot divide the same characters in two ways.
The time is therefore linear in the length of the text, even without the limit on it.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from webhook.errors import InvalidReferenceError

DEFAULT_DOMAIN: Final = "docker.io"
LEGACY_DEFAULT_DOMAIN: Final = "index.docker.io"
OFFICIAL_NAMESPACE: Final = "library"
DEFAULT_TAG: Final = "latest"

MAX_NAME_LENGTH: Final = 255
"""Characters of domain and path together (distribution/reference: NameTotalLengthMax)."""

MAX_LENGTH: Final = MAX_NAME_LENGTH + len(":") + 128 + len("@sha256:") + 64
"""No reference is longer. A longer text is denied before it is parsed."""

MAX_PORT: Final = 65535

_PATH_COMPONENT: Final = re.compile(r"[a-z0-9]+(?:(?:\.|__|_|-+)[a-z0-9]+)*")
_HOST_COMPONENT: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
_IPV6_HOST: Final = re.compile(r"\[[0-9A-Fa-f:]{2,39}\]")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_IDENTIFIER: Final = re.compile(r"[0-9a-f]{64}")
_ALGORITHMS: Final = frozenset({"sha256", "sha384", "sha512"})
_WHITE_SPACE: Final = frozenset(" \t\r\n\v\f")
_SCHEMES: Final = frozenset({"http:", "https:", "docker:", "oci:"})


@dataclass(frozen=True, slots=True)
class ImageReference:
    """A parsed and normalized image reference.

    ``domain`` is lower case and holds the port if there is one; the default is ``docker.io``.
    ``path`` is the repository below the host, with Docker's ``library/`` put in. ``tag`` is
    ``latest`` if neither tag nor digest was written, and ``None`` for a reference by digest alone.
    ``digest`` is ``sha256:`` and 64 hexadecimal digits, or ``None``.
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
        InvalidReferenceError: the text is not an image reference. Its ``reason`` is one of ``empty``,
            ``too-long``, ``non-ascii``, ``whitespace``, ``control-character``, ``scheme``,
            ``bad-host``, ``uppercase``, ``bad-path``, ``image-id``, ``bad-tag``,
            ``digest-algorithm`` and ``bad-digest``; its text repeats nothing of the input.
    """
    _check_characters(text)
    name, at, digest = text.partition("@")
    if at:
        check_digest(digest)
    # A colon after the last slash starts the tag; one before it belongs to the host's port.
    colon = name.find(":", name.rfind("/") + 1)
    tag: str | None = None
    if colon >= 0:
        name, tag = name[:colon], name[colon + 1 :]
        if not is_tag(tag):
            raise InvalidReferenceError(
                "bad-tag", "a tag has 1 to 128 letters, digits, dots, hyphens and underscores"
            )
    if (tag is not None and name in _ALGORITHMS) or _IDENTIFIER.fullmatch(name) is not None:
        raise InvalidReferenceError("image-id", "this is the ID of an image on a node, not a name")
    domain, path = split_domain(name)
    check_domain(domain)
    check_path(path)
    if len(domain) + 1 + len(path) > MAX_NAME_LENGTH:
        raise InvalidReferenceError("too-long", f"a name has at most {MAX_NAME_LENGTH} characters")
    if tag is None and not at:
        tag = DEFAULT_TAG
    return ImageReference(domain, path, tag, digest if at else None)


def split_domain(name: str) -> tuple[str, str]:
    """Split a name into domain and path, with Docker's defaults put in, checking neither.

    Raises:
        InvalidReferenceError: reason ``uppercase``; the domain is Docker Hub's in another spelling.
    """
    first, slash, rest = name.partition("/")
    is_domain = slash and ("." in first or ":" in first or first == "localhost")
    domain, path = (first.lower(), rest) if is_domain else (DEFAULT_DOMAIN, name)
    if domain in (DEFAULT_DOMAIN, LEGACY_DEFAULT_DOMAIN):
        if is_domain and first != domain:
            raise InvalidReferenceError("uppercase", f"{domain} must be written in lower case")
        domain = DEFAULT_DOMAIN
        if "/" not in path:
            path = f"{OFFICIAL_NAMESPACE}/{path}"
    return domain, path


def check_domain(domain: str) -> None:
    """Check a host with its optional port.

    Raises:
        InvalidReferenceError: reason ``bad-host`` or ``scheme``.
    """
    if domain in _SCHEMES:
        raise InvalidReferenceError("scheme", f"an image is written without {domain}// before it")
    if domain.startswith("["):
        host, bracket, tail = domain.partition("]")
        good = _is_ipv6(host + bracket)
        colon, port = tail[:1], tail[1:]
        good = good and colon in ("", ":")
    else:
        host, colon, port = domain.partition(":")
        good = all(_HOST_COMPONENT.fullmatch(component) for component in host.split("."))
    if colon:
        good = good and _PORT.fullmatch(port) is not None and int(port) <= MAX_PORT
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


def is_digest(text: str) -> bool:
    """Return whether a text is a digest: ``sha256:`` and 64 hexadecimal digits in lower case."""
    return _DIGEST.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    """Return whether a text is a tag: 1 to 128 letters, digits, dots, hyphens and underscores."""
    return _TAG.fullmatch(text) is not None


def check_digest(digest: str) -> None:
    """Check a digest: ``sha256:`` and 64 hexadecimal digits in lower case.

    Raises:
        InvalidReferenceError: reason ``digest-algorithm`` or ``bad-digest``.
    """
    if is_digest(digest):
        return
    algorithm, colon, _ = digest.partition(":")
    if colon and algorithm != "sha256":
        raise InvalidReferenceError("digest-algorithm", "the digest's algorithm must be sha256")
    raise InvalidReferenceError("bad-digest", "the digest must be sha256: and 64 hexadecimal digits")


def _is_ipv6(bracketed: str) -> bool:
    if _IPV6_HOST.fullmatch(bracketed) is None:
        return False
    try:
        ipaddress.IPv6Address(bracketed[1:-1])
    except ValueError:
        return False
    return True


def _check_characters(text: str) -> None:
    if not text:
        raise InvalidReferenceError("empty", "the image is empty")
    if len(text) > MAX_LENGTH:
        raise InvalidReferenceError("too-long", f"an image reference has at most {MAX_LENGTH} characters")
    if not text.isascii():
        raise InvalidReferenceError("non-ascii", "an image reference has ASCII characters only")
    if not _WHITE_SPACE.isdisjoint(text):
        raise InvalidReferenceError("whitespace", "an image reference has no white space")
    if not text.isprintable():
        raise InvalidReferenceError("control-character", "an image reference has no control characters")
