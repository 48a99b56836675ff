"""The stages of a job: pure functions with a name and plain arguments, whose results are kept in the store."""
