"""What operators see: metrics, alerts, dashboard and runbook, compared with the code."""
