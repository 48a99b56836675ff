"""Training a torch student under a teacher: losses, augmentation, schedule, checkpoints."""
