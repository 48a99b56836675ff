"""Quantization-aware training of an INT8 file, with or without labels."""
