"""Interface for metrics: the events that the parts of the product report."""

from __future__ import annotations

from collections.abc import Mapping


class Recorder:
    """Metrics for every part; each method does nothing unless a subclass counts.

    ``registry`` is the name of a registry, ``kind`` that of a credential. Times are in epoch seconds.
    """

    # -- lookups

    def cache_answered(self, result: str) -> None:
        """Count a lookup: ``hit``, ``miss``, ``coalesced``, ``stale``, ``outdated`` or ``refresh``."""

    def breaker_changed(self, registry: str, state: str) -> None:
        """Record the state of a registry's circuit breaker."""

    def account_blocked(self, registry: str, seconds: float) -> None:
        """Record that SWR has blocked the registry's account; no call is made for ``seconds`` from now."""

    # -- SWR

    def record_trusted(self, registry: str) -> None:
        """Record that an image of this registry was found to be trusted, by the evidence of the registry."""

    def record_call(self, registry: str, outcome: str, seconds: float) -> None:
        """Count a call to SWR: ``outcome`` is the HTTP status, or the reason of the failure."""

    def tag_source_changed(self, registry: str, source: str) -> None:
        """Record the call that answers about tags: ``tag``, or ``list`` if a registry does not offer it."""

    def ca_file_loaded(self) -> None:
        """Count new content of a CA file that is in use."""

    def ca_file_rejected(self) -> None:
        """Count new content of a CA file that cannot be used."""

    def credential_paused(self, kind: str, until: float) -> None:
        """Record that a credential is not used until ``until``, 0.0 if it is used."""

    def credential_fetched(self, kind: str, outcome: str) -> None:
        """Count a login or a fetch of temporary credentials: ``ok`` or the reason of the failure."""

    # -- signatures

    def signature_checked(self, registry: str, result: str) -> None:
        """Count a verification of the signatures of one image: its ``SignatureResult``, or ``error``."""

    def signing_keys_changed(self, registry: str, states: Mapping[str, int], missing: int) -> None:
        """Record how many keys of a registry are ``counting``, ``unreadable`` and ``lapsed``.

        ``missing`` more keys would have to count before an image can be trusted, 0 if enough do.

        Only where signatures are evidence. It precedes ``signing_key_lapses`` for the keys of the registry,
        and forgets those of before. Registries with the same name are added up, and of ``missing`` the
        largest number counts. Without ``states``, the registry no longer has keys.
        """

    def signing_key_lapses(self, registry: str, key: str, not_after: float) -> None:
        """Record the time from which a key does not count, in epoch seconds; once for each key."""

    # -- configuration and certificates

    def policy_loaded(self, version: str, at: float) -> None:
        """Record that the policy of this version is in force since ``at``."""

    def policy_rejected(self) -> None:
        """Record that a changed policy file cannot be used."""

    def exemptions_expiring(self, soon: int, ended: int) -> None:
        """Record how many exemptions end within 14 days, and how many have ended."""

    def certificate_loaded(self, not_after: float) -> None:
        """Record a serving certificate in use, which ends at ``not_after``."""

    def certificate_rejected(self) -> None:
        """Count a serving certificate, or an attempt to maintain one, that failed."""

    def ca_loaded(self, not_after: float) -> None:
        """Record the CA of a managed certificate, which ends at ``not_after``."""

    # -- the cluster

    def event_ended(self, outcome: str) -> None:
        """Count an Event: ``created``, ``repeated``, ``failed`` or ``dropped``."""

    def report_api_found(self, api: str) -> None:
        """Record the API that policy reports are written in, ``none`` if there is none."""

    def report_ended(self, outcome: str) -> None:
        """Count a policy report: ``written``, ``unchanged``, ``deleted`` or ``failed``."""

    def snapshot_round_ended(self, result: str) -> None:
        """Count a round of the snapshot: ``written``, ``unchanged``, ``conflict`` or ``failed``."""

    def snapshot_rejected(self, reason: str) -> None:
        """Count a stored snapshot that was ignored; ``SnapshotError`` has the reasons."""

    def snapshot_seen(self, images: int, at: float) -> None:
        """Record the number of stored images, as read or written at ``at``."""
