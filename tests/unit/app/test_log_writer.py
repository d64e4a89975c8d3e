"""Standard output behind a thread: a reader that stops reading holds nobody up."""

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
    """A small pipe whose reader reads when it is told to."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PIPE)

    def read(self, count: int) -> bytes:
        """Return ``count`` bytes, waiting for them."""
        data = b""
        while len(data) < count:
            data += os.read(self.reader, count - len(data))
        return data

    def close(self) -> None:
        os.close(self.reader)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe; its writing end stays open, for the thread of a writer never ends."""
    made = Pipe()
    yield made
    with contextlib.suppress(OSError):  # the test has closed it
        made.close()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does; a guard against hanging, no measurement."""
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.002)


def test_lines_arrive_in_order(pipe: Pipe) -> None:
    """Whole and once, however many are written at a time."""
    writer = BackgroundWriter(pipe.writer, lambda _: None)
    lines = [f"line {index} ü\n" for index in range(3000)]
    for line in lines:
        assert writer.write(line) == len(line)
    expected = "".join(lines).encode()
    assert pipe.read(len(expected)) == expected


def test_line_written_to_idle_writer_is_flushed(pipe: Pipe) -> None:
    """The thread that sleeps is woken, time and again."""
    writer = BackgroundWriter(pipe.writer, lambda _: None)
    for index in range(20):
        wait_until(lambda: writer._asleep)
        writer.write(f"{index:02}\n")
        assert pipe.read(3) == f"{index:02}\n".encode()


def test_full_pipe_does_not_block_and_dropped_bytes_are_counted(pipe: Pipe) -> None:
    """What fits into pipe and queue waits; the rest is dropped to the byte."""
    dropped: list[int] = []
    writer = BackgroundWriter(pipe.writer, dropped.append, limit=10_000)
    for _ in range(1000):
        writer.write(LINE)
    lost = sum(dropped)
    # What the pipe has taken by then may or may not have made room in the queue.
    assert 100_000 - 10_000 - PIPE <= lost <= 100_000 - 10_000
    assert pipe.read(100_000 - lost) == LINE.encode() * ((100_000 - lost) // 100)
    assert writer.drain(20)


def test_writing_continues_after_reader_resumes(pipe: Pipe) -> None:
    """After a stop the queue has room again."""
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
    """And those after it are not."""
    dropped: list[int] = []
    writer = BackgroundWriter(pipe.writer, dropped.append, limit=100)
    writer.write("x" * 101)
    writer.write("small\n")
    assert pipe.read(6) == b"small\n"
    assert dropped == [101]


def test_drain_waits_for_queued_lines(pipe: Pipe) -> None:
    """``drain`` returns once all is out."""
    writer = BackgroundWriter(pipe.writer, lambda _: None)
    for _ in range(30):
        writer.write(LINE)
    assert writer.drain(20)
    assert pipe.read(3000) == LINE.encode() * 30


def test_drain_does_not_wait_for_stopped_reader(pipe: Pipe) -> None:
    """A process that is told to end ends."""
    writer = BackgroundWriter(pipe.writer, lambda _: None)
    writer.write("x" * 2 * PIPE)
    assert not writer.drain(0.01)


def test_bytes_for_closed_reader_are_counted_as_dropped(pipe: Pipe) -> None:
    """Nobody will ever read it; the process serves on."""
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
    """Another process that shares the pipe may have made it so."""
    os.set_blocking(pipe.writer, False)
    dropped: list[int] = []
    writer = BackgroundWriter(pipe.writer, dropped.append)
    for _ in range(400):
        writer.write(LINE)
    assert pipe.read(40_000) == LINE.encode() * 400
    assert writer.drain(20)
    assert dropped == []


def test_unencodable_character_is_replaced(pipe: Pipe) -> None:
    """A lone surrogate from a strange name ends no thread."""
    writer = BackgroundWriter(pipe.writer, lambda _: None)
    writer.write("a\udcffb\n")
    assert pipe.read(4) == b"a?b\n"


def test_pipe_is_not_a_terminal(pipe: Pipe) -> None:
    """So that the lines are JSON."""
    assert not BackgroundWriter(pipe.writer, lambda _: None).isatty()


class Late(BackgroundWriter):
    """A writer that gets a line at the worst moment: the queue is empty, the thread not yet asleep."""

    late = ""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "_asleep" and value and self.late:
            late, self.late = self.late, ""
            self.write(late)
        super().__setattr__(name, value)


def test_line_written_before_thread_sleeps_is_not_lost(pipe: Pipe) -> None:
    """The thread looks once more after it has said that it sleeps."""
    writer = Late(pipe.writer, lambda _: None)
    wait_until(lambda: writer._asleep)
    writer.late = "late\n"
    writer.write("first\n")
    assert pipe.read(11) == b"first\nlate\n"
