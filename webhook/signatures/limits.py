"""Limits on what is read for the signatures of one digest. The caller keeps the sums."""

from __future__ import annotations

from typing import Final

MAX_SIGNATURES: Final = 50
"""Maximum number of candidates, in both formats together.

Anyone who may push can add signatures without end (CVE-2023-46737, CVE-2024-29903).
"""

MAX_VERIFICATION_TIME: Final = 1000.0
"""Milliseconds for which all signatures of one digest may be verified, by the costs of the keys.

With 20 keys of SM2 or P-384, 20 signatures are examined instead of 50.
"""

MAX_PAYLOAD: Final = 64 * 1024
"""Maximum bytes of a payload of simple signing. cosign writes about 240."""

MAX_BUNDLE: Final = 256 * 1024
"""Maximum bytes of a bundle. cosign writes 700 to 1100."""

MAX_MANIFEST: Final = 1024 * 1024
"""Maximum bytes of a manifest or index. 50 signatures by RSA 4096 have about 45 kB."""

MAX_MANIFESTS: Final = 4 * MAX_MANIFEST
"""Maximum bytes of all manifests and indexes of one digest."""

MAX_SIGNATURE: Final = 1024
"""Maximum bytes of a signature. RSA 4096 has 512."""

MAX_VALUES: Final = 20_000
"""Maximum number of lists, objects and commas in a manifest or index. 50 signatures have about 500.

A megabyte of small values would take a tenth of a second, in which nothing else runs.
"""

MAX_SIGNED_VALUES: Final = 1_000
"""The same for a payload, a bundle and what it contains. cosign writes 30; 50 may be read for one digest."""
