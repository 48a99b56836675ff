"""Mixed precision: the sensitivity of blocks, and INT8 files with some blocks in float."""
