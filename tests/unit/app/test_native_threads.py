"""Work in native threads beside the loop."""

from __future__ import annotations

import gevent
import pytest

from webhook.app.native_threads import NativeThreads


def test_result_of_native_thread_is_returned() -> None:
    """The caller sees no difference to a direct call."""
    assert NativeThreads(1).run(lambda: 6 * 7) == 42


def test_exception_of_native_thread_is_raised_and_not_printed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Gevent prints a traceback for each exception that leaves one of its threads."""
    with pytest.raises(OSError, match="Name or service not known"):
        NativeThreads(1).run(_fail)
    assert capfd.readouterr() == ("", "")


def _fail() -> None:
    raise OSError("Name or service not known")


def test_loop_runs_while_native_thread_works() -> None:
    """The loop runs while the thread works."""
    from gevent.monkey import get_original

    pause = get_original("time", "sleep")
    turned: list[int] = []

    def wait() -> int:
        while not turned:
            pause(0.001)
        return len(turned)

    waiting = gevent.spawn(NativeThreads(1).run, wait)
    gevent.sleep(0)
    assert not waiting.dead
    turned.append(1)
    assert waiting.get(timeout=10) == 1
