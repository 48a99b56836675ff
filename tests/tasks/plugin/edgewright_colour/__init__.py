"""A task from outside the package: the mean colour of an image. The tests install it as a plug-in."""
