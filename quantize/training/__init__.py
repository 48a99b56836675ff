"""The training loop for INT8 files (`qat`), students and pruned copies (`distillation`)."""
