"""Mixers that know a puzzle's units: against brute force, and equivariant where they claim it."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from baselines.hrm import HRM, HRMConfig
from baselines.transformer import Transformer, TransformerConfig
from baselines.trm import TRM, TRMConfig
from puzzles.units import interchangeable_tokens, unit_families
from reasoning.attractor import Attractor, AttractorConfig
from reasoning.losses import LossConfig, candidate_loss
from reasoning.nn.grid import GridShape, Net, NetConfig
from reasoning.nn.layers import AxialAttention, Convolution, RelationAttention, UnitSums
from reasoning.solver_config import GradientConfig, SolverConfig
from reasoning.supervision import Batch, Depth, Stage, start, supervise

SUDOKU = unit_families("sudoku", 6)
MAZE = unit_families("maze", 5)
SIZE = {"width": 24, "layers": 2, "heads": 6, "multiple": 32, "puzzle_tokens": 0}
STRUCTURED = SIZE | {"positions": "none", "norm": "pre", "halting_from": "mean"}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def attention(q, k, v, mask):
    """softmax(q k' / sqrt(K)) v over the cells that the mask (L, L) lets through, one head."""
    scores = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).masked_fill(~mask, -math.inf)
    return scores.softmax(-1) @ v


def together(family: np.ndarray) -> torch.Tensor:
    """(L, L) bool: whether two cells are in one unit, cell by cell."""
    cells = family.size
    return torch.tensor(
        [[any(a in u and b in u for u in family) for b in range(cells)] for a in range(cells)]
    )


@pytest.mark.parametrize(("kind", "size", "count"), [("sudoku", 6, 3), ("maze", 5, 2)])
def test_every_family_holds_every_cell_once(kind, size, count):
    families = unit_families(kind, size)
    assert len(families) == count
    for family in families:
        assert sorted(family.reshape(-1).tolist()) == list(range(size * size))
    assert families[0][1].tolist() == list(range(size, 2 * size))
    assert families[1][1].tolist() == list(range(1, size * size, size))


def test_unit_sums_are_sums_over_the_cells_of_each_unit():
    x = torch.randn(2, 36, 24, dtype=torch.float64)
    module = UnitSums(24, SUDOKU).double()
    values = x @ module.v_proj.weight.T
    mixed = torch.zeros_like(values)
    for i, family in enumerate(SUDOKU):
        channels = slice(8 * i, 8 * i + 8)
        for unit in family:
            mixed[:, unit, channels] = values[:, unit, channels].sum(1, keepdim=True) / math.sqrt(6)
    torch.testing.assert_close(module(x), mixed @ module.o_proj.weight.T)


