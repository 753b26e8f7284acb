"""Many images to files."""
