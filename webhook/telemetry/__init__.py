"""Metrics and logs; knows nothing of what it measures."""
