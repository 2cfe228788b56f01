"""What the robots see: depth camera and height scan, both cast against the boxes of the environment's tile."""
