"""What is known about an image: memory, shared calls, limits, and what stands in while SWR is down."""
