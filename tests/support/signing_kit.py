"""The real cosign, versions 3 and 2, and real registries, if this machine has them."""

from __future__ import annotations

import functools
import os
import pwd
import subprocess
from pathlib import Path

from tests.support.serving import ROOT

VARIABLE = "SIGNING_KIT"
INSTALL = ROOT.parent / "shared/signing/install"


@functools.cache
def signing_kit() -> Path | None:
    """Return a folder with ``cosign``, ``cosign2``, ``registry`` and ``registry-referrers``, ``None`` without it.

    ``SIGNING_KIT`` names it, or the kit beside the repository is unpacked once into the user's cache.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    if not INSTALL.exists():
        return None
    # Tests hide the home directory, and the kit is large.
    environment = {**os.environ, "HOME": pwd.getpwuid(os.getuid()).pw_dir}
    done = subprocess.run([INSTALL], env=environment, capture_output=True, text=True, timeout=300, check=True)
    return Path(done.stdout.strip())
