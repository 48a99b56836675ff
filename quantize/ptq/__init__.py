"""Post-training steps on a float or INT8 graph, one module per step."""
