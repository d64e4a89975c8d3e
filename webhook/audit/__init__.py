"""Audit: what runs in a cluster now, judged by the same engine and in the same words as what comes in.

Pure but for time: Pods come from a ``PodSource``, answers from whatever the webhook asks, too.
"""
