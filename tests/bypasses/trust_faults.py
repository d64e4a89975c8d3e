"""Mistakes by which the author of a Pod turns a failure into an admission: faults B1 to B9."""

from __future__ import annotations

from typing import Final

from tests.bypasses.mistakes import mistake

CLIENT: Final = "webhook/swr/client.py"
LOOKUP: Final = "webhook/trust/lookup.py"
CALLS: Final = "webhook/swr/calls.py"
ERRORS: Final = "webhook/errors.py"
FALLBACK: Final = "webhook/swr/fallback.py"
FETCHED: Final = "webhook/swr/credentials/fetched.py"
GUARD: Final = "webhook/swr/credentials/guard.py"
LANE: Final = "webhook/trust/registry_queue.py"
SILENCE: Final = "webhook/http_client/silence.py"
TRANSPORT: Final = "webhook/http_client/transport.py"
RESERVATION: Final = "webhook/trust/reservation.py"

T_AUTHOR: Final = "tests/simulation/test_author.py"
T_CLIENT: Final = "tests/unit/swr/test_client.py"
T_CREDENTIALS: Final = "tests/unit/swr/test_credentials.py"
T_EVALUATOR: Final = "tests/unit/admission/test_evaluator.py"
T_FALLBACK: Final = "tests/unit/swr/test_fallback.py"
T_LOOKUP: Final = "tests/unit/trust/test_lookup.py"
T_PRECONNECT: Final = "tests/unit/swr/test_preconnect.py"
T_SILENCE: Final = "tests/unit/http_client/test_silence.py"
T_TRANSPORT: Final = "tests/unit/http_client/test_transport.py"
T_TURN: Final = "tests/unit/trust/test_reservation.py"

_THROTTLE_ADMITS: Final = (
    ERRORS,
    '    @property\n    def allows_stale(self) -> bool:\n        """Return ``False``."""\n        return False\n\n'
    '    @property\n    def allows_pass(self) -> bool:\n        """Return ``False``."""\n        return False\n',
    "",
)
_NO_CONTROL: Final = (
    CLIENT,
    "raise self._calls.compare(error, deadline, call_limiter) from None\n        # The list",
    "raise\n        # The list",
)
_NEVER_IN_DOUBT: Final = (
    SILENCE,
    "error.is_proven = self._is_silent_to(call)",
    "error.is_proven = True",
)

_ONE_SAMPLE: Final = (SILENCE, "SAMPLES: Final = 2", "SAMPLES: Final = 1")
_ACCEPTS: Final = "if answer is not None and shows_acceptance(answer):"
_NO_ACCEPTANCE: Final = (CALLS, _ACCEPTS, "if False:")

