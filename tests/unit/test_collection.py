"""The suite itself: collection needs only Python, and each module's tests are found by its name."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.serving import ROOT


@pytest.mark.slow
def test_suite_is_collected_without_any_tool(tmp_path: Path) -> None:
    """Fault A3: one module that ran Helm during the collection ended the whole run."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "--quiet"],
        cwd=ROOT,
        env={"PATH": str(tmp_path), "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    collected = {line.partition(":")[0] for line in done.stdout.splitlines() if ".py: " in line}
    assert collected == {str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py")}


ELSEWHERE = {
    "admission/local_checks": "unit/admission/test_evaluator",
    "admission/mutation": "unit/admission/test_mutator",
    "admission/objects": "unit/admission/test_kubernetes_fields",
    "admission/observing": "unit/admission/test_validator",
    "admission/pinning": "unit/admission/test_mutator",
    "admission/selection": "unit/admission/test_validator",
    "admission/time_slices": "unit/admission/test_evaluator",
    "app/audit_rounds": "unit/app/test_audit_process",
    "app/native_resolver": "unit/http_client/test_resolver",
    "app/policy_file": "unit/app/test_audit_process",
    "app/trust_service": "contract/test_trust_source",
    "app/webhook_process": "http/test_patching",
    "audit/caching_lookup": "unit/audit/test_scanning",
    "audit/chinese": "unit/audit/test_pages",
    "audit/coverage": "unit/audit/test_scanning",
    "audit/pods": "unit/audit/test_scanning",
    "audit/report": "unit/audit/test_scanning",
    "audit/schedule": "unit/audit/test_diff",
    "audit/survey_advice": "unit/audit/test_survey",
    "audit/survey_tables": "unit/audit/test_survey",
    "audit/survey_texts": "unit/audit/test_survey",
    "audit/surveying": "unit/cli/test_survey",
    "audit/tables": "unit/audit/test_pages",
    "cli/certificate_checks": "unit/cli/test_doctor",
    "cli/check": "unit/cli/test_review",
    "cli/cluster_checks": "unit/cli/test_doctor",
    "cli/command": "unit/cli/test_main",
    "cli/config": "unit/cli/test_main",
    "cli/evidence": "unit/audit/test_evidence",
    "cli/junit": "unit/cli/test_review",
    "cli/manifests": "cluster/test_manifest_reading",
    "cli/options": "unit/cli/test_main",
    "cli/pinning_checks": "unit/cli/test_doctor_pinning",
    "cli/pod_selection": "unit/cli/test_audit",
    "cli/progress": "unit/cli/test_audit",
    "cli/registry_calls": "unit/cli/test_survey",
    "cli/rendering": "unit/cli/test_main",
    "cli/running_images": "unit/cli/test_signature_checks",
    "cli/sarif": "unit/cli/test_review",
    "cli/serve": "unit/cli/test_main",
    "cli/swr_checks": "unit/cli/test_doctor_tls",
    "cli/yaml_nodes": "unit/cli/test_review",
    "cluster/certificates": "contract/test_managed_certificate",
    "cluster/event_recorder": "unit/cluster/test_events",
    "cluster/running": "unit/cluster/test_warming",
    "cluster/scope": "cluster/test_audit",
    "cluster/secrets": "contract/test_snapshot",
    "cluster/snapshots": "contract/test_snapshot",
    "cluster/workload_status": "cluster/test_audit",
    "errors": "unit/swr/test_client",
    "globs": "unit/images/test_patterns",
    "http_client/counted_calls": "unit/swr/test_client",
    "http_client/failures": "unit/oci/test_calls",
    "http_client/messages": "unit/http_client/test_transport",
    "http_client/proxies": "unit/http_client/test_no_proxy",
    "http_client/traffic": "unit/http_client/test_transport",
    "patching": "http/test_patching",
    "policy/compiling": "unit/policy/test_loading",
    "policy/credentials_schema": "unit/policy/test_loading",
    "policy/document": "unit/policy/test_loading",
    "policy/entries": "unit/policy/test_loading",
    "policy/explaining": "unit/cli/test_explain",
    "policy/files": "unit/policy/test_loading",
    "policy/key_file_checks": "unit/policy/test_registry_checks",
    "policy/quantities": "unit/policy/test_loading",
    "policy/registry_schema": "unit/policy/test_registry_checks",
    "policy/schema": "unit/policy/test_loading",
    "policy/schema_base": "unit/policy/test_loading",
    "policy/shared_domains": "unit/policy/test_linting",
    "regions": "unit/test_registries",
    "server/eviction": "unit/server/test_connections",
    "server/exchange": "unit/server/test_app",
    "server/gunicorn_logs": "unit/telemetry/test_logs",
    "server/gunicorn_server": "http/test_stopping",
    "server/reviews": "unit/server/test_app",
    "server/worker": "http/test_stopping",
    "signatures/claims": "unit/signatures/test_simple_signing",
    "swr/calls": "unit/swr/test_client",
    "swr/credentials/fetched": "unit/swr/test_credentials",
    "swr/credentials/files": "unit/swr/test_credentials",
    "swr/credentials/guard": "unit/swr/test_credentials",
    "swr/credentials/iam": "unit/swr/test_credentials",
    "swr/credentials/iam_user": "contract/test_credentials",
    "swr/credentials/secrets": "unit/swr/test_credentials",
    "swr/credentials/signing": "unit/swr/test_credentials",
    "swr/credentials/temporary": "unit/swr/test_credentials",
    "swr/organizations": "contract/test_lists",
    "telemetry/load_metrics": "http/test_bodies",
    "telemetry/metrics": "unit/app/test_decision_recorder",
    "telemetry/pinning_metrics": "unit/app/test_mutation_recorder",
    "trust/pending_lookup": "unit/trust/test_registry_queue",
    "trust/records": "unit/trust/test_cache",
}
"""Modules whose tests have another name: they are tested together with another module, or only in a started
program or on an API server. The file is the first one to read.
"""


def defines_behavior(module: Path) -> bool:
    """Return whether a module has a function, or a class with a method that is more than ``...``."""
    functions = [
        node
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return any(not _is_declaration(function) for function in functions)


def _is_declaration(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return whether it contains only a docstring, ``...``, or the assignments of a constructor."""
    return all(
        (isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant))
        or (function.name == "__init__" and isinstance(step, ast.Assign | ast.AnnAssign))
        for step in function.body
    )


def test_tests_of_a_module_are_found_by_its_name() -> None:
    """``tests/unit/trust/test_cache.py`` tests ``webhook/trust/cache.py``, or the list names another file."""
    package, tests = ROOT / "webhook", ROOT / "tests"
    modules = {
        str(path.relative_to(package).with_suffix(""))
        for path in package.rglob("*.py")
        if path.name not in {"__init__.py", "__main__.py"} and defines_behavior(path)
    }

    def is_named(module: str) -> bool:
        folder, _, name = module.rpartition("/")
        return (tests / "unit" / folder / f"test_{name}.py").exists()

    missing = {module for module in modules if not is_named(module)}
    assert sorted(missing - set(ELSEWHERE)) == [], (
        "have no tests of their own, and the list does not say where"
    )
    assert sorted(set(ELSEWHERE) - missing) == [], "are listed, and are gone or have tests of their own"
    assert [test for test in ELSEWHERE.values() if not (tests / f"{test}.py").exists()] == []
