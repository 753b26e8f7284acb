"""What can be done with a finished run without its model: other thresholds, other links, with ids that stay."""
