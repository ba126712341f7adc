"""From images alone to a backbone, and on to features."""
