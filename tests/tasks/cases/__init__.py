"""One small model, with data, for each task: what `tests/tasks/test_contract.py` runs."""
