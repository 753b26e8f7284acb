"""Training and evaluation of the embedded model. Not part of the installed package."""
