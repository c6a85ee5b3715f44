"""`scripts/tutorial.ipynb`: every cell runs, at toy size, in a kernel and a folder of its own."""

import ast
import json
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="extra tutorial")
nbclient = pytest.importorskip("nbclient", reason="extra tutorial")
pytest.importorskip("ipykernel", reason="extra tutorial")

PAGE = Path(__file__).parents[2] / "scripts" / "tutorial.ipynb"
TOY = {
    "size": 4,
    "training_puzzles": 40,
    "held_out_puzzles": 6,
    "batch": 16,
    "steps": 12,
    "own_steps": 30,
}
# What is claimed of the variables in the end, by other means than the notebook's own.
CHECKS = """
import json

point = tuple(part[:1].double() for part in found.value)
precise = attractor.double()
given = precise.embedding(inputs[:1], torch.zeros(1, dtype=torch.int64))
image = precise.cycle(point, given, precise.config.inner_steps, None, 0)
gap, length = (
    torch.cat([part.flatten() for part in parts]).norm()
    for parts in ([a - b for a, b in zip(image, point)], point)
)
told = {
    "steps": [trainer.done, own.done],
    "losses": len(losses),
    "accuracies": [step for step, _ in accuracies],
    "residual": [float(found.residual[0]), float(gap / length)],
    "chosen": [bool(right[-1].any()), bool(right[-1, chosen])],
    "radius": [float(each) for values in radius.values() for each in values],
    "means": own.model.means.sum(-1).unique().tolist(),
    "own": [float(own.world.size), own.model.means.shape[0]],
}
print(json.dumps(told))
"""


def with_toy_numbers(notebook):
    """The notebook with the numbers of TOY set in a cell after the one tagged `parameters`."""
    (place,) = (
        i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])
    )
    set_there = {
        target.id
        for statement in ast.parse(notebook.cells[place].source).body
        for group in statement.targets
        for target in (group.elts if isinstance(group, ast.Tuple) else [group])
    }
    assert TOY.keys() == set_there
    source = "\n".join(f"{name} = {value}" for name, value in TOY.items())
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(source))
    return notebook


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    notebook = with_toy_numbers(nbformat.read(PAGE, as_version=4))
    notebook.cells.append(nbformat.v4.new_code_cell(CHECKS))
    folder = tmp_path_factory.mktemp("tutorial")
    client = nbclient.NotebookClient(
        notebook,
        timeout=600,
        startup_timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    assert not any(folder.iterdir())  # it leaves nothing where it is opened
    return notebook


def outputs(notebook, kind):
    return [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs if kind(o)]


def test_every_cell_runs_and_the_pictures_are_drawn(executed):
    drawn = outputs(executed, lambda o: "image/png" in o.get("data", {}))
    assert len(drawn) == 5
    assert not outputs(executed, lambda o: o.output_type == "error" or o.get("name") == "stderr")


def test_its_numbers_are_what_it_says_they_are(executed):
    told = json.loads(executed.cells[-1].outputs[-1].text)
    assert told["steps"] == [TOY["steps"], TOY["own_steps"]]
    assert told["losses"] >= 1
    assert told["accuracies"] == [TOY["steps"]]
    assert told["chosen"][0] == told["chosen"][1]  # one that is solved, if any is
    reported, precise = told["residual"]
    assert precise == pytest.approx(reported, rel=0.05, abs=1e-5)
    assert len(told["radius"]) == 2 * TOY["held_out_puzzles"]
    assert min(told["radius"]) > 0
    assert told["means"] == pytest.approx([1.0])  # each cell hears means of rows, columns, boxes
    assert told["own"] == [1, 3]


def test_what_the_page_keeps_of_a_run_is_whole():
    """Either nothing, or every cell of one run from top to bottom, without an error."""
    cells = [c for c in nbformat.read(PAGE, as_version=4).cells if c.cell_type == "code"]
    counts = [cell.execution_count for cell in cells]
    assert counts in ([None] * len(cells), list(range(1, len(cells) + 1)))
    kept = [output for cell in cells for output in cell.outputs]
    assert bool(kept) == (counts[0] is not None)
    assert not [o for o in kept if o.output_type == "error" or o.get("name") == "stderr"]
