r"""Finds the records of the decision log in the lines that log collectors write.

A collector may wrap each line of a container. These forms are unwrapped, also mixed in one file:

- Docker's ``json-file``: ``{"log": "...\n", "stream": "stdout"}``; a long line is several records, of which
  only the last one ends with a line feed.
- The CRI format of containerd: ``2026-11-10T08:00:00Z stdout F ...``; a long line is ``P`` lines, then ``F``.
- Objects of Fluent Bit, LTS, Loki and others that contain the line, or its object, under a common key.

A line that may contain a decision and cannot be read is counted, so that no report is incomplete without
saying so. Lines are read in pieces, so that memory is bounded for every file and every archive.

Sources: Docker documentation, JSON File logging driver; Kubernetes design proposal, CRI: Log format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

import msgspec

LOGGER: Final = "webhook.decisions"
"""The ``logger`` of the lines that record decisions."""

MAX_LINE: Final = 1_000_000
"""Bytes of one line, also of one that is joined from pieces. A decision has at most about 20,000."""

MAX_INCOMPLETE: Final = 32
"""Sources with an incomplete line. With more, the oldest line is dropped and counted as unreadable."""

MAX_WRAPPERS: Final = 4

WRAPPERS: Final = (
    "log",
    "log_processed",
    "message",
    "msg",
    "content",
    "line",
    "_raw",
    "data",
    "MESSAGE",
    "@message",
    "textPayload",
)
"""Keys of the line in the objects of collectors."""

_SOURCES: Final = ("stream", "pod_name", "podName", "container_id", "container_name", "pod", "kubernetes")
_PIECE: Final = 65536
_MENTION: Final = LOGGER.encode()
_CRI: Final = re.compile(
    rb"(?P<source>[^{]{0,512}?)\d{4}-\d\d-\d\dT\S{1,40} "
    rb"(?P<stream>stdout|stderr) (?P<tag>[FP])(?::\S{0,40})? "
)


class DecisionLines:
    """Finds the decisions in the lines of one log.

    ``other_lines`` counts other lines, ``unreadable`` lines that may have contained a decision.
    """

    def __init__(self) -> None:
        """Begin with all counters at zero."""
        self.other_lines = 0
        self.unreadable = 0
        self._incomplete: dict[tuple[object, ...], bytes] = {}

    def read(self, stream: BinaryIO) -> Iterator[dict[str, Any]]:
        """Yield the decisions of a log, as the webhook wrote them.

        Raises:
            OSError, EOFError, zlib.error: the stream cannot be read to its end.
        """
        for line in _split(stream):
            if len(line) > MAX_LINE:
                self.unreadable += 1
            elif line.strip():
                yield from self._find(line, (), 0)
        self.unreadable += len(self._incomplete)
        self._incomplete.clear()

    def _find(self, line: bytes, source: tuple[object, ...], depth: int) -> Iterator[dict[str, Any]]:
        """Yield the decisions of a line; ``depth`` counts the wrappers around it."""
        cri = _CRI.match(line)
        if cri is not None:
            source = (*source, "cri", cri["source"], cri["stream"])
            body = line[cri.end() :].rstrip(b"\r\n")
            if cri["tag"] == b"P":
                # A line over the limit is truncated here, and counted as unreadable when it ends.
                self._keep(source, (self._incomplete.pop(source, b"") + body)[: MAX_LINE + 1])
                return
            line = self._incomplete.pop(source, b"") + body
            yield from self._read_whole(line, source, depth)
        elif depth:
            yield from self._join(line, source, depth)
        else:
            yield from self._read_whole(line, source, depth)

    def _join(self, text: bytes, source: tuple[object, ...], depth: int) -> Iterator[dict[str, Any]]:
        """Yield the decisions of a record's text, which may be one piece of a line."""
        begun = self._incomplete.pop(source, None)
        starts = text.lstrip().startswith(b"{")
        if begun is not None:
            if starts and _decode(begun + text) is None and _decode(text) is not None:
                # The rest of the line that began is missing.
                self.unreadable += 1
            else:
                text = begun + text
        elif not starts:
            yield from self._read_whole(text, source, depth)
            return
        if _decode(text) is None and not text.endswith(b"\n") and len(text) <= MAX_LINE:
            self._keep(source, text)
        else:
            yield from self._read_whole(text, source, depth)

    def _keep(self, source: tuple[object, ...], text: bytes) -> None:
        if len(self._incomplete) >= MAX_INCOMPLETE:
            self._incomplete.pop(next(iter(self._incomplete)))
            self.unreadable += 1
        self._incomplete[source] = text

    def _read_whole(self, line: bytes, source: tuple[object, ...], depth: int) -> Iterator[dict[str, Any]]:
        value = _decode(line) if len(line) <= MAX_LINE else None
        if isinstance(value, list):
            for item in value:
                yield from self._unwrap(item, source, depth)
        elif value is not None:
            yield from self._unwrap(value, source, depth)
        elif _MENTION in line or line.lstrip().startswith(b"{") or (not depth and b"{" in line):
            self.unreadable += 1
        else:
            self.other_lines += 1

    def _unwrap(self, value: Any, source: tuple[object, ...], depth: int) -> Iterator[dict[str, Any]]:
        """Yield the object if it is a decision, or the decisions that it wraps."""
        if isinstance(value, dict):
            if value.get("logger") == LOGGER:
                yield value
                return
            if depth < MAX_WRAPPERS:
                inside = next((key for key in WRAPPERS if isinstance(value.get(key), (str, dict))), None)
                if inside is not None:
                    inner = value[inside]
                    if isinstance(inner, dict):
                        yield from self._unwrap(inner, source, depth + 1)
                    else:
                        source = (*source, inside, *(str(value.get(key, ""))[:300] for key in _SOURCES))
                        yield from self._find(inner.encode("utf-8", "replace"), source, depth + 1)
                    return
        if _MENTION in msgspec.json.encode(value):
            self.unreadable += 1
        else:
            self.other_lines += 1


def _split(stream: BinaryIO) -> Iterator[bytes]:
    """Yield lines; a longer one than ``MAX_LINE`` is truncated to ``MAX_LINE + 1`` bytes."""
    while line := stream.readline(MAX_LINE + 1):
        piece = line if len(line) > MAX_LINE else b"\n"
        while piece and not piece.endswith(b"\n"):
            piece = stream.readline(_PIECE)
        yield line


def _decode(line: bytes) -> dict[str, Any] | list[Any] | None:
    """Return the list or the object that a line contains, ``None`` without one."""
    text = line.strip()
    start = 0 if text.startswith(b"[{") else text.find(b"{")
    if start < 0:
        return None
    try:
        value: dict[str, Any] | list[Any] = msgspec.json.decode(text[start:])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return value
