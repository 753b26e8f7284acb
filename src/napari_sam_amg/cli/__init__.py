"""The command ``napari-sam-amg``: a module for each of its commands, and what they share."""
