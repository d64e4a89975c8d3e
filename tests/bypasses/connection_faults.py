"""The mistakes behind the faults of connections: eviction, and limits for each."""

from __future__ import annotations

from typing import Final

from tests.bypasses.mistakes import mistake

WORKER: Final = "webhook/server/worker.py"
CONNECTIONS: Final = "webhook/server/connections.py"
CONVERSATION: Final = "webhook/server/conversation.py"
TABLE: Final = "webhook/server/connection_table.py"

T_CONNECTIONS: Final = "tests/unit/server/test_connections.py"
T_TABLE: Final = "tests/unit/server/test_connection_table.py"
T_HANDSHAKES: Final = "tests/http/test_handshakes.py"
T_KERNEL: Final = "tests/http/test_kernel.py"
T_PLACES: Final = "tests/http/test_connection_limits.py"

_ANY_HALVES: Final = (
    TABLE,
    "if len(self._pending_handshakes) > self._places * MAX_PENDING_HANDSHAKES:",
    "if not self._pending_handshakes:",
)
_ANY_BUFFERS: Final = (WORKER, "sock.setsockopt(socket.SOL_SOCKET, buffer, BUFFER)", "pass")

CONNECTION_FAULTS: Final = (
    mistake(
        "C1",
        "a client that reads no answer is not evicted",
        f"{T_PLACES}::test_client_that_does_not_read_is_evicted_first",
        (
            CONVERSATION,
            "self._server.connections.await_client(self._connection, reused=False)",
            "pass",
        ),
    ),
    mistake(
        "C1",
        "a part of the next request may wait as long as an idle connection",
        "tests/http/test_hostile_clients.py::test_part_of_next_request_has_time_limit_of_request",
        (CONVERSATION, "if self._inbox.has_begun():", "if False:"),
    ),
    mistake(
        "C1",
        "at the end of the process an answer has no more time than a request",
        "tests/http/test_stopping.py::test_response_in_progress_is_completed_after_sigterm",
        (WORKER, " and not connection.sends", ""),
    ),
    mistake(
        "C1",
        "each connection evicts for all that arrived with it",
        f"{T_TABLE}::test_burst_evicts_only_as_many_connections_as_needed",
        (TABLE, "if len(self._served) >= self._places * ALMOST_FULL:", "if self._served:"),
    ),
    mistake(
        "C1",
        "an aborted connection keeps its place until it has ended",
        f"{T_TABLE}::test_evicted_connection_frees_its_place",
        (TABLE, "        self.close(connection)\n", "        self._waiting.remove(connection)\n"),
    ),
    mistake(
        "C1",
        "an aborted connection is waited for again",
        f"{T_TABLE}::test_evicted_connection_leaves_eviction_queue",
        (
            TABLE,
            "        if not connection.aborted:\n            self._waiting",
            "        if True:\n            self._waiting",
        ),
    ),
    mistake(
        "C2",
        "a hello may declare any length",
        f"{T_CONNECTIONS}::test_declared_size_of_client_hello_does_not_reserve_memory",
        (CONNECTIONS, "if not MESSAGE_HEADER + declared == length <= MAX_HELLO:", "if length > MAX_HELLO:"),
    ),
    mistake(
        "C2",
        "partial handshakes are not counted",
        f"{T_CONNECTIONS}::test_partial_record_after_client_hello_is_reported",
        (CONNECTIONS, "if after > CHANGE_CIPHER_SPEC:", "if after < 0:"),
    ),
    mistake(
        "C2",
        "any number of connections may have a partial handshake",
        f"{T_TABLE}::test_oldest_incomplete_handshake_is_evicted",
        _ANY_HALVES,
    ),
    mistake(
        "C2",
        "the same, detected by the memory of the process",
        f"{T_HANDSHAKES}::test_partial_handshakes_stay_within_memory_limit",
        _ANY_HALVES,
    ),
    mistake(
        "C2",
        "the kernel buffers any amount of unread data",
        f"{T_KERNEL}::test_unread_request_data_in_kernel_is_bounded",
        _ANY_BUFFERS,
    ),
    mistake(
        "C2",
        "the kernel buffers any amount of an answer",
        f"{T_KERNEL}::test_unsent_responses_after_large_reads_are_bounded",
        _ANY_BUFFERS,
    ),
    mistake(
        "C2",
        "a client may read an answer long after the connection was closed",
        f"{T_KERNEL}::test_unsent_response_is_discarded_soon_after_close",
        (CONNECTIONS, "CLOSED_SECONDS * 1000", "0"),
    ),
    mistake(
        "C2",
        "a body keeps its budget until its answer is read",
        f"{T_PLACES}::test_unread_response_does_not_hold_body_budget",
        (
            CONVERSATION,
            "self._lease.release()  # before the answer is sent, which the client may not read",
            "pass",
        ),
    ),
    mistake(
        "C2",
        "bodies that wait for the budget may take all connections",
        f"{T_PLACES}::test_bodies_waiting_for_budget_leave_connections_for_others",
        (
            CONVERSATION,
            "        connections.begin(connection)\n        try:\n            return self._lease.grow(size)\n        finally:\n            connections.end()\n",
            "        try:\n            return self._lease.grow(size)\n        finally:\n",
        ),
    ),
    mistake(
        "C2",
        "bodies with a part of the budget wait for each other",
        "tests/unit/server/test_body_budget.py::test_partly_received_bodies_do_not_deadlock",
        (
            "webhook/server/body_budget.py",
            "if waited >= PART_WAIT and self._blocks_older(lease):",
            "if False:",
        ),
    ),
    mistake(
        "C3",
        "a hello has any size",
        f"{T_CONNECTIONS}::test_client_hello_size_is_limited",
        (CONNECTIONS, "declared == length <= MAX_HELLO:", "declared == length:"),
    ),
)
"""Part of ``FAULTS``."""
