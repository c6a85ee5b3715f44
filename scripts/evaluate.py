"""Kept for one version: `python -m scripts.evaluate` is `python -m scripts evaluate` now.

Only to be run: imported, it would stand in the place of the function `scripts.evaluate`. What was
imported from here is in scripts.runs.evaluate.
"""

if __name__ == "__main__":
    from scripts.entry import moved

    moved("evaluate")
