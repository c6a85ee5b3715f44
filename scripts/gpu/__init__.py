"""Whether a device computes as it should and how fast; its lease."""
