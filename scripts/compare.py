"""Kept for one version: now `python -m scripts compare`, and scripts.studies.compare to import."""

from scripts.studies.compare import *  # noqa: F403

if __name__ == "__main__":
    from scripts.entry import moved

    moved("compare")
