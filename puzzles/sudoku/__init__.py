"""Sudoku of sizes 4, 6 and 9: rules, solver, generator, symmetries, canonical forms, splits."""
