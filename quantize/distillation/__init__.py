"""Train a torch student from a teacher: losses, augmentation, schedule, checkpoints."""
