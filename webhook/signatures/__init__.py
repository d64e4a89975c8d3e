"""Image signatures: reading and verifying what a registry holds for one digest, without a network.

Two formats count: cosign's simple signing (the tag ``sha256-<hex>.sig``) and Sigstore bundles (OCI
referrers). The caller fetches. Each candidate becomes an ``Attempt``, and a ``Collector`` combines them into
a ``SignatureCheck``. Keys come from the configuration only, never from the data.
"""
