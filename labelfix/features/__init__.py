"""Features as all learners share them: scaling, sums by fold, neighbours, folds."""
