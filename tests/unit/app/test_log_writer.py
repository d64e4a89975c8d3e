"""Standard output behind a thread: a reader that stops does not block the process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from webhook.app.log_writer import BackgroundWriter

PIPE = 4096
LINE = "x" * 99 + "\n"


class Pipe:
    """A small pipe whose reader reads when the test tells it to."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PIPE)

    def read(self, count: int) -> bytes:
        """Return ``count`` bytes, and wait for them."""
        data = b""
        while len(data) < count:
            data += os.read(self.reader, count - len(data))
        return data

    def close(self) -> None:
        os.close(self.reader)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Return a pipe. Its writing end stays open, because the thread of a writer never ends."""
    made = Pipe()
    yield made
    with contextlib.suppress(OSError):  # the test has closed it
        made.close()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for another thread; a guard against hanging, not a measurement."""
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.002)


def test_lines_arrive_in_order(pipe: Pipe) -> None:
    """Each line is whole and written once, regardless of the number of lines at a time."""
    writer = BackgroundWriter(pipe.writer, lambda _: None)
    lines = [f"line {index} ü\n" for index in range(3000)]
    for line in lines:
        assert writer.write(line) == len(line)
    expected = "".join(lines).encode()
    assert pipe.read(len(expected)) == expected


def test_line_written_to_idle_writer_is_flushed(pipe: Pipe) -> None:
    """The sleeping thread is woken each time."""
    writer = BackgroundWriter(pipe.writer, lambda _: None)
    for index in range(20):
        wait_until(lambda: writer._asleep)
        writer.write(f"{index:02}\n")
        assert pipe.read(3) == f"{index:02}\n".encode()


def test_full_pipe_does_not_block_and_dropped_bytes_are_counted(pipe: Pipe) -> None:
    """The lines that fit into pipe and queue wait; the rest is dropped and counted in bytes."""
    dropped: list[int] = []
    writer = BackgroundWriter(pipe.writer, dropped.append, limit=10_000)
    for _ in range(1000):
        writer.write(LINE)
    lost = sum(dropped)
    # The bytes in the pipe may or may not have made room in the queue by then.
    assert 100_000 - 10_000 - PIPE <= lost <= 100_000 - 10_000
    assert pipe.read(100_000 - lost) == LINE.encode() * ((100_000 - lost) // 100)
    assert writer.drain(20)


def test_writing_continues_after_reader_resumes(pipe: Pipe) -> None:
    """The queue has room again."""
    dropped: list[int] = []
    writer = BackgroundWriter(pipe.writer, dropped.append, limit=10_000)
    for _ in range(200):
        writer.write(LINE)
    kept = 20_000 - sum(dropped)
    pipe.read(kept)
    wait_until(lambda: writer._done == writer._taken)
    before = sum(dropped)
    writer.write("after\n")
    assert pipe.read(6) == b"after\n"
    assert sum(dropped) == before


def test_line_larger_than_queue_is_dropped(pipe: Pipe) -> None:
    """The lines after it are not."""
    dropped: list[int] = []
    writer = BackgroundWriter(pipe.writer, dropped.append, limit=100)
    writer.write("x" * 101)
    writer.write("small\n")
    assert pipe.read(6) == b"small\n"
    assert dropped == [101]


def test_drain_waits_for_queued_lines(pipe: Pipe) -> None:
    """``drain`` returns after all lines are written."""
    writer = BackgroundWriter(pipe.writer, lambda _: None)
    for _ in range(30):
        writer.write(LINE)
    assert writer.drain(20)
    assert pipe.read(3000) == LINE.encode() * 30


def test_drain_does_not_wait_for_stopped_reader(pipe: Pipe) -> None:
    """A process must end when it is told to."""
    writer = BackgroundWriter(pipe.writer, lambda _: None)
    writer.write("x" * 2 * PIPE)
    assert not writer.drain(0.01)


def test_bytes_for_closed_reader_are_counted_as_dropped(pipe: Pipe) -> None:
    """The process continues to serve."""
    dropped: list[int] = []
    writer = BackgroundWriter(pipe.writer, dropped.append)
    pipe.close()
    wait_until(lambda: not Path(f"/proc/self/fd/{pipe.reader}").exists())  # gevent closes it in its loop
    writer.write("lost\n")
    assert writer.drain(20)
    assert dropped == [5]
    writer.write("lost, too\n")
    assert writer.drain(20)
    assert dropped == [5, 10]


def test_non_blocking_descriptor_does_not_lose_lines(pipe: Pipe) -> None:
    """Another process that shares the pipe may have set the flag."""
    os.set_blocking(pipe.writer, False)
    dropped: list[int] = []
    writer = BackgroundWriter(pipe.writer, dropped.append)
    for _ in range(400):
        writer.write(LINE)
    assert pipe.read(40_000) == LINE.encode() * 400
    assert writer.drain(20)
    assert dropped == []


def test_unencodable_character_is_replaced(pipe: Pipe) -> None:
    """A lone surrogate in a name does not end the thread."""
    writer = BackgroundWriter(pipe.writer, lambda _: None)
    writer.write("a\udcffb\n")
    assert pipe.read(4) == b"a?b\n"


def test_pipe_is_not_a_terminal(pipe: Pipe) -> None:
    """Therefore the lines are JSON."""
    assert not BackgroundWriter(pipe.writer, lambda _: None).isatty()


class Late(BackgroundWriter):
    """A writer that gets a line at the worst moment: the queue is empty, and the thread is not asleep yet."""

    late = ""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "_asleep" and value and self.late:
            late, self.late = self.late, ""
            self.write(late)
        super().__setattr__(name, value)


def test_line_written_before_thread_sleeps_is_not_lost(pipe: Pipe) -> None:
    """The thread checks the queue again after it has announced that it sleeps."""
    writer = Late(pipe.writer, lambda _: None)
    wait_until(lambda: writer._asleep)
    writer.late = "late\n"
    writer.write("first\n")
    assert pipe.read(11) == b"first\nlate\n"
