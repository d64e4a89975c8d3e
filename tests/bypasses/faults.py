"""The mistakes behind the faults that testers found, each with the test that sees it (see ``defences.py``)."""

from __future__ import annotations

from typing import Final

from tests.bypasses.connection_faults import CONNECTION_FAULTS, CONNECTIONS, WORKER
from tests.bypasses.defences import LOOKUP, mistake
from tests.bypasses.review_faults import REVIEW_FAULTS
from tests.bypasses.trust_faults import TRUST_FAULTS

LIMITER: Final = "webhook/trust/limiter.py"
START: Final = "webhook/__main__.py"
PATCHING: Final = "webhook/patching.py"
SCHEDULER: Final = "webhook/server/scheduler.py"
HEADS: Final = "webhook/server/heads.py"
REQUEST: Final = "webhook/admission/request.py"

T_APP: Final = "tests/unit/server/test_app.py"
T_SCHEDULER: Final = "tests/unit/server/test_scheduler.py"
T_BURSTS: Final = "tests/http/test_turns.py"
T_PATCHING: Final = "tests/http/test_patching.py"
T_HEADS: Final = "tests/unit/server/test_heads.py"
T_RECORDS: Final = "tests/http/test_records.py"

_SLEEPS: Final = (
    LIMITER,
    "sleep: Callable[[float], None] | None = None,",
    "sleep: Callable[[float], None] | None = time.sleep,",
)
_SILENT: Final = (CONNECTIONS, "if self._silent > MAX_SILENT_RECORDS:", "if self._silent < 0:")
_IMPORTS_FIRST: Final = (
    (
        START,
        "    patch()\n",
        "    import webhook.trust.limiter\n    patch()\n",
    ),
    (PATCHING, "    if early:\n", "    if not early:\n"),
)

