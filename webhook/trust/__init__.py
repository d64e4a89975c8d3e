"""Trust of images: cache, shared lookups, limits, and stale records while SWR is down."""
