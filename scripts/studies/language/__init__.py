"""Comparisons of language models."""