def test_axial_attention_is_attention_within_each_unit():
    x = torch.randn(2, 36, 24, dtype=torch.float64)
    module = AxialAttention(24, 6, SUDOKU).double()
    q, k, v = module.qkv_proj(x).chunk(3, -1)
    heads = []
    for head in range(6):
        part = slice(4 * head, 4 * head + 4)
        mask = together(SUDOKU[head // 2])
        heads.append(attention(q[..., part], k[..., part], v[..., part], mask))
    expected = module.o_proj(torch.cat(heads, -1))
    torch.testing.assert_close(module(x, None), expected, rtol=1e-12, atol=1e-12)


def test_relation_attention_adds_a_number_for_each_relation():
    x = torch.randn(2, 36, 24, dtype=torch.float64)
    module = RelationAttention(24, 6, SUDOKU).double()
    # Self, row, column, box, row and box, column and box, none.
    assert module.bias.shape == (6, 7)
    torch.nn.init.normal_(module.bias)
    q, k, v = module.qkv_proj(x).chunk(3, -1)
    masks = [together(family) for family in SUDOKU]
    heads = []
    for head in range(6):
        part = slice(4 * head, 4 * head + 4)
        scores = q[..., part] @ k[..., part].transpose(-1, -2) / 2
        for a in range(36):
            for b in range(36):
                scores[:, a, b] += module.bias[head, module.relation[a, b]]
        heads.append(scores.softmax(-1) @ v[..., part])
    torch.testing.assert_close(module(x, None), module.o_proj(torch.cat(heads, -1)))
    kinds = {}
    for a in range(36):
        for b in range(36):
            key = (a == b, *(bool(mask[a, b]) for mask in masks))
            kinds.setdefault(key, set()).add(int(module.relation[a, b]))
    assert sorted(next(iter(v)) for v in kinds.values()) == list(range(7))
    assert all(len(values) == 1 for values in kinds.values())


def test_local_mixing_reads_the_eight_neighbours():
    x = torch.randn(1, 25, 4, dtype=torch.float64)
    module = Convolution(4, 25).double()
    found = module(x)
    for row in range(5):
        for column in range(5):
            total = torch.zeros(4, dtype=torch.float64)
            for i in range(3):
                for j in range(3):
                    r, c = row + i - 1, column + j - 1
                    if 0 <= r < 5 and 0 <= c < 5:
                        total += module.conv.weight[:, :, i, j] @ x[0, 5 * r + c]
            torch.testing.assert_close(found[0, 5 * row + column], total)


def relabellings(size: int, height: int, width: int) -> dict[str, np.ndarray]:
    """Permutations of cells that map rows, columns and boxes to themselves: new place -> old."""
    cells = np.arange(size * size).reshape(size, size)
    rows, columns = np.arange(size), np.arange(size)
    rows[:2] = rows[:2][::-1]
    bands = np.roll(np.arange(size).reshape(-1, height), 1, axis=0).reshape(-1)
    columns[:2] = columns[:2][::-1]
    stacks = np.roll(np.arange(size).reshape(-1, width), 1, axis=0).reshape(-1)
    return {
        "rows": cells[rows],
        "bands": cells[bands],
        "columns": cells[:, columns],
        "stacks": cells[:, stacks],
    }


MODELS = {
    "attractor": (
        Attractor,
        AttractorConfig,
        {
            "solver": SolverConfig(mixing=0.5),
            "gradient": GradientConfig(steps=2, damping=0.5),
        },
    ),
    "trm": (TRM, TRMConfig, {"cycles": 2, "inner_steps": 2}),
    "hrm": (HRM, HRMConfig, {}),
    "transformer": (Transformer, TransformerConfig, {}),
}


def related(model):
    """With biases drawn for its relations: they begin at 0, where all cells are related alike."""
    for module in model.modules():
        if isinstance(module, RelationAttention):
            torch.nn.init.normal_(module.bias)
    return model


@pytest.mark.parametrize("mixer", ["axial", "sums", "relations"])
@pytest.mark.parametrize("name", MODELS)
def test_relabelling_the_cells_relabels_the_answer(name, mixer):
    kind, config, options = MODELS[name]
    shape = GridShape(36, 8, families=SUDOKU)
    model = related(kind(config(**STRUCTURED, mixer=mixer, **options), shape).double())
    inputs, ids = torch.randint(1, 8, (3, 36)), torch.zeros(3, dtype=torch.int64)

    def answer(tokens):
        output = model.segment(model.initial_state(3), tokens, ids, Depth())
        return output.logits, output.q

    logits, q = answer(inputs)
    assert (logits[:, 0] - logits[:, 1]).abs().max() > 1e-3
    for what, order in relabellings(6, 2, 3).items():
        order = torch.from_numpy(order.reshape(-1).copy())
        moved, score = answer(inputs[:, order])
        torch.testing.assert_close(moved, logits[:, order], rtol=1e-9, atol=1e-9, msg=what)
        torch.testing.assert_close(score, q, rtol=1e-9, atol=1e-9, msg=what)
    shuffled = torch.randperm(36)
    assert (answer(inputs[:, shuffled])[0] - logits[:, shuffled]).abs().max() > 1e-3


MAZE_MOVES = {
    "upside down": lambda cells: np.flipud(cells),
    "left for right": lambda cells: np.fliplr(cells),
    "half a turn": lambda cells: np.rot90(cells, 2),
    "transposed": lambda cells: cells.T,
    "a quarter turn": lambda cells: np.rot90(cells),
}


@pytest.mark.parametrize("mixer", ["axial", "sums", "relations", "local"])
@pytest.mark.parametrize("name", MODELS)
def test_flips_of_a_maze_flip_the_answer_of_mixers_along_units_and_nothing_else_does(name, mixer):
    kind, config, options = MODELS[name]
    shape = GridShape(25, 8, families=MAZE)
    model = related(kind(config(**STRUCTURED, mixer=mixer, **options), shape).double())
    inputs, ids = torch.randint(1, 6, (3, 25)), torch.zeros(3, dtype=torch.int64)

    def answer(tokens):
        return model.segment(model.initial_state(3), tokens, ids, Depth()).logits

    logits = answer(inputs)
    for what, move in MAZE_MOVES.items():
        order = torch.from_numpy(move(np.arange(25).reshape(5, 5)).reshape(-1).copy())
        apart = (answer(inputs[:, order]) - logits[:, order]).abs().max()
        claimed = mixer != "local" and what in ("upside down", "left for right", "half a turn")
        assert apart < 1e-9 if claimed else apart > 1e-4, what


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"mixer": "sums", "fields": "digits"}, True),
        ({"mixer": "axial", "fields": "digits"}, True),
        ({"mixer": "axial", "fields": "digits", "positions": "rope"}, False),
        ({"mixer": "local", "fields": "digits"}, False),
        ({"mixer": "axial"}, False),
    ],
)
def test_a_net_is_symmetric_if_its_answer_follows_every_exchange(change, expected):
    shape = GridShape(36, 8, families=SUDOKU, symbols=interchangeable_tokens("sudoku", 6))
    config = TRMConfig(**STRUCTURED | change, cycles=2, inner_steps=2)
    model = TRM(config, shape).double()
    inputs, ids = torch.randint(1, 8, (3, 36)), torch.zeros(3, dtype=torch.int64)

    def answer(tokens):
        return model.segment(model.initial_state(3), tokens, ids, Depth()).logits

    logits = answer(inputs)
    orders = [torch.from_numpy(o.reshape(-1).copy()) for o in relabellings(6, 2, 3).values()]
    follows = [torch.allclose(answer(inputs[:, o]), logits[:, o], rtol=1e-9) for o in orders]
    digits = torch.tensor([0, 1, 3, 4, 5, 6, 7, 2])
    renamed = answer(digits[inputs])[..., digits]
    follows.append(torch.allclose(renamed, logits, rtol=1e-9))
    assert all(follows) == config.symmetric() == expected


