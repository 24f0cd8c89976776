"""Training of the tiny SAM 3 that ships: its sizes, batches, losses, optimizers, the trainer."""