FAULTS: Final = (
    *TRUST_FAULTS,
    *REVIEW_FAULTS,
    mistake(
        "A1",
        "a default argument keeps what the patch replaces",
        f"{T_PATCHING}::test_no_source_keeps_what_the_patch_replaces",
        _SLEEPS,
    ),
    mistake(
        "A1",
        "the product is imported before the patch",
        f"{T_PATCHING}::test_a_patch_that_comes_too_late_is_refused",
        _IMPORTS_FIRST[1],
    ),
    mistake(
        "A1",
        "the program as it was: imported first, and a call kept that blocks",
        f"{T_PATCHING}::test_nothing_in_the_running_program_keeps_what_the_patch_replaces",
        _SLEEPS,
        *_IMPORTS_FIRST,
    ),
    mistake(
        "A1",
        "the same, seen by whoever waits beside it",
        f"{T_PATCHING}::test_a_pod_of_many_cold_images_holds_up_nobody",
        _SLEEPS,
        *_IMPORTS_FIRST,
    ),
    mistake(
        "C2",
        "a body is kept beside what was decoded from it",
        "tests/unit/server/test_connections.py::test_body_read_as_a_whole_is_kept_no_longer",
        ("webhook/server/connections.py", "            self.drop()\n", "            pass\n"),
    ),
    mistake(
        "C2",
        "an idle connection keeps the body of its last request",
        "tests/http/test_memory.py::test_idle_connection_after_large_request_keeps_no_body",
        (WORKER, "request.body.drop()  # the application may have left it unread", "pass"),
    ),
    mistake(
        "C2",
        "bodies take whatever they want",
        "tests/unit/server/test_body_budget.py::test_what_is_over_the_share_is_refused",
        (
            "webhook/server/body_budget.py",
            "if is_first and not short_of_small and large <= self._large_left:",
            "if True:",
        ),
    ),
    mistake(
        "C2",
        "a small body that waits pushes out another that waits",
        "tests/unit/server/test_body_budget.py::test_only_a_stalled_half_gives_way",
        ("webhook/server/body_budget.py", "if lease.small and last <= since)", "if lease.small)"),
    ),
    mistake(
        "C2",
        "the beginning of a body needs a share, too",
        "tests/unit/server/test_body_budget.py::test_the_beginning_of_a_body_is_taken_whatever_others_hold",
        (
            "webhook/server/body_budget.py",
            "beginning = min(size, BEGINNING - self.beginning)",
            "beginning = 0",
        ),
    ),
    mistake(
        "C2",
        "a body that has arrived counts as one that stalls",
        "tests/http/test_bodies.py::test_many_small_reviews_that_wait_for_swr_cut_off_nobody",
        (WORKER, "        lease.arrived()\n", ""),
    ),
    mistake(
        "C2",
        "a review may take as long as ever after its body had to wait",
        "tests/unit/server/test_app.py::test_the_time_that_a_body_took_is_taken_from_the_review",
        (
            "webhook/server/reviews.py",
            "Deadline(began + time_to_decide",
            "Deadline(time.monotonic() + time_to_decide",
        ),
    ),
    mistake(
        "C2",
        "a body that there is no room for is a broken call",
        "tests/unit/server/test_app.py::test_a_body_that_there_was_no_room_for_is_refused_under_its_uid",
        (
            "webhook/server/reviews.py",
            "    if is_cut:\n        review = read_beginning(body, BUSY)\n",
            "    if is_cut:\n        review = None\n",
        ),
    ),
    mistake(
        "C2",
        "what was decoded lives for as long as its review waits",
        "tests/unit/admission/test_validator.py::test_what_was_decoded_is_forgotten_before_a_review_waits",
        ("webhook/admission/validator.py", "        request.keep_identity()\n", ""),
    ),
    mistake(
        "C2",
        "annotations are decoded, and live for as long as their review waits",
        "tests/http/test_bodies.py::test_reviews_of_many_elements_that_wait_for_swr_stay_within_the_memory",
        ("webhook/admission/validator.py", "        request.keep_identity()\n", ""),
        (
            REQUEST,
            "    annotations: msgspec.Raw = _NULL\n",
            "    annotations: dict[str, str] | None = None\n",
        ),
        (
            REQUEST,
            "value: str | None = _decoder_of_annotation(key).decode(self.annotations).value",
            "value: str | None = (self.annotations or {}).get(key)",
        ),
    ),
    mistake(
        "C2",
        "any number of images is awaited",
        "tests/unit/admission/test_validator.py::test_many_images_are_not_awaited_beside_too_many_others",
        (
            "webhook/admission/validator.py",
            "if count > FEW and self._awaited > MAX_AWAITED else",
            "if count < 0 else",
        ),
    ),
    mistake(
        "C2",
        "any number of images is awaited, seen by the memory",
        "tests/http/test_bodies.py::test_reviews_of_many_cold_images_that_wait_for_swr_stay_within_the_memory",
        (
            "webhook/admission/validator.py",
            "if count > FEW and self._awaited > MAX_AWAITED else",
            "if count < 0 else",
        ),
    ),
    mistake(
        "C2",
        "reviews that wait may take all places",
        "tests/http/test_places.py::test_reviews_that_wait_leave_places_for_others",
        (WORKER, "return len(self._in_flight) >= most", "return False"),
    ),
    mistake(
        "C2",
        "a review that may not wait waits",
        "tests/unit/server/test_app.py::test_a_review_that_may_not_wait_has_no_time",
        ("webhook/server/reviews.py", "            deadline = Deadline.after(0)\n", "            pass\n"),
    ),
    mistake(
        "C2",
        "a body waits for room for as long as its call may take, or longer",
        "tests/http/test_places.py::test_a_body_that_waits_for_room_is_refused_within_the_time_of_its_call",
        (WORKER, "        lease.expect_answer_within(time_to_decide(request.query))\n", ""),
    ),
    mistake(
        "C2",
        "the same, of its lease",
        "tests/unit/server/test_body_budget.py::test_a_body_waits_for_half_of_its_time_at_most",
        ("webhook/server/body_budget.py", "min(WAIT, seconds / 2)", "WAIT"),
    ),
    mistake(
        "C2",
        "a review that waits keeps long strings of four bytes a character",
        "tests/unit/admission/test_validator.py::test_no_long_string_is_kept_while_a_review_waits",
        (
            "webhook/admission/validator.py",
            "[shorten(use) for use in uses[:MAX_IMAGES]]",
            "uses[:MAX_IMAGES]",
        ),
    ),
    mistake(
        "C2",
        "the same, of who asks",
        "tests/unit/admission/test_validator.py::test_no_long_string_is_kept_while_a_review_waits",
        ("webhook/admission/request.py", "cut(self.user_info.username, MAX_TEXT)", "self.user_info.username"),
    ),
    mistake(
        "C1",
        "elements are not counted before they are decoded",
        "tests/unit/admission/test_bounds.py::test_a_body_full_of_elements_is_refused_at_once_under_its_uid",
        (
            "webhook/admission/bounds.py",
            "        if self.elements > MAX_ELEMENTS:\n            return f",
            "        if self.elements < 0:\n            return f",
        ),
    ),
    mistake(
        "A4",
        "how deep an object may be is the interpreter's",
        "tests/unit/admission/test_bounds.py::test_the_bound_of_levels_is_our_own",
        ("webhook/admission/bounds.py", "if self.deepest > MAX_DEPTH else", "if self.deepest < 0 else"),
    ),
    mistake(
        "C1",
        "commas in strings count as elements",
        "tests/unit/admission/test_bounds.py::test_a_large_object_that_is_honest_passes",
        ("webhook/admission/bounds.py", "[within_string::2]", ""),
    ),
    mistake(
        "C1 A4",
        "where a piece of a body ends, a string ends, too",
        "tests/unit/admission/test_bounds.py::test_depth_and_elements_are_those_of_the_document",
        ("webhook/admission/bounds.py", "within_string = self._quotes % 2", "within_string = 0"),
    ),
    mistake(
        "C3",
        "a body is looked through at a stretch",
        "tests/unit/admission/test_bounds.py::test_others_have_their_turns_after_each_piece_of_a_body",
        ("webhook/admission/bounds.py", "split_into_pieces(body, PIECE)", "[body]"),
    ),
    mistake(
        "C3",
        "the same, seen by the loop of the process",
        "tests/http/test_loop.py::test_no_turn_of_the_loop_is_long",
        ("webhook/admission/bounds.py", "split_into_pieces(body, PIECE)", "[body]"),
        ("webhook/admission/bounds.py", "        if self._quotes > _MAX_QUOTES:", "        if not piece:"),
    ),
    mistake(
        "C3",
        "only bodies of 256 KiB and more take turns",
        "tests/unit/server/test_app.py::test_a_large_body_whose_turn_does_not_come_is_refused_under_its_uid",
        ("webhook/server/reviews.py", "LARGE: Final = 32 * 1024", "LARGE: Final = 256 * 1024"),
    ),
    mistake(
        "C3",
        "a large body is read without a pause",
        "tests/unit/server/test_app.py::test_others_have_their_turns_while_a_large_body_is_read",
        (
            "webhook/server/reviews.py",
            "is_cut=is_cut, pause=self._large_work.pause)",
            "is_cut=is_cut, pause=no_pause)",
        ),
    ),
    mistake(
        "C3",
        "answers to many questions are weighed by all at once",
        "tests/unit/admission/test_evaluator.py::test_many_answers_are_weighed_in_turn",
        (
            "webhook/admission/evaluator.py",
            "self._large_work is None or not answers or len(pending) <= FEW",
            "True",
        ),
    ),
    mistake(
        "C3",
        "every rule is compared with every image",
        "tests/unit/policy/test_pattern_index.py::test_few_of_many_are_compared",
        (
            "webhook/policy/pattern_index.py",
            'self._of_host.add(f"{pattern.domain}/{path}", (pattern, held))',
            'self._of_any_host.add("*", (pattern, held))',
        ),
    ),
    mistake(
        "C3",
        "a thousand images of one object are judged",
        "tests/unit/admission/test_validator.py::test_what_cannot_be_judged_is_never_waved_through",
        ("webhook/admission/validator.py", "MAX_IMAGES: Final = 200", "MAX_IMAGES: Final = 5000"),
        ("webhook/admission/validator.py", "MAX_EXTRACTED: Final = 1000", "MAX_EXTRACTED: Final = 5000"),
    ),
    mistake(
        "C3",
        "many images are judged at a stretch",
        "tests/unit/admission/test_evaluator.py::test_many_images_are_judged_in_pieces_and_in_turn",
        ("webhook/admission/evaluator.py", "if len(uses) > FEW:", "if not uses:"),
    ),
    mistake(
        "A1",
        "the program as it was, on a real API server",
        "tests/cluster/test_author.py::test_an_untrusted_image_among_many_cold_ones_is_not_created",
        _SLEEPS,
        *_IMPORTS_FIRST,
    ),
    mistake(
        "C1",
        "records without data cost neither a budget nor a turn",
        f"{T_RECORDS}::test_updates_of_keys_without_end_hold_up_nobody",
        _SILENT,
        (CONNECTIONS, "if now - self._turn_began > MAX_BUSY_SECONDS:", "if now < 0:"),
    ),
    mistake(
        "C1",
        "records without data cost no budget, only turns",
        f"{T_RECORDS}::test_updates_of_keys_without_end_hold_up_nobody",
        _SILENT,
    ),
    mistake(
        "C1",
        "a connection may bring few records without data, all its requests together",
        f"{T_RECORDS}::test_a_client_that_updates_its_keys_now_and_then_is_served",
        (CONNECTIONS, "        self.idle = True\n        self._silent = 0\n", "        self.idle = True\n"),
    ),
    mistake(
        "C1",
        "a handshake has any size",
        "tests/unit/server/test_connections.py::test_a_handshake_has_a_size",
        (CONNECTIONS, "if size > MAX_HANDSHAKE:", "if size < 0:"),
    ),
    mistake(
        "C2",
        "header fields have no bound together while they arrive",
        "tests/http/test_heads.py::test_heads_without_an_end_stay_within_their_budget",
        (HEADS, "self.max_buffer_headers = MAX_HEAD", "self.max_buffer_headers = MAX_FIELDS * MAX_FIELD"),
    ),
    mistake(
        "C2",
        "header fields that arrive at once have no bound together",
        f"{T_HEADS}::test_fields_are_bounded_together",
        (HEADS, "if len(data) > MAX_HEAD:", "if not data:"),
    ),
    mistake(
        "C2",
        "trailer fields have no bound together",
        f"{T_HEADS}::test_trailers_are_bounded_together",
        (HEADS, "if len(data) > MAX_HEAD:", "if len(data) > MAX_HEAD and not from_trailer:"),
    ),
    mistake(
        "C2",
        "a review that waits keeps all that was said in its head",
        f"{T_HEADS}::test_what_nobody_reads_is_forgotten",
        (HEADS, " if field[0] in KEPT", ""),
    ),
    mistake(
        "C2",
        "a review that waits for room gives way to whoever connects",
        "tests/http/test_places.py::test_a_body_that_waits_for_room_does_not_give_way_to_a_crowd",
        (
            WORKER,
            "        self._waiting.remove(connection)\n        self._in_flight.add(request)\n        try:\n            return",
            "        self._in_flight.add(request)\n        try:\n            return",
        ),
    ),
    mistake(
        "C3",
        "the page of metrics is made for each who reads it",
        f"{T_APP}::test_the_page_of_metrics_is_not_made_for_each_of_a_flood",
        ("webhook/server/app.py", "Response(exposition.read(),", "Response(render(),"),
    ),
    mistake(
        "C3",
        "the page of metrics is made however much that takes",
        "tests/unit/telemetry/test_kept_page.py::test_a_flood_gets_the_last_page",
        ("webhook/telemetry/kept_page.py", "if self._allowed >= 1:", "if self._make:"),
    ),
    mistake(
        "C3",
        "a request is begun however long ago the loop looked at its sockets",
        f"{T_SCHEDULER}::test_a_crowd_that_is_woken_at_once_takes_many_passes",
        (SCHEDULER, "if self._clock() - self._polled_at > ITERATION_BUDGET:", "if self._polled_at < 0:"),
    ),
    mistake(
        "C3",
        "all who wait for a turn stand in one line",
        f"{T_SCHEDULER}::test_the_heads_of_the_lines_go_on_in_turn",
        (SCHEDULER, "self._queues[reason].append(waiter)", "self._queues[0].append(waiter)"),
    ),
    mistake(
        "C3",
        "a review that is woken goes on at once",
        f"{T_SCHEDULER}::test_a_review_that_is_woken_takes_its_turn",
        (LOOKUP, "        self._take_turn()\n", ""),
    ),
    mistake(
        "C3",
        "whoever sends the next request before the answer goes on at once",
        f"{T_BURSTS}::test_a_burst_of_small_requests_holds_up_nobody",
        (WORKER, "scheduler.checkpoint(WaitReason.ARRIVED)", "pass"),
        (WORKER, "scheduler.wait(WaitReason.PIPELINED)", "pass"),
    ),
    mistake(
        "C3",
        "handshakes take no turns",
        f"{T_BURSTS}::test_a_burst_of_handshakes_holds_up_nobody",
        (WORKER, "self.service.scheduler.checkpoint(WaitReason.HANDSHAKE)", "None"),
    ),
    mistake(
        "C3",
        "a handshake takes its turn after OpenSSL's work",
        "tests/unit/server/test_connections.py::test_no_work_is_done_for_a_handshake_before_its_turn",
        (
            CONNECTIONS,
            "                take_turn()\n",
            "                self._try_handshake()\n                take_turn()\n",
        ),
    ),
    mistake(
        "C3",
        "a connection that was cut in line gets its handshake",
        "tests/unit/server/test_connections.py::test_no_work_is_done_for_a_handshake_that_was_given_up_in_line",
        (
            CONNECTIONS,
            "            if self.aborted:\n                raise ConnectionResetError\n",
            "",
        ),
    ),
    mistake(
        "C3",
        "a handshake that stood in line for too long is done",
        "tests/unit/server/test_connections.py::test_no_work_is_done_for_a_handshake_whose_time_was_over_in_line",
        (
            CONNECTIONS,
            "                take_turn()\n                self._left()\n",
            "                take_turn()\n",
        ),
    ),
    mistake(
        "C3",
        "rules are only told apart by the first component of a path",
        "tests/unit/policy/test_pattern_index.py::test_few_of_many_are_compared",
        (
            "webhook/policy/pattern_index.py",
            'self._of_host.add(f"{pattern.domain}/{path}", (pattern, held))',
            'self._of_host.add(f"{pattern.domain}/{pattern.components[0]}*", (pattern, held))',
        ),
    ),
    mistake(
        "C3",
        "what many rules say of namespaces is compared for each of them",
        "tests/unit/policy/test_pattern_index.py::test_few_namespaces_of_many_are_compared",
        (
            "webhook/policy/pattern_index.py",
            "self._globs.add(glob, (glob, held))",
            'self._globs.add("*", (glob, held))',
        ),
    ),
    mistake(
        "C2",
        "the policy is kept once more for each namespace",
        "tests/unit/policy/test_pattern_index.py::test_what_is_remembered_of_namespaces_is_little",
        (
            "webhook/policy/model.py",
            "    known: bool = False\n    rules: int = 0\n",
            "    known: bool = False\n    index: object = None\n    rules: int = 0\n",
        ),
        (
            "webhook/policy/model.py",
            "            scope.known = True\n",
            "            scope.known = True\n"
            "            scope.index = PatternIndex(rule.images for rule in self.rules)\n",
        ),
    ),
    mistake(
        "C3",
        "long work of few images is done at a stretch",
        "tests/unit/admission/test_evaluator.py::test_long_work_of_few_images_is_done_in_turn",
        (
            "webhook/admission/time_slices.py",
            "no_pause if work is None else self._timer.pause",
            "no_pause",
        ),
    ),
    mistake(
        "C3",
        "the comparisons of one image are made at a stretch",
        "tests/unit/admission/test_evaluator.py::test_long_work_of_few_images_is_done_in_turn",
        (
            "webhook/admission/evaluator.py",
            "self._evaluate_locally(use, namespace, now, slices.pause)",
            "self._evaluate_locally(use, namespace, now, no_pause)",
        ),
    ),
    mistake(
        "C3",
        "what a replica asks to warm up is compared at a stretch",
        "tests/unit/admission/test_evaluator.py::test_what_a_review_asks_in_the_background_gives_way",
        (
            "webhook/admission/evaluator.py",
            "self._evaluate_locally(use, namespace, now, timer.pause)",
            "self._evaluate_locally(use, namespace, now, no_pause)",
        ),
    ),
    mistake(
        "C3",
        "long work takes the next turn, too, before others can",
        "tests/unit/admission/test_evaluator.py::test_long_work_leaves_turns_to_others",
        ("webhook/admission/time_slices.py", "            self._work.pause()\n", ""),
    ),
    mistake(
        "C3",
        "comparing goes on when the time of a review is over",
        "tests/unit/admission/test_evaluator.py::test_work_that_takes_longer_than_a_review_has_ends",
        ("webhook/admission/time_slices.py", "if self._end.expired:", "if not self._end:"),
    ),
    *CONNECTION_FAULTS,
)
