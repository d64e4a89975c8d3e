"""``make bench``: what the webhook costs, as ratios against a floor of the same run.

The machine is shared and noisy, so no figure stands alone: whatever is compared runs in turns, five
rounds each, and medians are compared. The floor is a bare Flask route on the same server that decodes
and encodes the same typed structures and does nothing else.
"""
