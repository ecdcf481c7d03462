"""Statements about gradient descent at the edge of stability, a folder for each topic, a file for each experiment."""
