"""The Kubernetes versions that are supported: from the chart's minimum to the newest known schemas."""

from __future__ import annotations

import re
from typing import Final

from kubernetes_validate.utils import all_versions

from tests.support.serving import ROOT


def _supported() -> list[str]:
    chart = (ROOT / "charts" / "swr-trust-webhook" / "Chart.yaml").read_text(encoding="utf-8")
    minimum = re.search(r'^kubeVersion: ">=1\.(\d+)\.0-0"$', chart, re.MULTILINE)
    assert minimum is not None, "Chart.yaml does not name the oldest version as >=1.N.0-0"
    known = {int(version.split(".")[1]) for version in all_versions()}
    return [f"1.{minor}" for minor in sorted(known) if minor >= int(minimum[1])]


SUPPORTED: Final = _supported()
"""As ``1.28``, oldest first."""
