"""The task `landmarks`: the points of one object, such as a face or a hand."""
