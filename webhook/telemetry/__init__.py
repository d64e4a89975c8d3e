"""Metrics and logs; does not import the parts that it measures."""
