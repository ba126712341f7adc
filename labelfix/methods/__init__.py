"""State and ``step()``: nets, optimisers and schedules around the equations."""
