"""Learning with noisy labels: one file a method."""
