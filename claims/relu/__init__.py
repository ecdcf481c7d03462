"""A ReLU neuron that learns another, beyond the edge of stability (Chen and Bruna 2023, III)."""
