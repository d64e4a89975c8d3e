"""Every fault of SWR at the same time, each on its own account, against one process."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field

import pytest

from tests.chaos.environment import REVIEW_SECONDS, open_environment
from tests.chaos.matrix import MATRIX, Row
from tests.chaos.running import MAX_GROWTH, Outcome, ReviewLoad, Seen, check_healthy, run_row
from tests.support.process_stats import find_worker, read_process_stats

pytestmark = [pytest.mark.slow, pytest.mark.alone]

FAULT_SECONDS = 5.0
PAUSE = 0.4


@dataclass(slots=True)
class Run:
    """The results of each fault, of the account without a fault, and of the process."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    healthy: Seen = field(default_factory=Seen)
    probes: list[tuple[int, str]] = field(default_factory=list)
    growth: float = 0.0
    logs: str = ""
    after: str = ""


LARGE = {"huge", "bomb"}
"""Faults with large responses. A timeout beside them is not SWR's fault, so the other faults come before."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Apply all faults at once, except those that fill the connection to SWR."""
    done = Run()
    with open_environment(tmp_path_factory.mktemp("chaos"), MATRIX) as world:

        def show(key: str) -> None:
            row = next(row for row in MATRIX if row.key == key)
            done.outcomes[key] = run_row(world, row, FAULT_SECONDS, 2, PAUSE)

        resident = read_process_stats(find_worker(world.server)).resident
        with ReviewLoad(world, world.healthy, 1, pause=PAUSE / 4) as asking:
            for keys in ({row.key for row in MATRIX} - LARGE, LARGE):
                threads = [threading.Thread(target=show, args=(key,), daemon=True) for key in keys]
                for thread in threads:
                    thread.start()
                while any(thread.is_alive() for thread in threads):
                    status, report = world.server.get("/readyz?verbose")
                    done.probes.append((status, report.decode()))
                    threads[0].join(0.5)
                    threads[-1].join(0.5)
        done.healthy = asking.seen
        done.growth = read_process_stats(find_worker(world.server)).resident - resident
        done.logs = world.server.logs()
        done.after = world.server.get("/readyz?verbose")[1].decode()
    return done


@pytest.mark.parametrize("row", MATRIX, ids=[row.name for row in MATRIX])
def test_fault_gets_expected_findings_and_recovers(run: Run, row: Row) -> None:
    """Answers in time, no image without trust in SWR admitted, trust from before, recovery."""
    outcome = run.outcomes[row.key]
    assert outcome.seen.count >= 2
    assert outcome.problems == ()


def test_account_without_fault_is_not_affected(run: Run) -> None:
    """The decisions are right and in time while other accounts hang."""
    assert run.healthy.count > 20
    assert check_healthy(run.healthy) == []
    assert run.healthy.slowest < REVIEW_SECONDS / 2


def test_replica_stays_ready_during_faults(run: Run) -> None:
    """Readiness depends on the replica's own certificate and configuration, not on SWR."""
    assert {status for status, _ in run.probes} == {200}


def test_probe_names_unavailable_registry_and_paused_credential(run: Run) -> None:
    """The probe also shows the end of the fault."""
    during = "".join(report for _, report in run.probes)
    line = r"^\[!\] swr refused\.swr\.test \(refused\): last answered \d+ s ago, circuit breaker open"
    assert re.search(line, during, re.MULTILINE)
    for kind in ("aksk", "token"):
        assert re.search(rf"^\[!\] credential {kind}: paused for \d+ s more", during, re.MULTILINE)
        assert f"[+] credential {kind}: in use" in run.after


def test_memory_is_bounded_and_log_has_no_traceback(run: Run) -> None:
    """Under bombs, floods and all other faults."""
    assert run.growth < 2 * MAX_GROWTH
    assert "Traceback" not in run.logs
