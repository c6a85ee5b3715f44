"""Kept for one version: now `python -m scripts reproduce`."""

if __name__ == "__main__":
    from scripts.entry import moved

    moved("reproduce")
