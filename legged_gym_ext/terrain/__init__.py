"""Obstacle courses made of boxes: tiles, the library of all of them, and the curriculum that deals them out."""
