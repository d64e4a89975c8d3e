"""``make bench``: the cost of the webhook, as ratios against a baseline of the same run.

The machine is shared and noisy, so absolute figures are not compared. Both sides of a comparison run
alternately, five rounds each, and medians are compared. The baseline is a bare Flask route on the same server
that decodes and encodes the same typed structures and does nothing else.
"""
