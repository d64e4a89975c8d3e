"""Resource use of a process: memory, threads, file descriptors."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.support.serving import ServerProcess


@dataclass(frozen=True, slots=True)
class ProcessStats:
    """One measurement of a process; ``resident`` is in MiB."""

    resident: float
    threads: int
    descriptors: int
    sockets: int


def find_worker(server: ServerProcess) -> int:
    """Return the serving process, the only child of gunicorn's arbiter."""
    assert server.process is not None
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    assert len(children) == 1, f"the arbiter has {len(children)} children"
    return int(children[0])


def read_process_stats(pid: int) -> ProcessStats:
    """Return the current resource use of a process."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    )
    links = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(str(entry.readlink()))
        except FileNotFoundError:  # closed in the meantime
            continue
    return ProcessStats(
        resident=int(status["VmRSS"].split()[0]) / 1024,
        threads=int(status["Threads"]),
        descriptors=len(links),
        sockets=sum(link.startswith("socket:") for link in links),
    )


def wait_until(check: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Wait until ``check`` is true, for at most ``seconds``; return whether it is."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if check():
            return True
        time.sleep(0.05)
    return check()