def test_a_maze_has_places_along_its_rows():
    config = NetConfig(**SIZE | {"heads": 4}, mixer="axial", positions="rope")
    net = Net(config, 25, MAZE).double()
    h = torch.randn(2, 25, 24, dtype=torch.float64)
    flipped = torch.arange(25).view(5, 5).flip(1).reshape(-1)
    zero = torch.zeros_like(h)
    assert (net(h[:, flipped], zero) - net(h, zero)[:, flipped]).abs().max() > 1e-3


def test_pre_norm_blocks_add_to_an_unnormalised_stream_and_end_in_a_norm():
    net = Net(NetConfig(**STRUCTURED, mixer="axial"), 36, SUDOKU).double()
    h, c = torch.randn(2, 2, 36, 24, dtype=torch.float64)

    def norm(u):
        return F.rms_norm(u, (24,), eps=1e-5)

    u = h + c
    for block in net.layers:
        u = u + block.self_attn(norm(u), None)
        u = u + block.mlp(norm(u))
    torch.testing.assert_close(net(h, c), norm(u))


@pytest.mark.parametrize(
    ("change", "families", "told"),
    [
        ({"puzzle_tokens": 1}, SUDOKU, "puzzle_tokens"),
        ({"heads": 4}, SUDOKU, "multiple"),
        ({}, (), "families of units"),
        ({"mixer": "relations"}, (), "units"),
        ({"mixer": "sums"}, (), "families of units"),
        ({"mixer": "sums", "width": 20, "heads": 2}, SUDOKU, "multiple"),
    ],
)
def test_what_cannot_be_mixed_is_said(change, families, told):
    with pytest.raises(ValueError, match=told):
        Net(NetConfig(**STRUCTURED | {"mixer": "axial"} | change), 36, families)


def test_a_grid_that_is_no_square_has_no_neighbours():
    with pytest.raises(ValueError, match="square"):
        Convolution(4, 24)


def test_one_state_is_iterated_alone():
    shape = GridShape(36, 8, families=SUDOKU)
    config = TRMConfig(**STRUCTURED, mixer="axial", states=1, cycles=2, inner_steps=2)
    model = TRM(config, shape).double()
    inputs, ids = torch.randint(1, 8, (3, 36)), torch.zeros(3, dtype=torch.int64)
    (y,) = state = model.initial_state(3)
    output = model.segment(state, inputs, ids, Depth())
    x = model.embedding(inputs, ids)
    for _ in range(6):
        y = model.net(y, x)
    torch.testing.assert_close(output.state[0], y)
    assert output.net_calls.tolist() == [6, 6, 6]
    assert len(output.state) == 1


def test_solving_for_z_needs_z():
    with pytest.raises(ValueError, match="states"):
        AttractorConfig(**STRUCTURED, mixer="axial", states=1, solve_for="z")


