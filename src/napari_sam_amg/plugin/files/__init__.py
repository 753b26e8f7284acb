"""napari's Open, Save and Export."""
