"""Mixed precision: the sensitivity of blocks, and files with some of them in float."""
