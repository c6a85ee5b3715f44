"""Kept for one version: now `python -m scripts evaluate`, and scripts.runs.evaluate to import."""

from scripts.runs.evaluate import *  # noqa: F403

if __name__ == "__main__":
    from scripts.entry import moved

    moved("evaluate")
