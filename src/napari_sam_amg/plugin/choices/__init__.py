"""What is chosen: image, planes, region, model, parameters, where results go."""
