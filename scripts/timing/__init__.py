"""Clocks, and what they are held against."""
