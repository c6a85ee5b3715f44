"""Kept for one version: `python -m scripts.compare` is `python -m scripts compare` now.

Only to be run: imported, it would stand in the place of the function `scripts.compare`. What was
imported from here is in scripts.studies.compare and .comparison.
"""

if __name__ == "__main__":
    from scripts.entry import moved

    moved("compare")
