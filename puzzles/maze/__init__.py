"""Mazes: rules, shortest paths, generators and symmetries of square grids of walls."""
