"""The mistakes behind the faults of connections: who gives way, and what each may hold (see ``faults.py``)."""

from __future__ import annotations

from typing import Final

from tests.bypasses.defences import mistake

WORKER: Final = "webhook/server/worker.py"
CONNECTIONS: Final = "webhook/server/connections.py"

T_CONNECTIONS: Final = "tests/unit/server/test_connections.py"
T_WORKER: Final = "tests/unit/server/test_worker.py"
T_HANDSHAKES: Final = "tests/http/test_handshakes.py"
T_KERNEL: Final = "tests/http/test_kernel.py"
T_PLACES: Final = "tests/http/test_places.py"

_ANY_HALVES: Final = (
    WORKER,
    "if len(self._halves) > self.worker_connections * HALVES:",
    "if not self._halves:",
)
_ANY_BUFFERS: Final = (WORKER, "listener.setsockopt(socket.SOL_SOCKET, buffer, BUFFER)", "pass")

CONNECTION_FAULTS: Final = (
    mistake(
        "C1",
        "whoever reads no answer gives way to nobody",
        f"{T_PLACES}::test_whoever_reads_no_answer_gives_way_first",
        (
            WORKER,
            "        self._await(connection, reused=False)\n        try:\n            connection.flush()\n",
            "        try:\n            connection.flush()\n",
        ),
    ),
    mistake(
        "C1",
        "at the end of the process an answer has no more time than a request",
        "tests/http/test_stopping.py::test_an_answer_on_its_way_is_finished",
        (WORKER, " and not connection.sends", ""),
    ),
    mistake(
        "C1",
        "each makes room for all that have come with it",
        f"{T_WORKER}::test_no_more_are_cut_than_there_is_no_room_for",
        (WORKER, "if len(self._served) >= self.worker", "if len(self._pool) > self.worker"),
    ),
    mistake(
        "C1",
        "who was cut has a place until it has ended",
        f"{T_WORKER}::test_who_was_cut_is_waited_for_no_more",
        (
            WORKER,
            "        self._served.discard(connection)\n        self.service.metrics",
            "        self.service.metrics",
        ),
    ),
    mistake(
        "C1",
        "who was cut is waited for again",
        f"{T_WORKER}::test_who_was_cut_is_waited_for_no_more",
        (
            WORKER,
            "        if not connection.aborted:\n            self._waiting",
            "        if True:\n            self._waiting",
        ),
    ),
    mistake(
        "C2",
        "a hello may declare any length",
        f"{T_CONNECTIONS}::test_nothing_is_taken_for_what_a_hello_declares",
        (CONNECTIONS, "if not MESSAGE_HEADER + declared == length <= MAX_HELLO:", "if length > MAX_HELLO:"),
    ),
    mistake(
        "C2",
        "nobody knows of halves of handshakes",
        f"{T_CONNECTIONS}::test_half_of_what_follows_a_hello_is_said_to_be_so",
        (CONNECTIONS, "if after > CHANGE_CIPHER_SPEC:", "if after < 0:"),
    ),
    mistake(
        "C2",
        "any number of connections may have half of a handshake",
        f"{T_WORKER}::test_the_oldest_half_of_a_handshake_gives_way",
        _ANY_HALVES,
    ),
    mistake(
        "C2",
        "the same, seen by the memory of the process",
        f"{T_HANDSHAKES}::test_halves_of_handshakes_stay_within_the_memory",
        _ANY_HALVES,
    ),
    mistake(
        "C2",
        "the kernel keeps as much as it likes of what nobody reads",
        f"{T_KERNEL}::test_little_is_kept_of_what_nobody_reads_yet",
        _ANY_BUFFERS,
    ),
    mistake(
        "C2",
        "the kernel keeps as much as it likes of an answer",
        f"{T_KERNEL}::test_little_is_kept_of_answers_that_nobody_reads_any_more",
        _ANY_BUFFERS,
    ),
    mistake(
        "C2",
        "a client may take an answer long after the connection was closed",
        f"{T_KERNEL}::test_what_nobody_takes_is_thrown_away_soon_after_the_end",
        (CONNECTIONS, "CLOSED_SECONDS * 1000", "0"),
    ),
    mistake(
        "C2",
        "a body has its room until its answer is read",
        f"{T_PLACES}::test_whoever_reads_no_answer_keeps_no_room_of_others",
        (
            WORKER,
            "lease.release()  # whoever reads no answer would keep the room of a body that is gone",
            "pass",
        ),
    ),
    mistake(
        "C2",
        "bodies that wait for room may take all places",
        f"{T_PLACES}::test_bodies_that_wait_for_room_leave_places_for_others",
        (
            WORKER,
            "        self._in_flight.add(request)\n        try:\n            return lease.grow(size)\n",
            "        try:\n            return lease.grow(size)\n",
        ),
    ),
    mistake(
        "C2",
        "bodies that have a part of the share each wait for each other",
        "tests/unit/server/test_body_budget.py::test_bodies_that_have_a_part_each_do_not_wait_for_each_other",
        (
            "webhook/server/body_budget.py",
            "if waited >= PART_WAIT and self._is_in_the_way(lease):",
            "if False:",
        ),
    ),
    mistake(
        "C3",
        "a hello has any size",
        f"{T_CONNECTIONS}::test_a_hello_has_a_size",
        (CONNECTIONS, "declared == length <= MAX_HELLO:", "declared == length:"),
    ),
)
"""Part of ``FAULTS``."""
