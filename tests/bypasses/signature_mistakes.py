"""Mistakes in finding and verifying signatures, and in calling registries for them."""

from __future__ import annotations

from typing import Final

from tests.bypasses.mistakes import mistake

CACHE: Final = "webhook/trust/cache.py"
KEY_CHANGES: Final = "webhook/trust/key_changes.py"
BUNDLES: Final = "webhook/signatures/bundles.py"
LOOKUP: Final = "webhook/evidence/signature_lookup.py"
OCI_CLIENT: Final = "webhook/oci/client.py"
SLOW_WORK: Final = "webhook/evidence/slow_work.py"
T_BYPASSES: Final = "tests/bypasses/test_signatures.py"
PROBES: Final = "webhook/oci/control_repositories.py"
T_CLIENT: Final = "tests/unit/oci/test_client.py"
T_CONTROLS: Final = "tests/unit/oci/test_controls.py"
T_KEYS: Final = "tests/unit/trust/test_key_changes.py"
T_KEYS_CACHE: Final = "tests/unit/trust/test_cache_key_changes.py"
T_LOOKUP: Final = "tests/unit/evidence/test_signature_lookup.py"
T_SOURCE: Final = "tests/unit/evidence/test_source.py"
T_TOKENS: Final = "tests/unit/oci/test_token_service.py"