@pytest.mark.parametrize(
    ("kind", "config", "options", "answers"),
    [
        (TRM, TRMConfig, {"cycles": 3, "gradient_cycles": 2, "inner_steps": 1}, 2),
        (Attractor, AttractorConfig, {"gradient": GradientConfig(steps=3, damping=0.5)}, 3),
        (Attractor, AttractorConfig, {"gradient": GradientConfig(kind="unrolled")}, 3),
    ],
)
def test_every_answer_with_a_gradient_is_there_to_be_scored(kind, config, options, answers):
    shape = GridShape(36, 8, families=SUDOKU)
    model = kind(config(**STRUCTURED, mixer="axial", **options), shape).double()
    inputs, ids = torch.randint(1, 8, (3, 36)), torch.zeros(3, dtype=torch.int64)
    output = model.segment(model.initial_state(3), inputs, ids, Depth())
    assert len(output.earlier) == answers - 1
    assert all(y.requires_grad for y in output.earlier)
    with torch.no_grad():
        assert model.segment(model.initial_state(3), inputs, ids, Depth()).earlier == ()
    if kind is TRM:  # the answer of the cycle before the last
        state, x = model.initial_state(3), model.embedding(inputs, ids)
        for cycle in range(2):
            state = model.cycle(state, x, 1, None, 2 * cycle)
        torch.testing.assert_close(output.earlier[0], state[0])


def test_no_answer_of_an_unrolled_solve_is_scored_twice():
    """The one that is returned is of the best iterate, which need not be the last."""
    torch.manual_seed(1)
    sizes = {"width": 16, "layers": 1, "heads": 2, "puzzle_tokens": 0, "multiple": 8}
    solver = SolverConfig(kind="picard", max_evaluations=4)
    config = AttractorConfig(**sizes, solver=solver, gradient=GradientConfig(kind="unrolled"))
    model = Attractor(config, GridShape(9, 11))
    inputs, ids = torch.randint(1, 11, (64, 9)), torch.zeros(64, dtype=torch.int64)
    state = tuple(8 * torch.randn(64, 9, 16) for _ in range(2))
    output = model.segment(state, inputs, ids, Depth())
    images, w = [], state
    for _ in range(4):
        w = model.cycle(w, model.embedding(inputs, ids), config.inner_steps, None, 0)
        images.append(w[0])
    ours = torch.stack([*output.earlier, output.state[0]])
    theirs = torch.stack(images)
    assert not torch.equal(ours[-1], theirs[-1])  # of some puzzles an earlier one is the best
    torch.testing.assert_close(ours.sum(0), theirs.sum(0))


def test_the_loss_of_every_answer_is_their_mean():
    shape = GridShape(36, 8, families=SUDOKU)
    options = {"cycles": 3, "gradient_cycles": 3, "inner_steps": 1}
    model = TRM(TRMConfig(**STRUCTURED, mixer="axial", **options), shape).double()
    labels, inputs = torch.randint(2, 8, (2, 3, 36))
    batch = Batch(inputs, labels, torch.zeros(3, dtype=torch.int64))

    def run(**loss):
        config = LossConfig(cells="softmax", **loss)
        stage, minimum = Stage(until=1.0, segments=4), torch.zeros(3)
        return supervise(model, start(model, batch), batch, minimum, stage, config)

    found = run(every=True, candidates=0.5)
    answers = [model.decode(y)[0] for y in found.output.earlier] + [found.output.logits]
    each = [F.cross_entropy(a.transpose(1, 2), labels, reduction="none").mean(1) for a in answers]
    torch.testing.assert_close(found.losses.cells, sum(each) / 3)
    torch.testing.assert_close(run().losses.cells, each[-1])
    bits = sum(candidate_loss(a, labels, LossConfig()) for a in answers) / 3
    expected = found.losses.cells + 0.5 * found.losses.halting + 0.5 * bits
    torch.testing.assert_close(found.losses.total, expected)


DIGITS = STRUCTURED | {"width": 12, "fields": "digits"}
FIELDS = GridShape(36, 8, families=SUDOKU, symbols=interchangeable_tokens("sudoku", 6))


