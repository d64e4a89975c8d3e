"""The mistakes by which one request, or many, stall the event loop: faults A1 and C3."""

from __future__ import annotations

from typing import Final

from tests.bypasses.connection_faults import CONNECTIONS, CONVERSATION, WORKER
from tests.bypasses.mistakes import mistake

LOOKUP: Final = "webhook/trust/lookup.py"
LIMITER: Final = "webhook/trust/limiter.py"
START: Final = "webhook/__main__.py"
PATCHING: Final = "webhook/patching.py"
SCHEDULER: Final = "webhook/server/scheduler.py"
T_APP: Final = "tests/unit/server/test_app.py"
T_SCHEDULER: Final = "tests/unit/server/test_scheduler.py"
T_BURSTS: Final = "tests/http/test_request_bursts.py"
T_PATCHING: Final = "tests/http/test_patching.py"
_SLEEPS: Final = (
    LIMITER,
    "sleep: Callable[[float], None] | None = None,",
    "sleep: Callable[[float], None] | None = time.sleep,",
)
_IMPORTS_FIRST: Final = (
    (
        START,
        "    patch()\n",
        "    import webhook.trust.limiter\n    patch()\n",
    ),
    (PATCHING, "    if early:\n", "    if early is None:\n"),
)

LOOP_FAULTS: Final = (
    mistake(
        "A1",
        "a default argument keeps an original that the patch replaces",
        f"{T_PATCHING}::test_source_keeps_no_unpatched_originals",
        _SLEEPS,
    ),
    mistake(
        "A1",
        "the product is imported before the patch",
        f"{T_PATCHING}::test_patch_after_import_of_webhook_raises_error",
        _IMPORTS_FIRST[1],
    ),
    mistake(
        "A1",
        "the former program: imported first, with a blocking call",
        f"{T_PATCHING}::test_running_program_keeps_no_unpatched_originals",
        _SLEEPS,
        *_IMPORTS_FIRST,
    ),
    mistake(
        "A1",
        "the same, detected by a client that waits beside it",
        f"{T_PATCHING}::test_pod_with_many_uncached_images_does_not_delay_others",
        _SLEEPS,
        *_IMPORTS_FIRST,
    ),
    mistake(
        "C3",
        "a body is scanned without a yield",
        "tests/unit/admission/test_bounds.py::test_body_check_yields_after_each_piece",
        ("webhook/admission/bounds.py", "split_into_pieces(body, PIECE)", "[body]"),
    ),
    mistake(
        "C3",
        "the same, detected by the loop of the process",
        "tests/http/test_loop.py::test_event_under_load_does_not_stall_loop",
        ("webhook/admission/bounds.py", "split_into_pieces(body, PIECE)", "[body]"),
        ("webhook/admission/bounds.py", "        if self._quotes > _MAX_QUOTES:", "        if not piece:"),
    ),
    mistake(
        "C3",
        "only bodies of 256 KiB and more yield to the loop",
        "tests/unit/server/test_app.py::test_large_body_that_waits_too_long_is_denied_with_uid",
        ("webhook/server/reviews.py", "LARGE: Final = 32 * 1024", "LARGE: Final = 256 * 1024"),
    ),
    mistake(
        "C3",
        "a large body is read without a pause",
        "tests/unit/server/test_app.py::test_large_body_read_yields_to_loop",
        (
            "webhook/server/reviews.py",
            "is_truncated=is_truncated, pause=self.large_work.pause)",
            "is_truncated=is_truncated, pause=no_pause)",
        ),
    ),
    mistake(
        "C3",
        "the results of many lookups are evaluated without a yield",
        "tests/unit/admission/test_evaluator.py::test_results_of_many_lookups_are_evaluated_in_turn",
        (
            "webhook/admission/evaluator.py",
            "self._large_work is None or len(uses) <= FEW",
            "True",
        ),
    ),
    mistake(
        "C3",
        "every rule is compared with every image",
        "tests/unit/policy/test_pattern_index.py::test_index_compares_few_of_many_patterns",
        (
            "webhook/policy/pattern_index.py",
            'self._of_host.add(f"{pattern.domain}/{path}", (pattern, held))',
            'self._of_any_host.add("*", (pattern, held))',
        ),
    ),
    mistake(
        "C3",
        "a thousand images of one object are evaluated",
        "tests/unit/admission/test_validator.py::test_request_that_cannot_be_evaluated_is_treated_by_mode",
        ("webhook/admission/selection.py", "MAX_IMAGES: Final = 200", "MAX_IMAGES: Final = 5000"),
        ("webhook/admission/selection.py", "MAX_EXTRACTED: Final = 1000", "MAX_EXTRACTED: Final = 5000"),
    ),
    mistake(
        "C3",
        "many images are evaluated without a yield",
        "tests/unit/admission/test_evaluator.py::test_many_images_are_evaluated_in_pieces",
        ("webhook/admission/evaluator.py", "if len(uses) > FEW:", "if not uses:"),
    ),
    mistake(
        "A1",
        "the former program, on a real API server",
        "tests/cluster/test_author.py::test_untrusted_image_among_many_uncached_ones_is_not_admitted",
        _SLEEPS,
        *_IMPORTS_FIRST,
    ),
    mistake(
        "C3",
        "the page of metrics is rendered for each reader",
        f"{T_APP}::test_metrics_page_is_cached_for_frequent_requests",
        ("webhook/server/app.py", "Response(exposition.read(),", "Response(render(),"),
    ),
    mistake(
        "C3",
        "the page of metrics is rendered at any cost",
        "tests/unit/telemetry/test_kept_page.py::test_frequent_reads_return_cached_page",
        ("webhook/telemetry/kept_page.py", "if self._allowed >= 1:", "if self._make:"),
    ),
    mistake(
        "C3",
        "a request starts even if the loop has not polled its sockets for long",
        f"{T_SCHEDULER}::test_simultaneous_wakeups_are_spread_over_many_passes",
        (SCHEDULER, "if self._clock() - self._polled_at > ITERATION_BUDGET:", "if self._polled_at < 0:"),
    ),
    mistake(
        "C3",
        "all waiting requests share one queue",
        f"{T_SCHEDULER}::test_queues_of_greenlets_are_served_round_robin",
        (SCHEDULER, "self._queues[reason].append(waiter)", "self._queues[0].append(waiter)"),
    ),
    mistake(
        "C3",
        "a review that is woken runs at once",
        f"{T_SCHEDULER}::test_woken_review_takes_turn_without_lock",
        (LOOKUP, "        self._checkpoint()\n", ""),
    ),
    mistake(
        "C3",
        "a pipelined request runs at once",
        f"{T_BURSTS}::test_burst_of_small_requests_does_not_stall_loop",
        (CONVERSATION, "server.scheduler.checkpoint(WaitReason.ARRIVED)", "pass"),
        (CONVERSATION, "server.scheduler.wait(WaitReason.PIPELINED)", "pass"),
        (
            CONVERSATION,
            "self._server.scheduler.checkpoint(WaitReason.READING if is_long else WaitReason.ARRIVED)",
            "del is_long",
        ),
    ),
    mistake(
        "C3",
        "reading a body in tiny chunks does not yield to the loop",
        f"{T_BURSTS}::test_burst_of_tiny_chunks_does_not_stall_loop",
        (
            CONVERSATION,
            "self._server.scheduler.checkpoint(WaitReason.READING if is_long else WaitReason.ARRIVED)",
            "del is_long",
        ),
        (CONVERSATION, "            server.scheduler.checkpoint(WaitReason.READING)\n", ""),
    ),
    mistake(
        "C3",
        "handshakes do not yield to the loop",
        f"{T_BURSTS}::test_burst_of_handshakes_does_not_stall_loop",
        (WORKER, "self.service.scheduler.checkpoint(WaitReason.HANDSHAKE)", "None"),
    ),
    mistake(
        "C3",
        "a handshake yields after OpenSSL's work",
        "tests/unit/server/test_connections.py::test_handshake_does_not_start_before_its_turn",
        (
            CONNECTIONS,
            "                checkpoint()\n",
            "                self._try_handshake()\n                checkpoint()\n",
        ),
    ),
    mistake(
        "C3",
        "a connection that was aborted in the queue gets its handshake",
        "tests/unit/server/test_connections.py::test_handshake_aborted_in_queue_does_not_start",
        (
            CONNECTIONS,
            "            if self.aborted:\n                raise ConnectionResetError\n",
            "",
        ),
    ),
    mistake(
        "C3",
        "a handshake that waited too long in the queue is done",
        "tests/unit/server/test_connections.py::test_handshake_timed_out_in_queue_does_not_start",
        (
            CONNECTIONS,
            "                checkpoint()\n                self._check_time()\n",
            "                checkpoint()\n",
        ),
    ),
    mistake(
        "C3",
        "rules are indexed only by the first component of a path",
        "tests/unit/policy/test_pattern_index.py::test_index_compares_few_of_many_patterns",
        (
            "webhook/policy/pattern_index.py",
            'self._of_host.add(f"{pattern.domain}/{path}", (pattern, held))',
            'self._of_host.add(f"{pattern.domain}/{pattern.components[0]}*", (pattern, held))',
        ),
    ),
    mistake(
        "C3",
        "the namespaces of equal rules are compared for each rule",
        "tests/unit/policy/test_pattern_index.py::test_index_compares_few_of_many_namespace_globs",
        (
            "webhook/policy/pattern_index.py",
            "self._globs.add(glob, (glob, held))",
            'self._globs.add("*", (glob, held))',
        ),
    ),
    mistake(
        "C3",
        "long work of few images does not yield",
        "tests/unit/admission/test_evaluator.py::test_long_evaluation_of_few_images_is_done_in_pieces",
        (
            "webhook/admission/time_slices.py",
            "no_pause if work is None else self._timer.pause",
            "no_pause",
        ),
    ),
    mistake(
        "C3",
        "the comparisons of one image do not yield",
        "tests/unit/admission/test_evaluator.py::test_long_evaluation_of_few_images_is_done_in_pieces",
        (
            "webhook/admission/evaluator.py",
            "self._check_use(use, namespace, now, slices.pause)",
            "self._check_use(use, namespace, now, no_pause)",
        ),
    ),
    mistake(
        "C3",
        "comparisons for the warm-up do not yield",
        "tests/unit/admission/test_evaluator.py::test_background_evaluation_yields_to_reviews",
        (
            "webhook/admission/evaluator.py",
            "self._check_use(use, namespace, now, timer.pause)",
            "self._check_use(use, namespace, now, no_pause)",
        ),
    ),
    mistake(
        "C3",
        "long work resumes before other requests run",
        "tests/unit/admission/test_evaluator.py::test_long_evaluation_yields_to_other_reviews",
        ("webhook/admission/time_slices.py", "            self._work.pause()\n", ""),
    ),
    mistake(
        "C3",
        "comparisons continue after the deadline of a review",
        "tests/unit/admission/test_evaluator.py::test_evaluation_beyond_deadline_is_aborted_and_denied",
        ("webhook/admission/time_slices.py", "if self._end.expired:", "if not self._end:"),
    ),
)
