"""Mistakes in asking SWR and in reading its answers."""

from __future__ import annotations

from typing import Final

from tests.bypasses.mistakes import mistake

ANSWERS: Final = "webhook/swr/answers.py"
CLIENT: Final = "webhook/swr/client.py"
LISTS: Final = "webhook/swr/tag_lists.py"
SESSIONS: Final = "webhook/http_client/tls_sessions.py"
TRANSPORT: Final = "webhook/http_client/transport.py"
T_CLIENT: Final = "tests/unit/swr/test_client.py"
T_LISTS: Final = "tests/unit/swr/test_tag_lists.py"
T_SESSIONS: Final = "tests/unit/http_client/test_tls_sessions.py"
T_SWR: Final = "tests/bypasses/test_hostile_swr.py"
FUZZ_ANSWERS: Final = "tests/fuzz/test_answers.py"

SWR_MISTAKES: Final = (
    mistake(
        "T25",
        "a digest is trusted if one of its tags is, although another is not",
        f"{T_CLIENT}::test_digest_is_trusted_if_all_its_tags_are",
        (
            CLIENT,
            "trusted = all(tag.trusted for tag in holders)",
            "trusted = any(entry.trusted for entry in holders)",
        ),
    ),
    mistake(
        "T35",
        "any truthy value is trust",
        f"{T_SWR}::test_only_json_true_is_trusted",
        (
            ANSWERS,
            "TrustStatus.TRUSTED if answer.is_trusted is True else",
            "TrustStatus.TRUSTED if answer.is_trusted else",
        ),
    ),
    mistake(
        "T36",
        "an answer about another tag is accepted",
        f"{T_SWR}::test_response_about_other_image_is_not_accepted",
        (ANSWERS, "if answer.tag != query.tag:", "if answer.tag is query:"),
    ),
    mistake(
        "T36",
        "an answer about another image is accepted",
        f"{T_SWR}::test_response_about_other_image_is_not_accepted",
        (ANSWERS, 'answer.path.partition("/")[2] != image:', "not answer.path:"),
    ),
    mistake(
        "T36",
        "a TLS session of another host is resumed, and its name is not verified",
        f"{T_SESSIONS}::test_other_host_name_is_verified",
        (
            SESSIONS,
            "self._server = (self.server_hostname, address, port)",
            'self._server = ("", address, port)',
        ),
    ),
    mistake(
        "T36",
        "TLS sessions outlive the CA file",
        f"{T_SESSIONS}::test_changed_ca_file_verifies_certificate_again",
        (SESSIONS, '{"sessions": TlsSessions(clock)}', '{"sessions": SHARED}'),
        (SESSIONS, "class ResumingSocket(", "SHARED = TlsSessions()\n\n\nclass ResumingSocket("),
    ),
    mistake(
        "T36",
        "a resumed TLS session counts as verified again",
        f"{T_SESSIONS}::test_resumed_session_does_not_prolong_verification",
        (SESSIONS, "if self.session_reused:", "if self.session is None:"),
    ),
    mistake(
        "T37",
        "a redirect is followed",
        f"{T_SWR}::test_redirect_is_not_followed",
        (
            TRANSPORT,
            "            redirect=False,\n            retries=False,",
            "            redirect=True,\n            retries=3,",
        ),
    ),
    mistake(
        "T38",
        "an answer has no size limit",
        f"{T_SWR}::test_endless_response_is_aborted_at_deadline",
        (TRANSPORT, "if size > request.max_answer:", "if size < 0:"),
    ),
    mistake(
        "T38",
        "only a single read has a timeout, not the call",
        f"{T_SWR}::test_endless_response_is_aborted_at_deadline",
        (
            TRANSPORT,
            "            with timeout_at(Deadline(deadline.at + _GRACE)):",
            "            if request is not None:",
        ),
    ),
    mistake(
        "T39",
        "any 404 means that the image does not exist",
        f"{T_SWR}::test_each_failure_status_has_own_reason_and_denies",
        (ANSWERS, "    if not numbers:\n", "    if numbers == codes:\n"),
    ),
    mistake(
        "T35",
        "every truthy value is trust",
        f"{FUZZ_ANSWERS}::test_only_exact_response_is_trusted",
        (
            ANSWERS,
            "TrustStatus.TRUSTED if answer.is_trusted is True else",
            "TrustStatus.TRUSTED if answer.is_trusted else",
        ),
    ),
    mistake(
        "T36",
        "an answer about any tag is accepted",
        f"{FUZZ_ANSWERS}::test_only_exact_response_is_trusted",
        (ANSWERS, "if answer.tag != query.tag:", "if answer.tag is query:"),
    ),
    mistake(
        "T25",
        "one trusted tag of a digest is enough",
        f"{FUZZ_ANSWERS}::test_digest_is_trusted_only_by_complete_list",
        (
            CLIENT,
            "trusted = all(tag.trusted for tag in holders)",
            "trusted = any(entry.trusted for entry in holders)",
        ),
    ),
    mistake(
        "T54",
        "the tag list of a repository is read again for each digest",
        f"{T_LISTS}::test_tag_list_is_cached_for_some_seconds",
        (LISTS, "            if known is not None:\n                return known\n", ""),
    ),
    mistake(
        "T54",
        "concurrent lookups of digests each read the list",
        f"{T_LISTS}::test_concurrent_callers_share_tag_list_read",
        (LISTS, "self._reads.call(repository, ", "self._reads.call(object(), "),
    ),
    mistake(
        "T54",
        "any number of tag lists is read at a time",
        f"{T_LISTS}::test_concurrent_tag_list_reads_are_limited",
        (LISTS, "threading.BoundedSemaphore(MAX_AT_ONCE)", "threading.BoundedSemaphore(1000)"),
    ),
    mistake(
        "T54",
        "a record from a tag list is as new as its lookup, not as the list",
        f"{T_LISTS}::test_another_digest_is_answered_from_cached_tag_list",
        (
            CLIENT,
            "TrustRecord(TrustStatus.MISSING, found.read_at)",
            "TrustRecord(TrustStatus.MISSING, self._clock())",
        ),
    ),
)
