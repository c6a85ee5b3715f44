"""Kept for one version: now `python -m scripts pretrain`, and scripts.runs.pretrain to import."""

from scripts.runs.pretrain import *  # noqa: F403

if __name__ == "__main__":
    from scripts.entry import moved

    moved("pretrain")
