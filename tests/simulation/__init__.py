"""Simulations of minutes and of many replicas on virtual time: the product's own code, reproducibly."""
