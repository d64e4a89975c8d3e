"""Mistakes in what is kept: the cache, the snapshot and the results of other replicas."""

from __future__ import annotations

from typing import Final

from tests.bypasses.mistakes import mistake

EVALUATOR: Final = "webhook/admission/evaluator.py"
CACHE: Final = "webhook/trust/cache.py"
LOOKUP: Final = "webhook/trust/lookup.py"
FACTS: Final = "webhook/trust/replication.py"
SNAPSHOT: Final = "webhook/trust/snapshot.py"
SNAPSHOTS: Final = "webhook/cluster/snapshots.py"
RECORDS: Final = "webhook/trust/records.py"
T_MEMORY: Final = "tests/bypasses/test_cache.py"
T_CACHE: Final = "tests/unit/trust/test_cache.py"
T_FACTS: Final = "tests/unit/trust/test_replication.py"
T_SNAPSHOT: Final = "tests/unit/trust/test_snapshot.py"
T_KEPT: Final = "tests/contract/test_snapshot.py"

TRUST_MISTAKES: Final = (
    mistake(
        "T28",
        "using a record extends its time",
        f"{T_MEMORY}::test_revoked_image_is_denied_after_cache_trusted",
        (
            CACHE,
            "            return record if self._is_fresh(record, self.settings.trusted) else None\n",
            "            from dataclasses import replace\n\n"
            "            if self._is_fresh(record, self.settings.trusted):\n"
            "                self._trusted[key] = replace(record, fetched_at=self._clock())\n"
            "                return record\n"
            "            return None\n",
        ),
    ),
    mistake(
        "T28",
        "the cache ignores the digest of a tag",
        f"{T_MEMORY}::test_cached_record_does_not_apply_to_other_digest",
        (LOOKUP, "        if record.status is not TrustStatus.TRUSTED:", "        if record:"),
        (
            EVALUATOR,
            "case TrustStatus.TRUSTED if reference.digest in (None, record.digest):",
            "case TrustStatus.TRUSTED if reference:",
        ),
    ),
    mistake(
        "T29",
        "a refusal is cached as long as trust",
        f"{T_MEMORY}::test_newly_trusted_image_is_admitted_after_cache_refused",
        (
            CACHE,
            "self._is_fresh(record, self.settings.refused)",
            "self._is_fresh(record, self.settings.trusted)",
        ),
    ),
    mistake(
        "T29",
        "a failed lookup is cached like an answer",
        f"{T_MEMORY}::test_failed_lookup_is_not_cached",
        (
            LOOKUP,
            "            if self._pending.get(pending.query.key) is pending:",
            "            if pending.failure is None and self._pending.get(pending.query.key) is pending:",
        ),
    ),
    mistake(
        "T30",
        "registries of the same host share cached records",
        f"{T_MEMORY}::test_redefined_registry_starts_with_empty_cache",
        (
            RECORDS,
            "return (self.registry.key, self.organization",
            "return (self.registry.name, self.organization",
        ),
    ),
    mistake(
        "T32",
        "the cache key is the repository without the tag",
        f"{T_MEMORY}::test_concurrent_requests_get_own_results",
        (
            RECORDS,
            "return (self.registry.key, self.organization, self.repository, what)",
            'return (self.registry.key, self.organization, self.repository, "")',
        ),
    ),
    mistake(
        "T33",
        "concurrent lookups of one image are not merged",
        f"{T_MEMORY}::test_concurrent_lookups_of_one_image_make_one_call",
        (
            LOOKUP,
            "        pending = self._pending.get(key)\n        if pending is None:",
            "        pending = self._pending.get(key)\n        if True:",
        ),
    ),
    mistake(
        "T34",
        "the cache of records has no bound",
        f"{T_MEMORY}::test_cache_size_is_bounded",
        (CACHE, "TLRUCache(maxsize=self.settings.max_entries,", "TLRUCache(maxsize=10**9,"),
    ),
    mistake(
        "T40",
        "a review waits until the lookup ends",
        f"{T_MEMORY}::test_review_with_hanging_lookup_is_denied_at_deadline",
        (LOOKUP, "pending.wait(deadline.remaining())", "pending.wait(60)"),
    ),
    mistake(
        "T52",
        "the signature of a snapshot is not verified",
        f"{T_KEPT}::test_invalid_snapshot_is_ignored_and_replaced",
        (SNAPSHOT, "if not hmac.compare_digest(", "if False and not hmac.compare_digest("),
    ),
    mistake(
        "T52",
        "the signature of a snapshot is verified after it is decompressed",
        f"{T_SNAPSHOT}::test_forged_snapshot_is_not_decompressed",
        (
            SNAPSHOT,
            "    if not hmac.compare_digest(",
            "    list(map(_unpack, _split(body)))\n    if not hmac.compare_digest(",
        ),
    ),
    mistake(
        "T52",
        "a snapshot is decompressed without a limit",
        f"{T_SNAPSHOT}::test_authentic_zip_bomb_is_rejected_with_little_memory",
        (SNAPSHOT, "unpacker.decompress(frame, MAX_FRAME)", "unpacker.decompress(frame)"),
    ),
    mistake(
        "T52",
        "records of a snapshot are fresh while SWR is available",
        f"{T_KEPT}::test_snapshot_is_not_used_while_swr_answers",
        (
            CACHE,
            "        record = _find(self._trusted, key)\n",
            "        record = _find(self._trusted, key) or self._imported.get(key)\n",
        ),
    ),
    mistake(
        "T52",
        "a snapshot extends trust",
        f"{T_KEPT}::test_records_older_than_stale_if_error_are_dropped",
        (
            CACHE,
            "TrustRecord(TrustStatus.TRUSTED, entry.at, entry.digest)",
            "TrustRecord(TrustStatus.TRUSTED, self._clock(), entry.digest)",
        ),
        (
            CACHE,
            "if not -MAX_CLOCK_SKEW <= age < self.settings.stale_if_error:",
            "if not -MAX_CLOCK_SKEW <= age:",
        ),
        (SNAPSHOTS, "now - scope.stale_if_error, now + MAX_CLOCK_SKEW", "0.0, now + MAX_CLOCK_SKEW"),
    ),
    mistake(
        "T52",
        "a snapshot from the future is accepted",
        f"{T_KEPT}::test_records_from_future_are_ignored",
        (
            CACHE,
            "if not -MAX_CLOCK_SKEW <= age < self.settings.stale_if_error:",
            "if age >= self.settings.stale_if_error:",
        ),
        (
            CACHE,
            "return -MAX_CLOCK_SKEW <= self._clock() - record.fetched_at < life",
            "return self._clock() - record.fetched_at < life",
        ),
    ),
    mistake(
        "T52",
        "a snapshot is used for a registry with another definition",
        f"{T_KEPT}::test_records_of_redefined_registry_are_kept_and_not_used",
        (SNAPSHOTS, " if entry.key[0] in scope.registries\n", "\n"),
        (RECORDS, "return (self.registry.key, self.organization", 'return ("", self.organization'),
    ),
    mistake(
        "T53",
        "revoked trust is not replicated",
        f"{T_KEPT}::test_refusal_reaches_all_replicas",
        (
            CACHE,
            "            if had_trust:\n                self._tombstones[key] = record.fetched_at\n",
            "",
        ),
        (CACHE, "            self._tombstones[key] = last_refusal\n", ""),
    ),
    mistake(
        "T53",
        "older trust of another replica undoes a refusal",
        f"{T_KEPT}::test_refusal_wins_over_older_trust_written_later",
        (CACHE, "if last_refusal >= entry.at - MAX_CLOCK_SKEW:", "if last_refusal >= entry.at + 1e9:"),
    ),
    mistake(
        "T53",
        "a refusal that revoked trust is evicted by a flood of others",
        f"{T_CACHE}::test_refusals_beyond_limit_do_not_evict_tombstones",
        (
            CACHE,
            "last_refusal = max(_peek(self._tombstones, key) or -math.inf, refused_at)",
            "last_refusal = refused_at",
        ),
    ),
    mistake(
        "T53",
        "the last writer wins",
        f"{T_FACTS}::test_older_trust_does_not_override_stored_refusal",
        (FACTS, "return trust if trust.at > loss.at + MAX_CLOCK_SKEW else loss", "return other"),
    ),
    mistake(
        "T53",
        "a clock that is ahead wins over a refusal",
        f"{T_FACTS}::test_newer_entry_wins_and_refusal_wins_within_clock_skew",
        (FACTS, "trust.at > loss.at + MAX_CLOCK_SKEW", "trust.at > loss.at"),
    ),
)
