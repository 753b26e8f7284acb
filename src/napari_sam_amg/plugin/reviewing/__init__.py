"""What is done with results: thresholds, objects and their table, places where nothing is found."""
