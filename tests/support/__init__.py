"""What the tests share: fakes, builders, servers, and what they put around the program that they start."""
