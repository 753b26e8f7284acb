"""Images to files: one run each, continued where it was."""
