"""What takes minutes and many replicas, on virtual time: the product's own code, the same each time."""
