"""``make bench``: the cost of the webhook, as ratios against baselines of the same run.

The machine is shared and noisy, so absolute figures are not compared. Both sides of a comparison run
alternately, five rounds each. Ratios are computed within a round, and their median is compared with the target.
The baselines are a bare Flask route on gunicorn's own workers, which decodes and encodes the same typed
structures and does nothing else, and a webhook on Go's net/http that only decodes and admits.
"""
