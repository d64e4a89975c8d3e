"""Mistakes in dividing the bytes of a connection into requests."""

from __future__ import annotations

from typing import Final

from tests.bypasses.mistakes import mistake

HEADS: Final = "webhook/server/heads.py"
BODIES: Final = "webhook/server/request_bodies.py"
INBOX: Final = "webhook/server/inbox.py"
CONVERSATION: Final = "webhook/server/conversation.py"

T_DIVISION: Final = "tests/differential/test_division.py::test_accepted_bytes_are_divided_as_by_go"
T_HEADS: Final = "tests/unit/server/test_heads.py::test_malformed_head_is_refused"
T_BODIES: Final = "tests/unit/server/test_request_bodies.py"

_PARSE: Final = "httptools.HttpRequestParser(fields).feed_data(data)"
_LENIENT: Final = "parser = httptools.HttpRequestParser(fields); parser.set_dangerous_leniencies({}); parser.feed_data(data)"

HTTP_MISTAKES: Final = (
    mistake(
        "T56",
        "chunks with a length are accepted",
        T_HEADS,
        (HEADS, _PARSE, _LENIENT.format("lenient_chunked_length=True")),
        (HEADS, ' or b"transfer-encoding" in used:', ":"),
    ),
    mistake(
        "T56",
        "the last of several lengths counts",
        T_DIVISION,
        (
            HEADS,
            _PARSE,
            'httptools.HttpRequestParser(fields).feed_data(re.sub(rb"(?is)\\r\\ncontent-length:[^\\r]*'
            '(?=\\r\\n.*content-length:)", b"", data))',
        ),
    ),
    mistake(
        "T56",
        "other codings before chunks are ignored",
        T_DIVISION,
        (HEADS, 'if codings.lower() != b"chunked":', 'if not codings.lower().endswith(b"chunked"):'),
    ),
    mistake(
        "T56",
        "chunks are accepted in HTTP/1.0",
        T_DIVISION,
        (HEADS, "    if is_old:\n", "    if False:\n"),
    ),
    mistake(
        "T56",
        "two spaces are accepted in the request line",
        T_DIVISION,
        (HEADS, 'rb") ([!\\"$-~]+) HTTP', 'rb") +([!\\"$-~]+) HTTP'),
    ),
    mistake(
        "T56",
        "a head may have folded lines",
        T_HEADS,
        (HEADS, _PARSE, 'httptools.HttpRequestParser(fields).feed_data(data.replace(b"\\r\\n ", b" "))'),
    ),
    mistake(
        "T56",
        "a line of a head may end with a line feed",
        T_HEADS,
        (HEADS, _PARSE, _LENIENT.format("lenient_optional_cr_before_lf=True")),
    ),
    mistake(
        "T56",
        "a request without a host is accepted",
        T_DIVISION,
        (HEADS, 'if not is_old and b"host" not in used:', "if False:"),
    ),
    mistake(
        "T56",
        "any host is accepted",
        T_DIVISION,
        (HEADS, 'if not _HOST.fullmatch(used.get(b"host", b"")):', "if False:"),
    ),
    mistake(
        "T56",
        "a chunk may be longer than its size",
        T_DIVISION,
        (
            BODIES,
            "self._source.read_line(0)",
            "self._source.read_line(MAX_CHUNK_LINE)",
        ),
    ),
    mistake(
        "T56",
        "white space around the size of a chunk is ignored",
        f"{T_BODIES}::test_malformed_chunks_are_refused",
        (BODIES, "(?:;[\\t -~", "[ \\t]*(?:;[\\t -~"),
    ),
    mistake(
        "T56",
        "a trailer is not checked",
        T_DIVISION,
        (BODIES, "if _FIELD.fullmatch(line) is None:", "if not line:"),
    ),
    mistake(
        "T56",
        "a line before a chunk may end with a line feed",
        T_DIVISION,
        (
            INBOX,
            "        data = self._data\n        while (end",
            "        data = self._data\n"
            '        if data[: data.find(b"\\n")][-1:] != b"\\r":\n'
            '            data = data.replace(b"\\n", b"\\r\\n", 1)\n'
            "        while (end",
        ),
    ),
    mistake(
        "T56",
        "a body that ends early is complete",
        f"{T_BODIES}::test_body_that_ends_early_is_not_a_body",
        (
            BODIES,
            "        data = self._source.read(min(size, self._left))\n",
            "        try:\n"
            "            data = self._source.read(min(size, self._left))\n"
            "        except ConnectionResetError:\n"
            '            data, self._left = b"", 0\n',
        ),
    ),
    mistake(
        "T56",
        "the rest of a refused request is the next one",
        "tests/differential/test_division.py::test_refused_connection_ends",
        (
            CONVERSATION,
            "            while self._answer_next():\n                pass\n",
            "            while self._answer_or_refuse():\n                pass\n",
        ),
        (
            CONVERSATION,
            "    def _answer_next(self) -> bool:\n",
            "    def _answer_or_refuse(self) -> bool:\n"
            "        try:\n"
            "            return self._answer_next()\n"
            "        except BadRequestError as error:\n"
            '            self._server.connections.count_abort(self._connection, "malformed")\n'
            "            self._refuse(error)\n"
            "            return True\n\n"
            "    def _answer_next(self) -> bool:\n",
        ),
    ),
)
"""Part of ``MISTAKES``."""
