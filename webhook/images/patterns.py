"""Image patterns: which images a rule or an exemption is about."""

from __future__ import annotations

from dataclasses import dataclass

from webhook.images.reference import ImageReference


@dataclass(frozen=True, slots=True)
class ImagePattern:
    """A compiled pattern; ``text`` is what the file says."""

    text: str

    def matches(self, reference: ImageReference) -> bool:
        """Whether the pattern names this image."""
        raise NotImplementedError


def parse_pattern(text: str) -> ImagePattern:
    """Compile a pattern.

    Raises:
        InvalidPatternError: the text is no pattern.
    """
    raise NotImplementedError
