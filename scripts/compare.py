"""Kept for one version: `python -m scripts.compare` is `python -m scripts compare` now.

Only to be run: a module of this name that was imported would stand in the place of the function
`scripts.compare`. What was imported from here is in scripts.studies.compare and .comparison.
"""

if __name__ != "__main__":
    raise ImportError("scripts.compare is a function: its module is scripts.studies.compare")

from scripts.entry import moved

moved("compare")
