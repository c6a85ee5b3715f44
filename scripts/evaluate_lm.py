"""Kept for one version: now `python -m scripts evaluate-lm`, scripts.runs.evaluate_lm to import."""

from scripts.runs.evaluate_lm import *  # noqa: F403

if __name__ == "__main__":
    from scripts.entry import moved

    moved("evaluate-lm")
