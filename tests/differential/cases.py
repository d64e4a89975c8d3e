"""Bytes that two parsers could divide into requests differently, each with a name.

Most are a request that contains or precedes the bytes of another one.
"""

from __future__ import annotations

NEXT = b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = "Transfer-Encoding: chunked"
LARGE = "X-Large: yes"
"""Marks a request with many bytes that are not data, by which ``comparison.TOLERATED`` recognises it."""


def get(*fields: str, line: str = "GET /a HTTP/1.1", host: str | None = "Host: x") -> bytes:
    """Return a request without a body, and another one."""
    return _head(line, host, fields) + NEXT


def post(body: bytes, *fields: str, line: str = "POST /a HTTP/1.1") -> bytes:
    """Return a request with a body, and another one. ``fields`` announce the body."""
    return _head(line, "Host: x", fields) + body + NEXT


def _head(line: str, host: str | None, fields: tuple[str, ...]) -> bytes:
    return "\r\n".join((line, *([host] if host is not None else []), *fields, "", "")).encode("latin-1")


def length(value: str, body: bytes = HIDDEN) -> bytes:
    """Return a request whose length is ``value``, which is the length of ``body`` for some parsers."""
    return post(body, f"Content-Length:{value}")


def coding(value: str, body: bytes = b"0\r\n\r\n") -> bytes:
    """Return a request with a transfer coding."""
    return post(body, f"Transfer-Encoding:{value}")


def chunks(body: bytes, *fields: str) -> bytes:
    """Return a request in chunks."""
    return post(body, CHUNKED, *fields)


SIZE = str(len(HIDDEN))

VALID: dict[str, bytes] = {
    "no body": get(),
    "a body with a length": length(" 3", b"abc"),
    "a body that looks like a request": length(f" {SIZE}"),
    "an empty body": length(" 0", b""),
    "chunks": chunks(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
    "a chunk that looks like a request": chunks(b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)),
    "no chunks": chunks(b"0\r\n\r\n"),
    "a trailer": chunks(b"1\r\na\r\n0\r\nX-A: b\r\n\r\n"),
    "an extension of a chunk": chunks(b"1;a=b\r\na\r\n0;c\r\n\r\n"),
    "a body of a GET": get("Content-Length: 3").replace(NEXT, b"abc" + NEXT),
    "chunks of a GET": post(b"0\r\n\r\n", CHUNKED, line="GET /a HTTP/1.1"),
    "a HEAD": get(line="HEAD /a HTTP/1.1"),
    "an OPTIONS of the server": get(line="OPTIONS * HTTP/1.1"),
    "a tunnel": get(line="CONNECT x:443 HTTP/1.1"),
    "HTTP/1.0": get(line="GET /a HTTP/1.0"),
    "HTTP/1.0 that goes on": get("Connection: keep-alive", line="GET /a HTTP/1.0"),
    "HTTP/1.0 without a host": get("Connection: keep-alive", line="GET /a HTTP/1.0", host=None),
    "a connection that ends": get("Connection: close"),
    "a connection that ends, among options": get("Connection: x,\tClose ,y"),
    "a connection that goes on and ends": get("Connection: keep-alive", "Connection: close"),
    "an announced body": post(b"abc", "Content-Length: 3", "Expect: 100-continue"),
    "an announced body of HTTP/1.0": post(
        b"abc", "Content-Length: 3", "Expect: 100-continue", "Connection: keep-alive", line="POST /a HTTP/1.0"
    ),
    "an upgrade": get("Connection: Upgrade", "Upgrade: h2c"),
    "an upgrade with a body": post(b"abc", "Connection: Upgrade", "Upgrade: x", "Content-Length: 3"),
    "octets beyond ASCII in a value": get("X-A: \xff\xfe"),
    "an empty value": get("X-A:"),
    "a value of white space": get("X-A: \t "),
    "white space around the length": length(f" \t{SIZE}\t "),
    "zeros before the length": length(f" 000{SIZE}"),
    "a coding in capitals": coding(" CHUNKED"),
    "white space before the coding": coding(" \t chunked"),
    "zeros before the size of a chunk": chunks(b"0003\r\nabc\r\n000\r\n\r\n"),
    "a size in capitals": chunks(b"A\r\n0123456789\r\n0\r\n\r\n"),
    "an absolute target": get(line="GET http://x/a?b HTTP/1.1"),
    "escapes in the target": get(line="GET /%68%2F?%20 HTTP/1.1"),
}

