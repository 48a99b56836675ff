"""Quantization-aware training of an INT8 file, label-free or with labels."""
