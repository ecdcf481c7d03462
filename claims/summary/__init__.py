"""Statements that a machine-written summary adds to an abstract, listed so that they are not taken for forgotten."""