FRAMING: dict[str, bytes] = {
    "a length and chunks": post(b"0\r\n\r\n" + HIDDEN, f"Content-Length: {5 + len(HIDDEN)}", CHUNKED),
    "chunks and a length": post(b"0\r\n\r\n" + HIDDEN, CHUNKED, f"Content-Length: {5 + len(HIDDEN)}"),
    "a length of zero and chunks": post(b"0\r\n\r\n", "Content-Length: 0", CHUNKED),
    "two lengths": post(HIDDEN, "Content-Length: 0", f"Content-Length: {SIZE}"),
    "two lengths in the other order": post(HIDDEN, f"Content-Length: {SIZE}", "Content-Length: 0"),
    "two lengths that agree": post(HIDDEN, f"Content-Length: {SIZE}", f"content-length: {SIZE}"),
    "two lengths that agree as numbers": post(HIDDEN, f"Content-Length: {SIZE}", f"Content-Length: 0{SIZE}"),
    "a list of lengths": length(f" {SIZE}, {SIZE}"),
    "a length of twenty digits": length(f" {SIZE:0>20}"),
    "a length with a sign": length(f" +{SIZE}"),
    "a negative length": length(" -1"),
    "a length in hexadecimal": length(" 0x20"),
    "a length with an underscore": length(" 3_2"),
    "a length with a point": length(f" {SIZE}.0"),
    "a length with an exponent": length(" 1e1"),
    "a length with a space inside": length(" 3 2"),
    "a length with a form feed": length(f"\x0c{SIZE}"),
    "a length of other digits": length(" \xb3\xb2"),
    "an empty length": length(""),
    "a length beyond 63 bits": length(" 9223372036854775808"),
    "a length beyond 64 bits": length(" 18446744073709551648"),
    "a length with a null": length(f" {SIZE}\0"),
    "a length that is folded": length(f"\r\n {SIZE}"),
    "a length with a line feed": post(HIDDEN, f"X-A: b\nContent-Length: {SIZE}"),
    "a length after a carriage return": post(HIDDEN, f"X-A: b\rContent-Length: {SIZE}"),
    "a space before the colon of the length": post(HIDDEN, f"Content-Length : {SIZE}"),
    "a tab before the colon of the length": post(HIDDEN, f"Content-Length\t: {SIZE}"),
    "a space before the length": post(HIDDEN, f" Content-Length: {SIZE}"),
    "a length with an underscore in its name": post(HIDDEN, f"Content_Length: {SIZE}"),
    "chunks named twice": post(b"0\r\n\r\n", CHUNKED, CHUNKED),
    "chunks named twice in one field": coding(" chunked, chunked"),
    "another coding before chunks": coding(" gzip, chunked"),
    "another coding after chunks": coding(" chunked, gzip"),
    "another coding": coding(" gzip"),
    "white space after the coding": coding(" chunked "),
    "no coding": coding(" identity"),
    "an empty coding": coding(""),
    "a comma before the coding": coding(" , chunked"),
    "a comma after the coding": coding(" chunked,"),
    "a coding with a parameter": coding(" chunked;a=b"),
    "a quoted coding": coding(' "chunked"'),
    "a coding that begins like chunks": coding(" chunkedx"),
    "a coding that ends like chunks": coding(" xchunked"),
    "a coding with a vertical tab": coding("\x0bchunked"),
    "a coding with a null": coding(" chunked\0"),
    "a coding that is folded": coding("\r\n chunked"),
    "a space before the colon of the coding": post(b"0\r\n\r\n", "Transfer-Encoding : chunked"),
    "chunks in HTTP/1.0": post(b"0\r\n\r\n", CHUNKED, "Connection: keep-alive", line="POST /a HTTP/1.0"),
    "two codings in HTTP/1.0": post(
        b"", "Transfer-Encoding: x", CHUNKED, "Connection: keep-alive", line="POST /a HTTP/1.0"
    ),
    "chunks and a length in HTTP/1.0": post(
        HIDDEN, CHUNKED, f"Content-Length: {SIZE}", "Connection: keep-alive", line="POST /a HTTP/1.0"
    ),
    "a body without any length": post(HIDDEN),
    "another expectation": post(b"abc", "Content-Length: 3", "Expect: 200-ok"),
    "an expectation among other words": post(b"abc", "Content-Length: 3", "Expect: x 100-continue"),
    "two expectations": post(b"abc", "Content-Length: 3", "Expect: 100-continue", "Expect: 100-continue"),
    "two media types": post(b"abc", "Content-Length: 3", "Content-Type: a/b", "Content-Type: c/d"),
    "a body that ends early": length(f" {len(HIDDEN + NEXT) + 1}"),
}

