"""Features as every method shares them: scaling, sums by fold, neighbours, folds."""
