"""Where Q/DQ pairs go: one module an engine, and the rules that a placement follows."""
