"""Image restoration: super-resolution, denoising, light for dark photos. The answer is an image."""
