"""The model zoo: names, files, hashes, downloads, and from a checkpoint to a model that is ready to run."""
