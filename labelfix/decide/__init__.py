"""From predictions and given labels to labels, soft labels, evidence and scores."""
