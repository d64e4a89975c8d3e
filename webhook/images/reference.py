"""Image references: what a Pod's ``image`` field names."""

from __future__ import annotations

from dataclasses import dataclass


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
    raise NotImplementedError
