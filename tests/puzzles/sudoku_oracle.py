"""Slow, plain sudoku in pure Python: what the tests compare with. Shares no code with the project.

Boxes are 2x2, 2x3 (rows x columns) and 3x3.
"""

from itertools import permutations, product

BOX = {4: (2, 2), 6: (2, 3), 9: (3, 3)}


def units(size):
    """All rows, columns and boxes as lists of cells."""
    height, width = BOX[size]
    rows = [[r * size + c for c in range(size)] for r in range(size)]
    columns = [[r * size + c for r in range(size)] for c in range(size)]
    boxes = [
        [(top + i) * size + left + j for i in range(height) for j in range(width)]
        for top in range(0, size, height)
        for left in range(0, size, width)
    ]
    return rows + columns + boxes


def peers(size):
    """The set of peers of each cell."""
    return [
        {other for unit in units(size) if cell in unit for other in unit} - {cell}
        for cell in range(size * size)
    ]


def solutions(puzzle, size, limit=None):
    """All solutions of a puzzle (a sequence of digits, 0 blank), cell by cell, as tuples."""
    related = peers(size)
    grid = list(puzzle)
    for cell, digit in enumerate(grid):
        if digit and any(grid[peer] == digit for peer in related[cell]):
            return []
    found = []

    def fill(cell):
        if limit is not None and len(found) >= limit:
            return
        while cell < size * size and grid[cell]:
            cell += 1
        if cell == size * size:
            found.append(tuple(grid))
            return
        used = {grid[peer] for peer in related[cell]}
        for digit in range(1, size + 1):
            if digit not in used:
                grid[cell] = digit
                fill(cell + 1)
                grid[cell] = 0

    fill(0)
    return found


def cell_symmetries(size):
    """Every permutation of the cells that permutes rows, columns (or swaps the two) and boxes.

    Found by trying all row and column orders and keeping those that map units to units.
    """
    wanted = {frozenset(unit) for unit in units(size)}
    found = []
    for rows, columns in product(permutations(range(size)), repeat=2):
        for transpose in (False, True):
            image = [
                (columns[c] * size + rows[r]) if transpose else (rows[r] * size + columns[c])
                for r in range(size)
                for c in range(size)
            ]
            if {frozenset(image[cell] for cell in unit) for unit in wanted} == wanted:
                found.append(tuple(image))
    return found


def guesses(puzzle, size):
    """Binary guesses to the first solution: candidate sets, the propagation named in the solver.

    Locked candidates by their definition: a candidate goes unless its band (stack) can hold the
    digit once in every row (column) and box with that candidate among its places.
    """
    height, width = BOX[size]
    all_units, related = units(size), peers(size)
    bands = [range(top * size, (top + height) * size) for top in range(0, size, height)]
    stacks = [
        [r * size + c for r in range(size) for c in range(left, left + width)]
        for left in range(0, size, width)
    ]

    def line_sets(block, line):
        """Ways to choose one cell per line and box of a block, as sets of cells."""
        lines = {}
        for cell in block:
            lines.setdefault(line(cell), []).append(cell)

        def box(cell):
            return cell // size // height, cell % size // width

        return [
            frozenset(choice)
            for choice in product(*lines.values())
            if len({box(cell) for cell in choice}) == len(choice)
        ]

    placements = [(b, line_sets(b, lambda cell: cell // size)) for b in bands]
    placements += [(s, line_sets(s, lambda cell: cell % size)) for s in stacks]

    def propagate(candidates):
        while True:
            before = [set(c) for c in candidates]
            for cell, options in enumerate(candidates):
                if len(options) == 1:
                    for peer in related[cell]:
                        candidates[peer] -= options
            for unit in all_units:
                for digit in range(1, size + 1):
                    places = [cell for cell in unit if digit in candidates[cell]]
                    if len(places) == 1:
                        candidates[places[0]] &= {digit}
            for digit in range(1, size + 1):
                for block, choices in placements:
                    open_cells = {cell for cell in block if digit in candidates[cell]}
                    kept = set().union(*(c for c in choices if c <= open_cells))
                    for cell in open_cells - kept:
                        candidates[cell].discard(digit)
            if not all(candidates):
                return False
            if candidates == before:
                return True

    start = [{digit} if digit else set(range(1, size + 1)) for digit in puzzle]
    stack, made = [start], 0
    while stack:
        candidates = stack.pop()
        if not propagate(candidates):
            continue
        unsolved = [cell for cell in range(size * size) if len(candidates[cell]) > 1]
        if not unsolved:
            return made
        cell = min(unsolved, key=lambda c: (min(len(candidates[c]), 5), c))
        digit = min(candidates[cell])
        made += 1
        without = [set(c) for c in candidates]
        without[cell].discard(digit)
        stack.append(without)
        candidates[cell] = {digit}
        stack.append(candidates)
    return made