SIGNATURE_MISTAKES: Final = (
    mistake(
        "T59",
        "the result of a verification is ignored",
        f"{T_BYPASSES}::test_forged_signature_does_not_admit_image",
        ("webhook/signatures/requirement.py", "if key.verifies(signature, signed))", "if signature)"),
    ),
    mistake(
        "T59",
        "a bundle's signature is verified over the payload alone",
        f"{T_BYPASSES}::test_forged_signature_does_not_admit_image",
        (BUNDLES, "encode_signed(PAYLOAD_TYPE, envelope.payload))", "envelope.payload)"),
    ),
    mistake(
        "T60",
        "the signed digest is not compared",
        f"{T_BYPASSES}::test_signature_of_other_image_does_not_admit_image",
        (
            "webhook/signatures/claims.py",
            "if claim.digest != digest or not is_digest(digest):",
            "if not is_digest(digest):",
        ),
    ),
    mistake(
        "T61",
        "the predicate type is not compared, as in cosign verify",
        f"{T_BYPASSES}::test_attestation_does_not_admit_image",
        (
            BUNDLES,
            'if members.get("predicateType") != SIGNATURE_PREDICATE:',
            'if not members.get("predicateType"):',
        ),
    ),
    mistake(
        "T61",
        "the type of a payload is not compared, as in cosign verify",
        f"{T_BYPASSES}::test_attestation_does_not_admit_image",
        (
            "webhook/signatures/simple_signing.py",
            'if critical.text("type") != PAYLOAD_TYPE:',
            'if not critical.text("type"):',
        ),
    ),
    mistake(
        "T62",
        "a bundle that names a key is believed",
        f"{T_BYPASSES}::test_key_in_data_does_not_admit_image",
        (
            BUNDLES,
            "    if not signers:\n        return _bad(NO_KEY)\n    return check_claim(claim, digest, signers,",
            '    return check_claim(claim, digest, signers or ("hint",),',
        ),
    ),
    mistake(
        "T63",
        "simple signatures are read only if there is no bundle, as in cosign 3",
        f"{T_LOOKUP}::test_other_signatures_hide_no_good_one",
        (
            LOOKUP,
            "        yield from self._verify_simple_signatures(reader, digest)\n"
            "        yield from self._verify_bundles(reader, digest)",
            "        bundles = list(self._verify_bundles(reader, digest))\n"
            "        yield from bundles or self._verify_simple_signatures(reader, digest)",
        ),
    ),
    mistake(
        "T64",
        "any number of signatures is examined",
        f"{T_LOOKUP}::test_at_most_fifty_signatures_are_read_in_both_formats_together",
        (LOOKUP, "return self._signatures_left >= 0", "return True"),
    ),
    mistake(
        "T64",
        "manifests are bounded one by one only",
        f"{T_LOOKUP}::test_manifests_are_bounded_in_sum",
        (LOOKUP, "            self._bytes_left -= len(content)\n", "            pass\n"),
    ),
    mistake(
        "T64",
        "the content of signatures by strangers is kept",
        f"{T_LOOKUP}::test_blob_of_another_signature_is_not_kept",
        (
            LOOKUP,
            "        if attempt.outcome is Outcome.VALID:\n",
            "        if attempt.outcome is not None:\n",
        ),
    ),
    mistake(
        "T64",
        "kept content is counted, not measured",
        "tests/unit/evidence/test_kept_blobs.py::test_blobs_that_were_not_used_for_longest_make_way",
        ("webhook/evidence/kept_blobs.py", "return len(content) + OVERHEAD", "return OVERHEAD"),
    ),
    mistake(
        "T63",
        "a malformed layer makes the whole manifest malformed",
        f"{T_LOOKUP}::test_odd_layer_hides_no_good_signature",
        (
            "webhook/signatures/manifests.py",
            '    return _check_each(document, "layers", "the manifest")\n',
            '    return _check_each(read_manifest(data), "layers", "the manifest")\n',
        ),
    ),
    mistake(
        "T63",
        "a malformed entry makes the whole listing malformed",
        f"{T_LOOKUP}::test_odd_entry_of_listing_hides_no_good_bundle",
        (
            "webhook/signatures/manifests.py",
            '"manifests": ListOf(ANYTHING),',
            '"manifests": ListOf(_DESCRIPTOR),',
        ),
    ),
    mistake(
        "T63",
        "wrong bytes count as a bad signature",
        f"{T_LOOKUP}::test_wrong_bytes_of_a_blob_prove_nothing",
        (LOOKUP, " and not isinstance(error, WrongContent):", ":"),
    ),
    mistake(
        "T63",
        "bytes without their digest count as pushed",
        f"{T_CLIENT}::test_bytes_that_nobody_can_have_pushed_are_a_failure_of_the_store",
        (
            OCI_CLIENT,
            'raise WrongContent("a blob does not have its digest")',
            'raise MalformedAnswer("a blob does not have its digest")',
        ),
    ),
    mistake(
        "T64",
        "slow keys verify as many signatures as fast ones",
        f"{T_LOOKUP}::test_slow_keys_verify_fewer_signatures",
        (
            "webhook/signatures/requirement.py",
            "return max(1, min(MAX_SIGNATURES, fitting))",
            "return max(MAX_SIGNATURES, fitting)",
        ),
    ),
    mistake(
        "T64",
        "slow work is done in the order of its arrival",
        "tests/unit/evidence/test_slow_work.py::test_tenants_take_turns",
        (SLOW_WORK, "self._waiting.setdefault(tenant, deque())", 'self._waiting.setdefault("", deque())'),
    ),
    mistake(
        "T64",
        "slow work waits for longer than its deadline",
        "tests/unit/evidence/test_slow_work.py::test_work_that_waits_ends_at_its_deadline_and_is_not_run",
        (SLOW_WORK, "turn.wait(deadline.remaining())", "turn.wait()"),
    ),
    mistake(
        "T64",
        "copies of a good bundle take the space of others",
        "tests/unit/evidence/test_kept_blobs.py::test_organization_with_many_blobs_loses_its_own_first",
        (
            "webhook/evidence/kept_blobs.py",
            "self._drop(max(self._sizes, key=self._sizes.__getitem__))",
            "self._drop(next(iter(self._sizes)))",
        ),
    ),
    mistake(
        "T65",
        "object storage gets the token of the registry",
        f"{T_CLIENT}::test_object_storage_gets_no_credentials",
        (
            OCI_CLIENT,
            "answer = self._calls.exchange(target, deadline)",
            "token = self._tokens.get('shop/web', deadline, call_limiter)\n"
            "                assert token is not None\n"
            "                answer = self._calls.exchange(token.apply(target), deadline)",
        ),
    ),
    mistake(
        "T65",
        "a redirect to plain http is followed",
        "tests/unit/oci/test_blobs.py::test_other_location_is_not_called",
        ("webhook/oci/blobs.py", "if not is_as_safe(target, endpoint):", "if not target.host:"),
    ),
    mistake(
        "T66",
        "the login is sent to any realm",
        "tests/unit/oci/test_challenges.py::test_realm_elsewhere_is_refused",
        ("webhook/oci/challenges.py", "if realm.origin not in own:", "if not own:"),
    ),
    mistake(
        "T67",
        "keys that do not count are a part of the fingerprint as if they did",
        f"{T_SOURCE}::test_removed_key_does_not_count_at_once",
        (
            "webhook/registries.py",
            "keys = sorted((key.name, key.content.hex()) for key in self.counting)",
            "keys = sorted(key.name for key in self.keys)",
        ),
    ),
    mistake(
        "T67",
        "a record stays although too few of its signers count",
        f"{T_KEYS}::test_record_stays_trusted_if_its_signers_suffice_after_the_change",
        (KEY_CHANGES, "if not 1 <= self.threshold <= len(signers):", "if not signers:"),
    ),
    mistake(
        "T67",
        "keys before and after a change are compared by their names",
        f"{T_KEYS}::test_record_stays_trusted_if_its_signers_suffice_after_the_change",
        (
            KEY_CHANGES,
            "names.setdefault(key.content, key.name)",
            "names.setdefault(key.name.encode(), key.name)",
        ),
        (KEY_CHANGES, ".add(key.content)", ".add(key.name.encode())"),
    ),
    mistake(
        "T67",
        "records stay although other annotations are required",
        f"{T_KEYS}::test_record_stays_trusted_if_its_signers_suffice_after_the_change",
        (KEY_CHANGES, " or sorted(old.annotations) != sorted(new.annotations)", ""),
    ),
    mistake(
        "T67",
        "a check that is not signed is carried over",
        f"{T_KEYS}::test_record_that_proves_no_trust_is_not_carried_over",
        (KEY_CHANGES, "if check.result is not SignatureResult.SIGNED:", "if not check.signers:"),
    ),
    mistake(
        "T67",
        "the mark of a tag is forgotten when keys change",
        f"{T_KEYS}::test_both_needs_the_mark",
        (KEY_CHANGES, "if self.needs_mark and record.is_marked is not True:", "if self.needs_mark is None:"),
    ),
    mistake(
        "T67",
        "records are carried over to another registry of the same host",
        f"{T_KEYS}::test_nothing_is_carried_over_to_another_registry",
        (KEY_CHANGES, "setdefault(registry.identity, registry)", "setdefault(registry.name, registry)"),
        (KEY_CHANGES, "get(registry.identity)", "get(registry.name)"),
    ),
    mistake(
        "T67",
        "a change of keys renews records",
        f"{T_KEYS_CACHE}::test_trusted_record_keeps_its_age_when_keys_change",
        (
            CACHE,
            "target.put(new_key, carried)",
            "target.put(new_key, replace(carried, fetched_at=self._clock()))",
        ),
    ),
    mistake(
        "T67",
        "refusals are forgotten when keys change",
        f"{T_KEYS_CACHE}::test_refusal_of_old_keys_prevents_import_of_older_trust",
        (CACHE, "target.put(new_key, replace(refused, superseded=True))", "pass"),
    ),
    mistake(
        "T67",
        "revocations are forgotten when keys change",
        f"{T_KEYS_CACHE}::test_revocation_stays_when_keys_change",
        (
            CACHE,
            "target._import_refusal(TrustEntry(new_key, math.ceil(refused_at), trusted=False))",
            "pass",
        ),
    ),
    mistake(
        "T67",
        "the fingerprint of a registry does not depend on its signing keys",
        "tests/unit/evidence/test_key_rotation.py::test_removed_key_admits_nothing_from_any_cache",
        (
            "webhook/registries.py",
            'parts.append(self.signatures.fingerprint if self.signatures is not None else "")',
            "pass",
        ),
    ),
    mistake(
        "T68",
        "a manifest is not compared with the digest that was requested",
        f"{T_CLIENT}::test_manifest_is_compared_with_its_digest",
        (
            OCI_CLIENT,
            "if is_digest(reference) and manifest.digest != reference:",
            "if is_digest(reference) and not manifest.digest:",
        ),
    ),
    mistake(
        "T68",
        "a signature of the old digest counts for a tag that has moved",
        f"{T_SOURCE}::test_tag_that_moves_is_judged_anew",
        (
            "webhook/evidence/source.py",
            "key = (query.registry.key, query.path, digest)",
            'key = (query.registry.key, query.path, str(query.tag or ""))',
        ),
    ),
    mistake(
        "T69",
        "duplicate keys are accepted",
        f"{T_BYPASSES}::test_ambiguous_json_does_not_admit_image",
        (
            "webhook/signatures/strict_json.py",
            "if len(members) != len(pairs):",
            "if len(members) > len(pairs):",
        ),
    ),
    mistake(
        "T69",
        "another spelling of a key is ignored",
        f"{T_BYPASSES}::test_second_spelling_of_key_does_not_admit_image",
        (
            "webhook/signatures/shapes.py",
            "elif name.casefold() in shape.folded:",
            "elif name in shape.folded:",
        ),
    ),
    mistake(
        "T70",
        "a refused repository pauses the login",
        f"{T_TOKENS}::test_refused_repository_does_not_pause_working_login",
        (
            "webhook/oci/token_service.py",
            "                if repository is not None:\n",
            "                if not repository:\n",
        ),
    ),
    mistake(
        "T70",
        "a refused login is tried again for every image",
        f"{T_TOKENS}::test_login_that_is_refused_without_scope_is_paused",
        (
            "webhook/oci/token_service.py",
            "again = self._login.reject(generation, Fault.REGISTRY) and again",
            "again = False",
        ),
    ),
    mistake(
        "T70",
        "a login counts as accepted although it was refused since",
        f"{T_TOKENS}::test_refusal_after_a_control_request_is_compared_again",
        ("webhook/oci/token_service.py", "self._accepted[1] > begun", "self._accepted[1] > 0"),
    ),
    mistake(
        "T70",
        "a page accepts a login that was not tried",
        f"{T_TOKENS}::test_page_does_not_accept_a_login",
        (
            "webhook/oci/token_service.py",
            "if answer is not None and has_token(answer):",
            "if answer is not None and answer.status < 300:",
        ),
    ),
    mistake(
        "T71",
        "the identity of an SM2 signer is empty, as in openssl",
        f"{T_BYPASSES}::test_other_form_of_sm2_signature_does_not_admit_image",
        ("webhook/signatures/sm2.py", 'DEFAULT_ID: Final = b"1234567812345678"', 'DEFAULT_ID: Final = b""'),
    ),
    mistake(
        "T72",
        "every failure of a registry serves stale trust",
        "tests/unit/oci/test_calls.py::test_failure_is_registry_fault_if_two_control_requests_fail",
        (
            "webhook/http_client/failures.py",
            "fault = Fault.IMAGE if works else Fault.REGISTRY",
            "fault = Fault.REGISTRY",
        ),
    ),
    mistake(
        "T72",
        "the front end is taken for the manifests",
        f"{T_CONTROLS}::test_failure_is_registry_fault_if_random_repositories_fail_too",
        ("webhook/oci/controls.py", "return find_oddity(response) not in (FAILURE, oddity)", "return True"),
    ),
    mistake(
        "T72",
        "an odd answer to any control request shows an outage",
        f"{T_CONTROLS}::test_failure_is_registry_fault_if_random_repositories_fail_too",
        ("webhook/oci/controls.py", "not in (FAILURE, oddity)", '== ""'),
    ),
    mistake(
        "T72",
        "two organizations of the author show that all are refused",
        "tests/unit/oci/test_refused_by_all.py::test_refused_repository_is_image_fault",
        (
            "webhook/oci/controls.py",
            "return self._tokens.refuses_all(deadline, call_limiter)",
            "return 'all'",
        ),
    ),
    mistake(
        "T72",
        "a page makes the author's organization known",
        f"{T_CONTROLS}::test_page_does_not_make_an_organization_known",
        (OCI_CLIENT, "_is_of_manifest(response):", "True:"),
    ),
    mistake(
        "T72",
        "control requests are about an organization of the author",
        f"{T_CONTROLS}::test_organization_that_a_firewall_blocks_is_image_fault",
        (
            PROBES,
            "            if organization not in self._known:\n                return None\n",
            "            organization = own\n",
        ),
    ),
    mistake(
        "T72",
        "a throttled control request shows an outage",
        f"{T_CONTROLS}::test_missing_answer_is_registry_fault_if_random_repositories_have_none",
        ("webhook/oci/controls.py", "except Throttled:", "except ZeroDivisionError:"),
    ),
    mistake(
        "T72",
        "the repository of control requests never changes",
        "tests/unit/oci/test_control_repositories.py::test_name_cannot_be_guessed_and_is_kept_for_its_token",
        (PROBES, "NAME_SECONDS: Final = 600.0", 'NAME_SECONDS: Final = float("inf")'),
    ),
    mistake(
        "T72",
        "an image is unsigned because its signature cannot be read",
        f"{T_LOOKUP}::test_signature_that_cannot_be_read_is_a_gap",
        (LOOKUP, "        if reader.failure is not None:\n            raise reader.failure\n", ""),
    ),
)
