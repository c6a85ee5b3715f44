"""The common net against the published counts and against formulas written out in plain einsums."""

import math

import pytest
import torch

from reasoning.nn.grid import GridEmbedding, GridHeads, GridShape, Net, NetConfig
from reasoning.nn.layers import (
    Attention,
    apply_rotary,
    rms_norm,
    rotary_table,
    swiglu_width,
    truncated_normal_,
)

SUDOKU, MAZE = GridShape(81, 11), GridShape(900, 6)


@pytest.mark.parametrize(
    ("expansion", "width", "multiple", "inner"),
    [(4, 512, 256, 1536), (4, 97, 256, 512), (4, 64, 32, 192)],
)
def test_swiglu_width(expansion, width, multiple, inner):
    assert swiglu_width(expansion, width, multiple) == inner


def test_truncated_normal_has_the_deviation_asked_for_and_no_tail():
    values = truncated_normal_(torch.empty(200_000), 0.3, torch.Generator().manual_seed(0))
    assert abs(values.std().item() - 0.3) < 3e-3
    assert values.abs().max() <= 2 * 0.3 / 0.8796 + 1e-6


def test_rms_norm_puts_rows_on_the_sphere_and_reduces_wide():
    x = torch.randn(3, 5, 64, generator=torch.Generator().manual_seed(0)) * 7
    torch.testing.assert_close(rms_norm(x).norm(dim=-1), torch.full((3, 5), 8.0), rtol=1e-4, atol=0)
    big = torch.full((1, 4), 300.0, dtype=torch.float16)  # its square overflows fp16
    torch.testing.assert_close(rms_norm(big), torch.ones_like(big))


def test_rotary_is_a_rotation_that_knows_only_distance():
    cos, sin = rotary_table(20, 8)
    q, k = torch.randn(2, 8, generator=torch.Generator().manual_seed(0)).unbind(0)
    placed = lambda v, i: apply_rotary(v.view(1, 8), cos[i : i + 1], sin[i : i + 1])[0]  # noqa: E731
    for shift in (0, 5, 11):
        torch.testing.assert_close(
            placed(q, 2 + shift) @ placed(k, 7 + shift), placed(q, 2) @ placed(k, 7)
        )
    # Half-split layout: the pair (i, i + 4) turns by position x 10000^(-2 i / 8).
    e = torch.zeros(8)
    e[1] = 1
    turned = placed(e, 3)
    angle = 3 * 10_000 ** (-2 / 8)
    torch.testing.assert_close(turned[[1, 5]], torch.tensor([math.cos(angle), math.sin(angle)]))


def test_attention_equals_its_formula():
    torch.manual_seed(0)
    attention, x = Attention(16, 2), torch.randn(3, 7, 16)
    q, k, v = (attention.qkv_proj.weight @ x.mT).unflatten(1, (3, 2, 8)).unbind(1)
    weights = torch.einsum("bhkl,bhkm->bhlm", q, k).div(math.sqrt(8)).softmax(-1)
    mixed = torch.einsum("bhlm,bhkm->blhk", weights, v).flatten(2)
    torch.testing.assert_close(attention(x, None), mixed @ attention.o_proj.weight.T)


def test_every_state_lies_on_a_product_of_spheres():
    torch.manual_seed(0)
    net = Net(NetConfig(width=32, layers=2, heads=2, multiple=32), 10)
    h = net(torch.randn(2, 10, 32), torch.randn(2, 10, 32))
    torch.testing.assert_close(h.square().mean(-1), torch.ones(2, 10), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("mixer", ["attention", "mlp"])
def test_branches_can_begin_small(mixer):
    def net(scale: float) -> Net:
        torch.manual_seed(0)
        sizes = {"width": 32, "layers": 8, "heads": 2, "multiple": 32}
        return Net(NetConfig(**sizes, mixer=mixer, branch_scale=scale), 10)

    h, c = torch.randn(2, 2, 10, 32)
    torch.testing.assert_close(net(1e-7)(h, c), rms_norm(h + c), rtol=1e-4, atol=1e-4)
    whole, half = net(1.0), net(0.5)
    for name, weight in whole.named_parameters():
        ends = name.endswith(("o_proj.weight", "down_proj.weight"))
        assert torch.equal(half.get_parameter(name), weight / 2 if ends else weight)


def test_embedding_puts_the_puzzle_first_and_scales_by_sqrt_width():
    config = NetConfig(width=32, heads=2, puzzle_tokens=3)
    torch.manual_seed(0)
    embedding = GridEmbedding(config, GridShape(4, 5, puzzles=2))
    with torch.no_grad():
        embedding.puzzles.weight[1] = 1.0
    inputs = torch.tensor([[1, 2, 3, 4], [4, 3, 2, 1]])
    x = embedding(inputs, torch.tensor([0, 1]))
    assert x.shape == (2, 7, 32)
    assert x[0, :3].abs().max() == 0
    torch.testing.assert_close(x[1, 0], torch.full((32,), math.sqrt(32)))
    assert x[1, 1:3].abs().max() == 0
    torch.testing.assert_close(x[0, 3], math.sqrt(32) * embedding.tokens.weight[1])


def test_heads_start_indifferent_and_read_position_zero():
    config = NetConfig(width=32, heads=2, puzzle_tokens=2)
    heads = GridHeads(config, GridShape(4, 5))
    logits, q = heads(torch.randn(3, 6, 32))
    assert logits.shape == (3, 4, 5)
    assert q.tolist() == [[-5.0, -5.0]] * 3


@pytest.mark.parametrize("shape", [SUDOKU, MAZE])
def test_heads_that_do_not_divide_the_width_are_refused(shape):
    with pytest.raises(ValueError, match="width 30"):
        NetConfig(width=30, heads=4)
