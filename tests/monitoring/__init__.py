"""Metrics, alerts, dashboard and runbook, compared with the code."""
