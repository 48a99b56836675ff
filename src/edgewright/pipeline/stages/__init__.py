"""Each step of a job as a pure stage: a name, a target and plain arguments, kept in the store."""
