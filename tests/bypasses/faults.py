"""The mistakes behind the faults that testers found, each with the test that sees it (see ``defences.py``)."""

from __future__ import annotations

from typing import Final

from tests.bypasses.defences import CLIENT, LOOKUP, T_CLIENT, mistake

ERRORS: Final = "webhook/errors.py"
LANE: Final = "webhook/trust/lane.py"
LIMITER: Final = "webhook/trust/limiter.py"
START: Final = "webhook/__main__.py"
PATCHING: Final = "webhook/patching.py"

T_LOOKUP: Final = "tests/unit/trust/test_lookup.py"
T_DECISION: Final = "tests/unit/admission/test_decision.py"
T_PATCHING: Final = "tests/http/test_patching.py"
T_AUTHOR: Final = "tests/simulation/test_author.py"

_SLEEPS: Final = (
    LIMITER,
    "sleep: Callable[[float], None] | None = None,",
    "sleep: Callable[[float], None] | None = time.sleep,",
)
_IMPORTS_FIRST: Final = (
    (
        START,
        "from webhook.patching import patch\n",
        "import webhook.trust.limiter\nfrom webhook.patching import patch\n",
    ),
    (PATCHING, "    if early:\n", "    if not early:\n"),
)

FAULTS: Final = (
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
        "B1",
        "the deadline of a review counts as SWR's failure",
        f"{T_LOOKUP}::test_the_deadline_of_a_review_brings_no_old_trust_back",
        (
            LOOKUP,
            '"SWR had not answered when the time of this review was over", fault=Fault.LOCAL',
            '"SWR had not answered when the time of this review was over", fault=Fault.REGISTRY',
        ),
    ),
    mistake(
        "B1",
        "the same, seen by who tries it at any moment",
        f"{T_AUTHOR}::test_no_author_gets_an_image_admitted_that_swr_does_not_call_trusted",
        (
            LOOKUP,
            '"SWR had not answered when the time of this review was over", fault=Fault.LOCAL',
            '"SWR had not answered when the time of this review was over", fault=Fault.REGISTRY',
        ),
    ),
    mistake(
        "B2",
        "waiting in our queue counts as SWR's failure",
        f"{T_LOOKUP}::test_a_lookup_that_is_still_queued_brings_no_old_trust_back",
        (
            LOOKUP,
            '"the lookup was still in the queue when the time of this review was over", fault=Fault.LOCAL',
            '"the lookup was still in the queue when the time of this review was over", fault=Fault.REGISTRY',
        ),
    ),
    mistake(
        "B3",
        "onLookupFailure counts for our own limits",
        f"{T_DECISION}::test_a_failed_lookup_passes_only_if_nobody_can_cause_it",
        (ERRORS, "return self.fault is Fault.REGISTRY and self.transient", "return self.transient"),
    ),
    mistake(
        "B4",
        "a long list counts as an endpoint that does not answer",
        f"{T_CLIENT}::test_what_becomes_of_a_list_is_the_fault_of_its_repository",
        (CLIENT, "raise LookupTimeout(detail, fault=Fault.IMAGE) from None", "raise"),
    ),
    mistake(
        "B4",
        "the breaker counts what is not the registry's fault",
        f"{T_LOOKUP}::test_what_is_not_the_registrys_fault_opens_no_breaker_and_is_not_repeated",
        (LANE, "            if failure.fault is Fault.REGISTRY:\n", "            if failure.fault:\n"),
    ),
    mistake(
        "B5",
        "a joined lookup stays in the queue of whoever asked first",
        f"{T_AUTHOR}::test_an_image_named_last_in_a_long_pod_is_answered_in_the_own_queue",
        (
            LOOKUP,
            "if not flight.started and question.tenant not in flight.tenants:",
            "if flight.background and not flight.started:",
        ),
    ),
    mistake(
        "B6",
        "every 401 pauses the credential",
        f"{T_CLIENT}::test_a_401_about_one_organisation_pauses_no_credential_that_works_for_others",
        (
            CLIENT,
            "                    self._check_credential(response, organization, generation, deadline, pace)\n",
            "",
        ),
    ),
    mistake(
        "B9",
        "one namespace may fill the whole queue",
        f"{T_AUTHOR}::test_one_namespaces_flood_leaves_places_in_the_queue",
        (LANE, " or own >= MAX_WAITING_PER_TENANT", ""),
    ),
)
