"""The same repositories, verified by this project and by the real ``cosign verify``, versions 3 and 2."""
