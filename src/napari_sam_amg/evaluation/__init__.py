"""How well label images match the truth."""