@pytest.mark.parametrize("mixer", ["axial", "sums", "relations", "local"])
@pytest.mark.parametrize("name", MODELS)
def test_exchanging_digits_exchanges_the_answers(name, mixer):
    kind, config, options = MODELS[name]
    model = kind(config(**DIGITS, mixer=mixer, **options), FIELDS).double()
    inputs, ids = torch.randint(1, 8, (3, 36)), torch.zeros(3, dtype=torch.int64)

    def answer(tokens):
        output = model.segment(model.initial_state(3), tokens, ids, Depth())
        return output.logits, output.q

    logits, q = answer(inputs)
    assert logits.shape == (3, 36, 8)
    new = torch.cat((torch.tensor([0, 1]), 2 + torch.randperm(6)))  # PAD and blank stay
    moved, score = answer(new[inputs])
    torch.testing.assert_close(moved[..., new], logits, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(score, q, rtol=1e-9, atol=1e-9)
    assert (moved - logits).abs().max() > 1e-3


def test_a_field_sees_its_own_symbol_and_the_mean_of_the_others():
    model = TRM(TRMConfig(**DIGITS, mixer="axial", cycles=1, inner_steps=1), FIELDS)
    inputs, ids = torch.tensor([[1, 2, 7] * 12]), torch.zeros(1, dtype=torch.int64)
    roles = model.double().embedding(inputs, ids).view(6, 36, 12) / math.sqrt(12)
    empty, other, mine = model.embedding.tokens.weight
    torch.testing.assert_close(roles[:, 0], empty.expand(6, 12))
    for field in range(6):
        torch.testing.assert_close(roles[field, 1], mine if field == 0 else other)
        torch.testing.assert_close(roles[field, 2], mine if field == 5 else other)
    mixer = model.net.layers[0].self_attn
    x = torch.randn(1, 6 * 36, 12, dtype=torch.float64)
    fields, found = x.view(6, 36, 12), mixer(x, None).view(6, 36, 12)
    for field in range(6):
        rest = torch.cat((fields[:field], fields[field + 1 :])).mean(0)
        expected = mixer.mix(fields[field : field + 1], None)[0] + mixer.across(rest)
        torch.testing.assert_close(found[field], expected)


@pytest.mark.parametrize(
    "change",
    [{"puzzle_tokens": 1}, {"positions": "learned"}, {"mixer": "mlp"}, {"halting_from": "first"}],
)
def test_what_fields_cannot_share_is_said(change):
    with pytest.raises(ValueError, match="fields digits"):
        NetConfig(**DIGITS | {"mixer": "attention"} | change)


def test_mazes_have_no_symbols_to_exchange():
    assert interchangeable_tokens("maze", 30) == ()
    with pytest.raises(ValueError, match="this puzzle has none"):
        TRM(TRMConfig(**DIGITS, mixer="local"), GridShape(25, 6, families=MAZE))
    with pytest.raises(ValueError, match=r"two symbols or more .* this puzzle has 1"):
        TRM(TRMConfig(**DIGITS, mixer="local"), GridShape(25, 6, families=MAZE, symbols=(2,)))


@pytest.mark.parametrize("states", [1, 2])
def test_the_jacobian_of_the_map_is_added_where_a_segment_ends(states):
    shape = GridShape(36, 8, families=SUDOKU)
    gradient = GradientConfig(steps=2, damping=0.5)
    config = AttractorConfig(**STRUCTURED, mixer="axial", states=states, gradient=gradient)
    model = Attractor(config, shape).double()
    tokens = torch.randint(1, 8, (3, 36))
    batch, seeds = Batch(tokens, tokens, torch.zeros(3, dtype=torch.int64)), torch.arange(3)
    stage, minimum = Stage(until=1.0, segments=2), torch.zeros(3)

    def supervised(weight):
        torch.manual_seed(0)
        loss = LossConfig(jacobian=weight)
        carry = start(model, batch, seeds)
        return supervise(model, carry, batch, minimum, stage, loss, seeds=seeds)

    plain, with_term = supervised(0.0), supervised(0.25)
    assert plain.losses.jacobian is None
    energy = with_term.losses.jacobian
    torch.testing.assert_close(with_term.losses.total, plain.losses.total + 0.25 * energy)
    # |J|_F^2 an element, by brute force; one probe is that times 1, give or take.
    x, state = model.embedding(tokens, batch.puzzle_ids), with_term.output.state
    rows = range(0, 3)
    exact = []
    for row in rows:
        w = tuple(part[row : row + 1] for part in state)
        jacobian = torch.autograd.functional.jacobian(
            lambda *w, row=row: model.cycle(w, x[row : row + 1], 1, None, 0), w
        )
        squares = sum(block.square().sum() for blocks in jacobian for block in blocks)
        exact.append(squares / sum(part.numel() for part in w))
    torch.testing.assert_close(energy, torch.stack(exact), rtol=0.25, atol=0)
    energy.sum().backward()
    assert all(p.grad.isfinite().all() for p in model.net.parameters())
    assert sum(p.grad.abs().sum() for p in model.net.parameters()) > 0
