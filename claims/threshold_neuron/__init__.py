"""Neurons with a bias, which large steps alone learn."""
