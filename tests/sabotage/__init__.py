"""Errors planted on purpose, one at a time: each has to be noticed by a test or by a claim."""
