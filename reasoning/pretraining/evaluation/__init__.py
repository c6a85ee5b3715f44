"""Scores of a language model: perplexity and bits per byte, LAMBADA, the CORE tasks."""
