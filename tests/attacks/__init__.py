"""Hostile files and the process that opens them; ``tests`` is on the path of the tests."""
