"""Image patterns: which images a rule or an exemption is about.

A pattern is compared with the parsed reference, whole path components at a time, so that
``a/infra/**`` never matches ``a/infra-evil/x``. ``*`` stands for any run of characters within one
component, ``**`` for one or more components. A bare ``**`` is every image of every host; no other
pattern may have a wildcard as its host but ``*.`` and a fixed domain. Without a tag a pattern matches every
tag and digest; with ``:tag``, which may hold ``*``, only those tags and no reference that pins a
digest, because a runtime pulls the digest and ignores the tag; with ``@sha256:...`` only that digest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from webhook.errors import InvalidPatternError, InvalidReferenceError
from webhook.images.reference import ImageReference, check_domain, check_path, split_domain

MAX_LENGTH: Final = 512
EVERYTHING: Final = "**"

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_TAG_GLOB: Final = re.compile(r"[A-Za-z0-9_*][A-Za-z0-9_.*-]{0,127}")
_COMPONENT_GLOB: Final = re.compile(r"[a-z0-9._*-]+")


@dataclass(frozen=True, slots=True)
class ImagePattern:
    """A compiled pattern.

    ``text`` is what the file says. ``domain`` is a host, ``*.`` and a fixed domain, or ``**`` for
    every host; ``components`` are the globs of the path. At most one of ``tag`` (a glob) and
    ``digest`` is set.
    """

    text: str
    domain: str
    components: tuple[str, ...]
    tag: str | None = None
    digest: str | None = None

    @property
    def is_everything(self) -> bool:
        """Whether it is the bare ``**``: every image of every host."""
        return self.domain == EVERYTHING

    def matches(self, reference: ImageReference) -> bool:
        """Whether the pattern names this image."""
        if self.digest is not None and reference.digest != self.digest:
            return False
        if self.tag is not None and (
            reference.digest is not None or reference.tag is None or not _glob(self.tag, reference.tag)
        ):
            return False
        if self.is_everything:
            return True
        if self.domain.startswith("*."):
            if not reference.domain.endswith(self.domain[1:]) or reference.domain == self.domain[1:]:
                return False
        elif reference.domain != self.domain:
            return False
        return _match_components(self.components, tuple(reference.path.split("/")))

    def covers(self, other: ImagePattern) -> bool:
        """Whether every image of ``other`` is certainly one of this pattern's; ``False`` in doubt."""
        if self.digest is not None and other.digest != self.digest:
            return False
        if (
            self.tag is not None
            and other.tag != self.tag
            and (other.tag is None or "*" in other.tag or not _glob(self.tag, other.tag))
        ):
            return False
        if self.is_everything:
            return True
        if other.is_everything:
            return False
        if self.domain.startswith("*."):
            if not other.domain.removeprefix("*").endswith(self.domain[1:]):
                return False
        elif other.domain != self.domain:
            return False
        if self.components in (other.components, (EVERYTHING,)):
            return True
        if any("*" in component for component in other.components):
            literal = other.components[: len(self.components) - 1]
            return (
                self.components[-1] == EVERYTHING
                and len(other.components) >= len(self.components)
                and self.components[:-1] == literal
            )
        return _match_components(self.components, other.components)


def parse_pattern(text: str) -> ImagePattern:
    """Compile a pattern.

    Raises:
        InvalidPatternError: the text is no pattern.
    """
    if not text or len(text) > MAX_LENGTH or not text.isascii() or not text.isprintable() or " " in text:
        raise InvalidPatternError(f"a pattern has 1 to {MAX_LENGTH} printable ASCII characters and no space")
    name, tag, digest = _split(text)
    if name == EVERYTHING:
        return ImagePattern(text, EVERYTHING, (EVERYTHING,), tag, digest)
    domain, path = _split_name(name)
    _check_host(domain)
    components = tuple(path.split("/"))
    for component in components:
        _check_component(component)
    return ImagePattern(text, domain, components, tag, digest)


def _split(text: str) -> tuple[str, str | None, str | None]:
    name, at, digest = text.partition("@")
    if at and _DIGEST.fullmatch(digest) is None:
        raise InvalidPatternError("after @ comes sha256: and 64 hexadecimal digits")
    colon = name.find(":", name.rfind("/") + 1)
    if colon < 0:
        return name, None, digest if at else None
    if at:
        raise InvalidPatternError("a pattern has a tag or a digest, not both")
    tag = name[colon + 1 :]
    if _TAG_GLOB.fullmatch(tag) is None:
        raise InvalidPatternError("after : comes a tag of letters, digits, dots, hyphens, underscores and *")
    return name[:colon], tag, None


def _split_name(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if "*" in first:
        if not slash:
            raise InvalidPatternError(
                "a wildcard cannot stand alone: write the host before it, or ** for every image"
            )
        return first, rest
    return split_domain(name)


def _check_host(domain: str) -> None:
    fixed = domain.removeprefix("*.")
    if "*" in fixed or (domain != fixed and "." not in fixed):
        raise InvalidPatternError(
            "a wildcard host is written as *. and a fixed domain, *.example.com for instance"
        )
    try:
        check_domain(fixed.lower())
    except InvalidReferenceError as error:
        raise InvalidPatternError(str(error)) from None


def _check_component(component: str) -> None:
    if "**" in component and component != EVERYTHING:
        raise InvalidPatternError("** stands for whole components and is written alone between slashes")
    if component == EVERYTHING:
        return
    if "*" in component:
        if _COMPONENT_GLOB.fullmatch(component) is None:
            raise InvalidPatternError(
                "an image name has lower-case letters, digits, dots, underscores and hyphens"
            )
        return
    try:
        check_path(component)
    except InvalidReferenceError as error:
        raise InvalidPatternError(str(error)) from None


def _glob(pattern: str, text: str) -> bool:
    """Match ``*`` as any run of characters, in time linear in the text for each part of the pattern."""
    first, *rest = pattern.split("*")
    if not rest:
        return text == first
    last = rest.pop()
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    position, end = len(first), len(text) - len(last)
    for part in rest:
        found = text.find(part, position, end)
        if found < 0:
            return False
        position = found + len(part)
    return True


def _match_components(globs: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    """Match whole components; ``**`` takes one or more.

    ``reachable`` holds how many parts the globs so far can have taken: no backtracking.
    """
    reachable = {0}
    for glob in globs:
        if glob == EVERYTHING:
            reachable = set(range(min(reachable) + 1, len(parts) + 1)) if reachable else set()
        else:
            reachable = {n + 1 for n in reachable if n < len(parts) and _glob(glob, parts[n])}
        if not reachable:
            return False
    return len(parts) in reachable
