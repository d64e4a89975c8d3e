"""Property tests that search for a bypass with generated inputs."""
