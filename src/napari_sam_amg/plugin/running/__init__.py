"""A run as the main thread sees it, and in the worker thread; the layer that takes its labels."""
