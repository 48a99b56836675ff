"""The command line: one file a verb, each a thin caller of `edgewright.api`; ``main`` wires them and prints errors."""