TRUST_FAULTS: Final = (
    mistake(
        "B7",
        "a digest bypasses a rule for tags",
        "tests/unit/policy/test_rules_and_digests.py::test_strictest_of_possible_rules_applies",
        (
            "webhook/policy/pattern_index.py",
            "if pattern.may_match(reference):",
            "if pattern.matches(reference):",
        ),
    ),
    mistake(
        "B1",
        "the deadline of a review counts as SWR's failure",
        f"{T_LOOKUP}::test_review_deadline_does_not_serve_stale_trust",
        (
            LOOKUP,
            '"SWR had not answered by the deadline of this review", fault=Fault.LOCAL',
            '"SWR had not answered by the deadline of this review", fault=Fault.REGISTRY',
        ),
    ),
    mistake(
        "B1",
        "the same, detected by an author who tries it at any moment",
        f"{T_AUTHOR}::test_author_cannot_get_untrusted_image_admitted",
        (
            LOOKUP,
            '"SWR had not answered by the deadline of this review", fault=Fault.LOCAL',
            '"SWR had not answered by the deadline of this review", fault=Fault.REGISTRY',
        ),
    ),
    mistake(
        "B2",
        "a wait in our queue counts as SWR's failure",
        f"{T_LOOKUP}::test_queued_lookup_does_not_serve_stale_trust",
        (
            LOOKUP,
            '"the lookup was still queued at the deadline of this review", fault=Fault.LOCAL',
            '"the lookup was still queued at the deadline of this review", fault=Fault.REGISTRY',
        ),
    ),
    mistake(
        "B3",
        "onLookupFailure applies to our own limits",
        f"{T_EVALUATOR}::test_failed_lookup_is_admitted_only_if_no_author_can_cause_it",
        (ERRORS, "return self.fault is Fault.REGISTRY and self.transient", "return self.transient"),
    ),
    mistake(
        "B4",
        "a long tag list counts as an endpoint that does not answer",
        f"{T_CLIENT}::test_failed_tag_list_is_image_fault_unless_control_list_fails",
        (CLIENT, "raise LookupTimeout(detail, fault=Fault.IMAGE) from None", "raise"),
    ),
    mistake(
        "B4",
        "the breaker counts failures that are not the registry's fault",
        f"{T_LOOKUP}::test_local_and_image_faults_do_not_open_breaker",
        (LANE, "if failure.fault is Fault.REGISTRY and not failure.is_counted:", "if failure.fault:"),
    ),
    mistake(
        "B1",
        "a call counts although little of its time was left",
        f"{T_TURN}::test_timeout_is_registry_fault_only_if_swr_had_enough_time",
        (
            RESERVATION,
            "if not error.is_proven and left < self.timeout * (1 - MAX_SPENT):",
            "if left < 0:",
        ),
    ),
    mistake(
        "B1",
        "a call that begins late needs less silence",
        f"{T_SILENCE}::test_control_request_of_late_call_has_as_much_time_for_its_answer",
        (SILENCE, "full = max(timeout, seconds, SHORTEST)", "full = max(seconds, SHORTEST)"),
    ),
    mistake(
        "B1",
        "answers to others do not matter for a call that begins late",
        f"{T_SILENCE}::test_late_call_while_others_are_answered_is_image_fault",
        (
            SILENCE,
            "error.is_proven = self._is_silent_to(call)",
            "error.is_proven = self._is_silent_to(call) or seconds < timeout",
        ),
    ),
    mistake(
        "B4",
        "names about which the first of two endpoints is slow keep the breaker open",
        "tests/unit/trust/test_registry_queue.py::test_probe_of_image_that_fails_closes_breaker",
        (LANE, "elif failure.fault is Fault.IMAGE and reservation.is_probe:", "elif failure is None:"),
    ),
    mistake(
        "B1",
        "a call counts although the event loop was blocked",
        f"{T_TURN}::test_timeout_is_registry_fault_only_if_swr_had_enough_time",
        (
            RESERVATION,
            "elif self.lateness() - late > self.timeout * MAX_BLOCKED:",
            "elif self.lateness() < 0:",
        ),
    ),
    mistake(
        "B2",
        "a wait for the trial of a credential counts as SWR's failure",
        f"{T_CREDENTIALS}::test_wait_for_trial_ends_at_deadline_of_caller",
        (
            GUARD,
            "raise LookupTimeout(detail, fault=Fault.LOCAL)",
            "raise LookupTimeout(detail, fault=Fault.REGISTRY)",
        ),
    ),
    mistake(
        "B3",
        "a throttle of SWR counts as its failure",
        f"{T_LOOKUP}::test_throttling_by_swr_does_not_serve_stale_trust",
        _THROTTLE_ADMITS,
    ),
    mistake(
        "B3",
        "the same, detected by an author who floods SWR through us",
        f"{T_AUTHOR}::test_author_cannot_get_untrusted_image_admitted",
        _THROTTLE_ADMITS,
    ),
    mistake(
        "B4",
        "a tag for which SWR fails counts as an outage",
        f"{T_CLIENT}::test_failure_about_one_image_is_image_fault",
        _NO_CONTROL,
    ),
    mistake(
        "B4",
        "the same, detected by an author of such tags",
        f"{T_AUTHOR}::test_author_cannot_get_untrusted_image_admitted",
        _NO_CONTROL,
    ),
    mistake(
        "B4",
        "an answer does not end an outage if its lookup fails",
        f"{T_LOOKUP}::test_answer_closes_breaker_even_if_lookup_fails",
        (RESERVATION, "        self.breaker.succeed()\n", "        pass\n"),
    ),
    mistake(
        "B4",
        "the same, detected by an author of such tags after an outage",
        f"{T_AUTHOR}::test_failing_image_names_do_not_prolong_outage",
        (CALLS, "                call_limiter.record_answer()\n", "                pass\n"),
        (CALLS, "                in_doubt=call_limiter.is_probe,\n", ""),
    ),
    mistake(
        "B4",
        "the control request is about an organization of the author",
        f"{T_FALLBACK}::test_control_request_uses_another_organization_of_policy",
        (FALLBACK, "if name != organization), organization)", "if name), organization)"),
    ),
    mistake(
        "B1",
        "the cache is not read again after a wait",
        f"{T_LOOKUP}::test_cached_record_is_checked_again_after_wait",
        (LOOKUP, "self._drop_outdated(requests, found) if waiting else found", "found"),
    ),
    mistake(
        "B6",
        "a forbidden organization is still used for control requests",
        f"{T_CLIENT}::test_organization_with_401_is_not_used_as_control",
        (
            "webhook/swr/organizations.py",
            "            self._answered.pop(organization, None)\n\n    def is",
            "\n    def is",
        ),
    ),
    mistake(
        "B5",
        "a joined lookup stays in the queue of the first namespace",
        f"{T_AUTHOR}::test_image_shared_with_long_pod_is_answered_by_own_namespace_queue",
        (
            LOOKUP,
            "if not pending.started and request.tenant not in pending.tenants:",
            "if pending.background and not pending.started:",
        ),
    ),
    mistake(
        "B6",
        "every 401 pauses the credential",
        f"{T_CLIENT}::test_401_about_one_organization_does_not_pause_working_credential",
        (
            CLIENT,
            "fault = self._attribute_refusal(\n                        response, organization, generation, deadline, call_limiter\n                    )",
            "fault = Fault.REGISTRY",
        ),
    ),
    mistake(
        "B6",
        "until the first answer every 401 pauses the credential",
        f"{T_CLIENT}::test_pause_after_unexplained_401_is_not_registry_fault",
        (
            CLIENT,
            "return Fault.REGISTRY if names_credential(answer)",
            "return Fault.REGISTRY if True",
        ),
    ),
    mistake(
        "B6",
        "the answers to an earlier secret are forgotten",
        f"{T_CLIENT}::test_request_answered_with_earlier_secret_is_used_as_control",
        (
            "webhook/swr/organizations.py",
            "if other != organization\n",
            "if other != organization and answered == generation\n",
        ),
    ),
    mistake(
        "B9",
        "one namespace may fill the whole queue",
        f"{T_AUTHOR}::test_flood_of_one_namespace_does_not_fill_queue",
        (LANE, " or own >= MAX_WAITING_PER_TENANT", ""),
    ),
    mistake(
        "B4",
        "any timeout is the endpoint's fault",
        f"{T_SILENCE}::test_timeout_is_image_fault_if_control_request_is_answered",
        _NEVER_IN_DOUBT,
    ),
    mistake(
        "B4",
        "the same, detected by an author of images without an answer",
        f"{T_AUTHOR}::test_author_cannot_get_untrusted_image_admitted",
        _NEVER_IN_DOUBT,
    ),
    mistake(
        "B4",
        "the same, in the installed program",
        "tests/http/test_slow_names.py::test_slow_image_names_are_not_treated_as_outage",
        _NEVER_IN_DOUBT,
    ),
    mistake(
        "B4",
        "one moment without an answer is enough",
        f"{T_SILENCE}::test_late_answer_to_other_call_prevents_outage",
        (SILENCE, ">= call.full * SILENT", ">= 0"),
    ),
    mistake(
        "B4",
        "silence is kept after the last lookup",
        f"{T_SILENCE}::test_earlier_outage_does_not_affect_later_timeout",
        (
            SILENCE,
            "                self._tried = 0\n                self._unanswered.clear()\n                return None",
            "                return None",
        ),
        (
            SILENCE,
            "self._responded_at, self._tried = time.monotonic(), 0\n            self._unanswered.clear()\n",
            "pass\n",
        ),
    ),
    mistake(
        "B4",
        "a probe is sent without a control request beside it",
        f"{T_AUTHOR}::test_failing_image_names_do_not_prolong_outage",
        (CALLS, "                in_doubt=call_limiter.is_probe,\n", ""),
    ),
    mistake(
        "B4",
        "one call counts once for each lookup that it fails",
        f"{T_LOOKUP}::test_failure_shared_by_lookups_counts_once_for_breaker",
        (LANE, " and not failure.is_counted", ""),
    ),
    mistake(
        "B4",
        "without the call for one tag, control requests always fail",
        f"{T_FALLBACK}::test_control_request_is_tag_list_if_tag_call_is_missing",
        (
            CALLS,
            "            if not is_unpublished(answer):\n                return not is_failure(answer)\n",
            "            return not is_failure(answer)\n",
        ),
    ),
    mistake(
        "B4",
        "the image of control requests can be predicted",
        f"{T_FALLBACK}::test_control_request_uses_unpredictable_names",
        (FALLBACK, 'return f"{PROBE}-{secrets.token_hex(8)}"', 'return f"{PROBE}-{16 * chr(48)}"'),
    ),
    mistake(
        "B4",
        "control requests are about an organization of the policy",
        f"{T_AUTHOR}::test_author_cannot_get_untrusted_image_admitted",
        (FALLBACK, "if organization is None or not own:", "if not own:"),
    ),
    mistake(
        "B4",
        "one control request that fails is enough",
        f"{T_CLIENT}::test_single_failed_control_request_is_not_registry_fault",
        _ONE_SAMPLE,
    ),
    mistake(
        "B4",
        "one control request that is not answered is a silence",
        f"{T_SILENCE}::test_single_lost_control_request_is_not_outage",
        _ONE_SAMPLE,
    ),
    mistake(
        "B4",
        "the same, in the installed program",
        "tests/http/test_slow_names.py::test_single_lost_control_request_is_not_outage",
        _ONE_SAMPLE,
    ),
    mistake(
        "B4",
        "the same, detected by the simulated author",
        f"{T_AUTHOR}::test_author_cannot_get_untrusted_image_admitted",
        _ONE_SAMPLE,
    ),
    mistake(
        "B4",
        "two calls for one control request count twice",
        f"{T_SILENCE}::test_two_calls_of_one_control_request_are_one_sample",
        (
            SILENCE,
            "                self._unanswered.remove(earlier)\n"
            "            elif earlier is not None:\n"
            "                return earlier\n",
            "                pass\n",
        ),
    ),
    mistake(
        "B6",
        "a slow login is the registry's fault",
        f"{T_CREDENTIALS}::test_wait_for_login_ends_at_deadline_of_caller",
        (
            FETCHED,
            "if self._failed is not None else Fault.LOCAL",
            "if self._failed is not None else Fault.REGISTRY",
        ),
    ),
    mistake(
        "B6",
        "unauthorized control requests do not pause the credential",
        f"{T_CLIENT}::test_control_request_with_401_pauses_credential",
        (CALLS, "self._credential.reject(generation)", "pass"),
    ),
    mistake(
        "B6",
        "a 401 about the random image of the first call pauses the credential",
        f"{T_PRECONNECT}::test_response_ends_trial_of_credential",
        (CALLS, "is_unauthorized(answer) and names_credential(answer)", "is_unauthorized(answer)"),
    ),
    mistake(
        "B6",
        "lookups that wait for the first call do not learn that SWR is silent",
        f"{T_PRECONNECT}::test_lookup_beside_it_learns_that_the_registry_is_silent",
        (CALLS, "self._credential.release(generation, unanswered)", "self._credential.release(generation)"),
    ),
    mistake(
        "B6",
        "answered control requests do not accept the credential",
        f"{T_CLIENT}::test_answered_control_request_accepts_credential_on_trial",
        _NO_ACCEPTANCE,
    ),
    mistake(
        "B6",
        "the same, detected by a lookup that waits for the trial",
        "tests/http/test_slow_names.py::test_slow_image_does_not_block_unproven_credential",
        _NO_ACCEPTANCE,
    ),
    mistake(
        "B6",
        "any answer to a control request accepts a credential",
        f"{T_CLIENT}::test_control_answer_before_authentication_does_not_accept_credential",
        (CALLS, _ACCEPTS, "if answer is not None:"),
    ),
    mistake(
        "B2",
        "answers that saturate the network count as silence",
        f"{T_SILENCE}::test_incoming_bytes_of_large_answers_are_not_outage",
        (
            SILENCE,
            "if len(self._unanswered) < SAMPLES or self._received() - self._bytes >= ALIVE:",
            "if len(self._unanswered) < SAMPLES:",
        ),
    ),
    mistake(
        "B2",
        "bytes of an answer count only when it is complete",
        f"{T_TRANSPORT}::test_received_bytes_are_counted_before_answer_is_complete",
        (TRANSPORT, "response.read1(", "response.read("),
    ),
    mistake(
        "B2",
        "a timeout on a saturated network is the endpoint's fault",
        f"{T_TRANSPORT}::test_timeout_during_heavy_traffic_is_local_fault",
        (TRANSPORT, "if call.fault is Fault.REGISTRY and call.shared_a_busy_line:", "if not call:"),
    ),
    mistake(
        "B4",
        "a slow name selects the address for all others",
        "tests/unit/http_client/test_connecting.py::test_slow_image_does_not_change_address_of_other_lookups",
        (
            TRANSPORT,
            "if dead or not self.connector.has_answered(self.endpoint, self._began):",
            "if True:",
        ),
    ),
    mistake(
        "B1",
        "records of a review's own lookup are not read again",
        f"{T_LOOKUP}::test_fetched_record_is_checked_again_after_wait",
        (LOOKUP, "result.origin is Origin.STALE:", "result.origin is not Origin.CACHE:"),
    ),
    mistake(
        "B1",
        "an answer is as young as its last byte",
        f"{T_CLIENT}::test_record_time_is_that_of_request",
        (
            CLIENT,
            "record = read_tag(response, query, sent_at)",
            "record = read_tag(response, query, self._clock())",
        ),
    ),
)
