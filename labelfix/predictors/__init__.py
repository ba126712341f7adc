"""Out-of-fold p(y|x): one file a method."""