CHUNKS: dict[str, bytes] = {
    "no size": chunks(b"\r\nabc\r\n0\r\n\r\n"),
    "a size with a sign": chunks(b"+3\r\nabc\r\n0\r\n\r\n"),
    "a negative size": chunks(b"-3\r\nabc\r\n0\r\n\r\n"),
    "a size with a prefix": chunks(b"0x3\r\nabc\r\n0\r\n\r\n"),
    "a size with an underscore": chunks(b"0_3\r\nabc\r\n0\r\n\r\n"),
    "a size with another letter": chunks(b"3g\r\nabc\r\n0\r\n\r\n"),
    "a space before the size": chunks(b" 3\r\nabc\r\n0\r\n\r\n"),
    "a space after the size": chunks(b"3 \r\nabc\r\n0\r\n\r\n"),
    "a tab after the size": chunks(b"3\t\r\nabc\r\n0\r\n\r\n"),
    "a space before an extension": chunks(b"3 ;a\r\nabc\r\n0\r\n\r\n"),
    "a form feed after the size": chunks(b"3\x0c\r\nabc\r\n0\r\n\r\n"),
    "a null after the size": chunks(b"3\0\r\nabc\r\n0\r\n\r\n"),
    "a null in an extension": chunks(b"3;\0\r\nabc\r\n0\r\n\r\n"),
    "a line feed in an extension": chunks(b"3;\nabc\r\n0\r\n\r\n"),
    "a carriage return in an extension": chunks(b"3;a\rb\r\nabc\r\n0\r\n\r\n"),
    "a quoted line end in an extension": chunks(b'3;a="\r\n"\r\nabc\r\n0\r\n\r\n'),
    "a size of nine digits": chunks(b"000000003\r\nabc\r\n0\r\n\r\n"),
    "a size of 17 digits": chunks(b"10000000000000003\r\nabc\r\n0\r\n\r\n"),
    "a size of 64 bits": chunks(b"ffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
    "a size that exceeds the data": chunks(b"ffff\r\nabc\r\n0\r\n\r\n"),
    "a line feed after the size": chunks(b"3\nabc\r\n0\r\n\r\n"),
    "a carriage return after the size": chunks(b"3\rabc\r\n0\r\n\r\n"),
    "a chunk that is longer than its size": chunks(b"3\r\nabcd\r\n0\r\n\r\n"),
    "a chunk that is shorter than its size": chunks(b"4\r\nabc\r\n0\r\n\r\n"),
    "a chunk without a line end": chunks(b"3\r\nabc0\r\n\r\n"),
    "a chunk that ends with a line feed": chunks(b"3\r\nabc\n0\r\n\r\n"),
    "a chunk that ends with a carriage return": chunks(b"3\r\nabc\r0\r\n\r\n"),
    "a chunk that ends with two other bytes": chunks(b"3\r\nabcxx0\r\n\r\n"),
    "no last line end": chunks(b"3\r\nabc\r\n0\r\n"),
    "a line feed as the last line end": chunks(b"3\r\nabc\r\n0\r\n\n"),
    "line feeds after the last chunk": chunks(b"3\r\nabc\r\n0\n\n"),
    "no last chunk": chunks(b"3\r\nabc\r\n"),
    "chunks that end early": chunks(b"1\r\na\r\n%x\r\n" % (len(NEXT) + 1)),
    "a length in a trailer": chunks(b"0\r\nContent-Length: 32\r\n\r\n"),
    "a coding in a trailer": chunks(b"0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "a host in a trailer": chunks(b"0\r\nHost: y\r\n\r\n"),
    "an announced length in a trailer": chunks(
        b"0\r\nContent-Length: 32\r\n\r\n", "Trailer: X-A, content-length"
    ),
    "an announced trailer": chunks(b"0\r\nX-A: b\r\n\r\n", "Trailer: X-A"),
    "a folded trailer": chunks(b"0\r\nX-A: b\r\n c\r\n\r\n"),
    "a trailer without a colon": chunks(b"0\r\nX-A\r\n\r\n"),
    "a trailer without a name": chunks(b"0\r\n: b\r\n\r\n"),
    "a space before the colon of a trailer": chunks(b"0\r\nX-A : b\r\n\r\n"),
    "a space before a trailer": chunks(b"0\r\n X-A: b\r\n\r\n"),
    "a trailer that ends with a line feed": chunks(b"0\r\nX-A: b\n\r\n"),
    "a null in a trailer": chunks(b"0\r\nX-A: \0\r\n\r\n"),
    "a carriage return in a trailer": chunks(b"0\r\nX-A: b\rc\r\n\r\n"),
    "a request as a trailer": chunks(b"0\r\n" + HIDDEN),
    "trailers of 5 KB": chunks(b"0\r\nX-A: %b\r\n\r\n" % (b"b" * 5000), LARGE),
    "extensions of 20 KB": chunks((b"1;%b\r\na\r\n" % (b"b" * 200)) * 100 + b"0\r\n\r\n", LARGE),
    "an extension of 300 bytes": chunks(b"3;%b\r\nabc\r\n0\r\n\r\n" % (b"b" * 300)),
}

LINES: dict[str, bytes] = {
    "line feeds only": b"GET /a HTTP/1.1\nHost: x\n\n" + NEXT,
    "a line feed after the request line": b"GET /a HTTP/1.1\nHost: x\r\n\r\n" + NEXT,
    "a line feed after a field": b"GET /a HTTP/1.1\r\nHost: x\n\r\n" + NEXT,
    "a line feed as the empty line": b"GET /a HTTP/1.1\r\nHost: x\r\n\n" + NEXT,
    "carriage returns only": b"GET /a HTTP/1.1\rHost: x\r\r" + NEXT,
    "two carriage returns before a line feed": b"GET /a HTTP/1.1\r\r\nHost: x\r\n\r\n" + NEXT,
    "two carriage returns after a field": b"GET /a HTTP/1.1\r\nHost: x\r\r\n\r\n" + NEXT,
    "an empty line before the first request": b"\r\n" + NEXT,
    "a line feed before the first request": b"\n" + NEXT,
    "a carriage return before the first request": b"\r" + NEXT,
    "two empty lines before the first request": b"\r\n\r\n" + NEXT,
    "an empty line after a GET": get().replace(NEXT, b"\r\n" + NEXT),
    "an empty line after a POST": length(" 3", b"abc\r\n"),
    "two empty lines after a POST": length(" 3", b"abc\r\n\r\n"),
    "a line feed after a POST": length(" 3", b"abc\n"),
    "a carriage return after a POST": length(" 3", b"abc\r"),
    "three line feeds after a POST": length(" 3", b"abc\n\n\n"),
    "a null between two requests": length(" 3", b"abc\0"),
    "a space between two requests": length(" 3", b"abc "),
    "a folded field": get("X-A: b", " c"),
    "a field that is folded with a tab": get("X-A: b", "\tc"),
    "a folded first field": b"GET /a HTTP/1.1\r\n X-A: b\r\nHost: x\r\n\r\n" + NEXT,
    "two spaces after the method": get(line="GET  /a HTTP/1.1"),
    "two spaces before the version": get(line="GET /a  HTTP/1.1"),
    "a tab after the method": get(line="GET\t/a HTTP/1.1"),
    "a tab before the version": get(line="GET /a\tHTTP/1.1"),
    "a space before the method": get(line=" GET /a HTTP/1.1"),
    "a space after the version": get(line="GET /a HTTP/1.1 "),
    "a tab after the version": get(line="GET /a HTTP/1.1\t"),
    "a space in the target": get(line="GET /a b HTTP/1.1"),
    "a request in the target": get(line="GET /a HTTP/1.1 HTTP/1.1"),
    "no target": get(line="GET HTTP/1.1"),
    "an empty target": get(line="GET  HTTP/1.1"),
    "no version": get(line="GET /a"),
    "HTTP/0.9": get(line="GET /a HTTP/0.9"),
    "HTTP/1.2": get(line="GET /a HTTP/1.2"),
    "HTTP/1.10": get(line="GET /a HTTP/1.10"),
    "HTTP/01.1": get(line="GET /a HTTP/01.1"),
    "HTTP/2.0": get(line="GET /a HTTP/2.0"),
    "the beginning of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + NEXT,
    "a version in small letters": get(line="GET /a http/1.1"),
    "another protocol": get(line="GET /a RTSP/1.1"),
    "a method in small letters": get(line="get /a HTTP/1.1"),
    "an unknown method": get(line="BREW /a HTTP/1.1"),
    "a method of WebDAV": get(line="PROPFIND /a HTTP/1.1"),
    "a method with a colon": get(line="GET: /a HTTP/1.1"),
    "a method with a null": get(line="GE\0T /a HTTP/1.1"),
    "a fragment": get(line="GET /a#b HTTP/1.1"),
    "a relative target": get(line="GET a HTTP/1.1"),
    "an asterisk": get(line="GET * HTTP/1.1"),
    "an incomplete escape": get(line="GET /%6 HTTP/1.1"),
    "an escape of other letters": get(line="GET /%zz HTTP/1.1"),
    "an incomplete escape in the query": get(line="GET /a?%z HTTP/1.1"),
    "an octet beyond ASCII in the target": get(line="GET /\xe4 HTTP/1.1"),
    "a control character in the target": get(line="GET /\x01 HTTP/1.1"),
    "a deletion in the target": get(line="GET /\x7f HTTP/1.1"),
    "quotation marks in the target": get(line='GET /"<>\\^`{|} HTTP/1.1'),
    "two slashes": get(line="GET //a/b HTTP/1.1"),
    "an absolute target of another host": get(line="GET http://y/a HTTP/1.1"),
    "an absolute target of another scheme": get(line="GET ftp://x/a HTTP/1.1"),
    "an absolute target with a bad port": get(line="GET http://x:y/a HTTP/1.1"),
    "an absolute target without a host": get(line="GET http:///a HTTP/1.1"),
    "an absolute target with a user": get(line="GET http://a@x/a HTTP/1.1"),
    "a tunnel with a path": get(line="CONNECT /a HTTP/1.1"),
    "a tunnel without a host": get(line="CONNECT x:443 HTTP/1.1", host=None),
    "no host": get(host=None),
    "an empty host": get(host="Host:"),
    "two hosts": get("Host: y"),
    "a host with a path": get(host="Host: x/y"),
    "a host with a space": get(host="Host: x y"),
    "a host beyond ASCII": get(host="Host: \xe4"),
    "a list of hosts": get(host="Host: x, y"),
    "a field without a colon": get("X-A"),
    "a field without a name": get(": b"),
    "a field with a space in its name": get("X A: b"),
    "a field with a null in its name": get("X\0A: b"),
    "a field with an octet beyond ASCII in its name": get("X\xe4: b"),
    "a field with a slash in its name": get("X/A: b"),
    "a null in a value": get("X-A: b\0c"),
    "a control character in a value": get("X-A: b\x01"),
    "a deletion in a value": get("X-A: b\x7f"),
    "a carriage return in a value": get("X-A: b\rX-B: c"),
    "a carriage return and the end of a head in a value": get("X-A: b\r\r\n\r\n"),
    "a long request line": get(line=f"GET /{'a' * 2100} HTTP/1.1"),
    "a long field": get(f"X-A: {'b' * 4100}"),
    "many fields": get(*(f"X-{number}: y" for number in range(32))),
    "long fields together": get(*(f"X-{number}: {'b' * 2000}" for number in range(5))),
    "a head that ends early": NEXT + b"GET /a HTTP/1.1\r\nHost: x\r\n",
    "a head without its last line feed": NEXT + b"GET /a HTTP/1.1\r\nHost: x\r\n\r",
    "nothing": b"",
    "an empty line": b"\r\n",
    "a carriage return": b"\r",
    "HTTP/1.0 that goes on, among other words": get("Connection: x keep-alive", line="GET /a HTTP/1.0"),
    "HTTP/1.0 that goes on, in the second field": get(
        "Connection: x", "Connection: keep-alive", line="GET /a HTTP/1.0"
    ),
    "a connection that ends, among other words": get("Connection: x close"),
    "a connection that ends, in the second field": get("Connection: x", "Connection: close"),
    "garbage": b"\x16\x03\x01\x02\x00\x01" + NEXT,
}

CASES: dict[str, bytes] = {**VALID, **FRAMING, **CHUNKS, **LINES}
