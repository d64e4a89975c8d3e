"""The policy of reports: a key that cannot be used is named, and stops nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from webhook.cli.report_policy import load_report_policy
from webhook.errors import ConfigError

POLICY = """\
apiVersion: swr-trust/v1
kind: TrustPolicy
registries:
  - region: cn-north-4
    credentials: {{kind: token, tokenFile: /token}}
    evidence: signature
    signatures: {{keys: [{{name: release, file: {file}}}]}}
"""


def test_unusable_key_is_named_and_does_not_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The webhook goes on with such a policy, and a report shows what follows from that."""
    config, key = tmp_path / "policy.yaml", tmp_path / "release.pub"
    config.write_text(POLICY.format(file=key), encoding="utf-8")
    policy = load_report_policy(str(config))
    assert [one.content for one in policy.registries.registries[0].signing_keys] == [b""]
    assert capsys.readouterr().err == (
        "warning: registries[0].signatures.keys[0].file: key 'release' cannot be read (No such file or "
        "directory): mount the file, or correct the path: it does not count\n"
    )


def test_other_mistakes_are_errors(tmp_path: Path) -> None:
    config = tmp_path / "policy.yaml"
    config.write_text(POLICY.format(file="relative.pub"), encoding="utf-8")
    with pytest.raises(ConfigError):
        load_report_policy(str(config))
