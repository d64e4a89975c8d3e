"""Image patterns: the images that a rule or an exemption applies to.

A pattern is compared with the parsed reference, whole path components at a time, so that
``a/infra/**`` never matches ``a/infra-evil/x``. ``*`` matches any characters within one
component, ``**`` for one or more components. A bare ``**`` matches every image of every host. Every other
wildcard host is ``*.`` and a fixed domain, and matches every host below that domain.

Without a tag a pattern matches every tag and digest. With ``:tag``, which may hold ``*``, it matches
only those tags, and no reference that pins a digest: a runtime pulls the digest and ignores the tag.
With ``@sha256:...`` it matches only that digest.

A missed match is safe for an exemption and unsafe for a strict rule. ``matches`` therefore says what
is certain and ``may_match`` what is possible: a pinned digest can be the content of any tag, and a
tag can point to any digest. ``Policy.rule_for`` asks both (docs/decisions/0016-patterns-of-rules.md).

Patterns are normalized like references: ``nginx`` is ``docker.io/library/nginx`` and ``team/*`` is
``docker.io/team/*``. The exception is ``docker.io/**``: it is all of Docker Hub and not
``docker.io/library/**``, because ``**`` matches any number of components.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from webhook.errors import InvalidPatternError, InvalidReferenceError
from webhook.globs import matches_glob
from webhook.images.reference import (
    OFFICIAL_NAMESPACE,
    ImageReference,
    check_digest,
    check_domain,
    check_path,
    parse_reference,
    split_domain,
)

MAX_LENGTH: Final = 512
EVERYTHING: Final = "**"

_TAG_GLOB: Final = re.compile(r"[A-Za-z0-9_*][A-Za-z0-9_.*-]{0,127}")


@dataclass(frozen=True, slots=True)
class ImagePattern:
    """A compiled pattern.

    ``text`` is as in the file. ``domain`` is a host, ``*.`` and a fixed domain, or ``**`` for
    every host; ``components`` are the globs of the path. At most one of ``tag`` (a glob) and
    ``digest`` is set.

    The private fields let most patterns be compared by a single string operation: a policy may hold
    hundreds of patterns, and each image is compared with all of them.
    """

    text: str
    domain: str
    components: tuple[str, ...]
    tag: str | None = None
    digest: str | None = None
    _suffix: str | None = field(init=False, repr=False, compare=False)
    """The required end of the domain, if it is not compared as a whole."""
    _path: str | None = field(init=False, repr=False, compare=False)
    """The whole path, if it has no wildcard."""
    _prefix: str | None = field(init=False, repr=False, compare=False)
    """The required beginning of the path, if its only wildcard is a ``**`` at the end."""

    def __post_init__(self) -> None:
        """Derive the shortcuts."""
        suffix = None
        if self.domain == EVERYTHING:
            suffix = ""
        elif self.domain.startswith("*."):
            suffix = self.domain[1:]
        *parents, last = self.components
        fixed = "*" not in "".join(parents)
        path = "/".join(self.components) if fixed and "*" not in last else None
        prefix = "".join(f"{parent}/" for parent in parents) if fixed and last == EVERYTHING else None
        object.__setattr__(self, "_suffix", suffix)
        object.__setattr__(self, "_path", path)
        object.__setattr__(self, "_prefix", prefix)

    @property
    def is_everything(self) -> bool:
        """Whether it is the bare ``**``: every image of every host."""
        return self.domain == EVERYTHING and self.tag is None and self.digest is None

    def matches(self, reference: ImageReference) -> bool:
        """Whether the pattern certainly names this image."""
        if not self._matches_version(reference):
            return False
        return self._matches_name(reference)

    def may_match(self, reference: ImageReference) -> bool:
        """Whether the pattern could name the content that a node runs for this reference."""
        if self.digest is not None:
            if reference.digest not in (None, self.digest):
                return False
        elif self.tag is not None and reference.digest is None and not self._matches_version(reference):
            return False
        return self._matches_name(reference)

    def _matches_version(self, reference: ImageReference) -> bool:
        if self.digest is not None:
            return reference.digest == self.digest
        if self.tag is not None:
            return (
                reference.digest is None
                and reference.tag is not None
                and matches_glob(self.tag, reference.tag)
            )
        return True

    def _matches_name(self, reference: ImageReference) -> bool:
        if self._suffix is None:
            if reference.domain != self.domain:
                return False
        elif not reference.domain.endswith(self._suffix):
            return False
        if self._prefix is not None:
            # Components are never empty: at least one more comes after the prefix.
            return reference.path.startswith(self._prefix)
        if self._path is not None:
            return reference.path == self._path
        return _match_components(self.components, reference.path.split("/"))

    def covers(self, other: ImagePattern) -> bool:
        """Whether every image of ``other`` is certainly one of this pattern's; ``False`` in doubt."""
        if self.digest is not None and other.digest != self.digest:
            return False
        if self.tag is not None and (other.tag is None or not matches_glob(self.tag, other.tag)):
            return False
        if self._suffix is None:
            if other.domain != self.domain:
                return False
        elif not other.domain.removeprefix("*").endswith(self._suffix):
            return False
        return _match_components(self.components, other.components)


