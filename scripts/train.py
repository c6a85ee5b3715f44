"""Kept for one version: now `python -m scripts train`, and scripts.runs.train to import."""

from scripts.runs.train import *  # noqa: F403

if __name__ == "__main__":
    from scripts.entry import moved

    moved("train")
