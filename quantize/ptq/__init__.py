"""Post-training steps on a float or INT8 graph: one module a step."""