def parse_pattern(text: str) -> ImagePattern:
    """Compile a pattern.

    Raises:
        InvalidPatternError: the text is not a pattern, or no image can match it.
    """
    if not text or len(text) > MAX_LENGTH or not text.isascii() or not text.isprintable() or " " in text:
        raise InvalidPatternError(f"a pattern has 1 to {MAX_LENGTH} printable ASCII characters and no space")
    try:
        name, tag, digest = _split(text)
        if name == EVERYTHING:
            return ImagePattern(text, EVERYTHING, (EVERYTHING,), tag, digest)
        domain, path = _split_name(name)
        components = tuple(path.split("/"))
        for component in components:
            _check_component(component)
    except InvalidReferenceError as error:
        raise InvalidPatternError(str(error)) from None
    return ImagePattern(text, domain, components, tag, digest)


def _split(text: str) -> tuple[str, str | None, str | None]:
    name, at, digest = text.partition("@")
    if at:
        check_digest(digest)
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
    """Split a name into its checked domain and its path."""
    if "*" not in name:
        reference = parse_reference(name)
        return reference.domain, reference.path
    first, slash, rest = name.partition("/")
    if "*" in first:
        if not slash:
            raise InvalidPatternError(
                "a wildcard host needs a path: write a host and a path, or ** for every image"
            )
        domain = first.lower()
        _check_wildcard_host(domain)
        return domain, rest
    domain, path = split_domain(name)
    check_domain(domain)
    if path == f"{OFFICIAL_NAMESPACE}/{EVERYTHING}" and rest == EVERYTHING and first != OFFICIAL_NAMESPACE:
        path = EVERYTHING
    return domain, path


def _check_wildcard_host(domain: str) -> None:
    fixed = domain.removeprefix("*.")
    labels = fixed.partition(":")[0].split(".")
    # The end of an IP address is not a domain: the address of another host could have the same end.
    if domain == fixed or "*" in fixed or len(labels) == 1 or labels[-1].isdigit():
        raise InvalidPatternError(
            "a wildcard host is written as *. and a fixed domain, *.example.com for instance"
        )
    check_domain(fixed)


def _check_component(component: str) -> None:
    if component == EVERYTHING:
        return
    if EVERYTHING in component:
        raise InvalidPatternError("** matches whole components and must be alone between slashes")
    # A letter is the most permissive replacement of a *: if the result is not a name, nothing is.
    check_path(component.replace("*", "a"))


def _match_components(globs: tuple[str, ...], parts: tuple[str, ...] | list[str]) -> bool:
    """Match whole components; ``**`` takes one or more, and nothing else takes a ``**``.

    ``reachable`` holds how many parts the globs so far can have taken: no backtracking.
    """
    reachable = {0}
    for glob in globs:
        if glob == EVERYTHING:
            reachable = set(range(min(reachable) + 1, len(parts) + 1))
        else:
            reachable = {
                taken + 1
                for taken in reachable
                if taken < len(parts) and parts[taken] != EVERYTHING and matches_glob(glob, parts[taken])
            }
        if not reachable:
            return False
    return len(parts) in reachable
