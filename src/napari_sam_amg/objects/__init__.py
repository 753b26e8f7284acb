"""Objects through a stack: planes and what was proposed for them in, one id an object out. Without the model."""
