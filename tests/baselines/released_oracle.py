"""The released HRM, TRM and EqR modules as straight lines over their state dicts.

Written from their formulas with raw tensor operations, sharing nothing with `reasoning.nn`. States
are (B, L, D); a state dict's keys have no prefix here.
"""

import math

import torch
import torch.nn.functional as F

EPS = 1e-5


def norm(u):
    return u * torch.rsqrt(u.square().mean(-1, keepdim=True) + EPS)


def rotate(v, base=10_000.0):
    """v (B, L, H, K): the pair (v_i, v_{i + K/2}) at position t turned by t base^(-2 i / K)."""
    length, half = v.shape[1], v.shape[3] // 2
    inverse = 1.0 / (base ** (torch.arange(half).float() * 2 / (2 * half)))
    angle = torch.arange(length).float()[:, None] * inverse[None, :]
    cos, sin = angle.cos()[None, :, None, :], angle.sin()[None, :, None, :]
    a, b = v[..., :half], v[..., half:]
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


def swiglu(w, name, u):
    both = F.linear(u, w[f"{name}.gate_up_proj.weight"])
    inner = both.shape[-1] // 2
    gate, up = both[..., :inner], both[..., inner:]
    return F.linear(F.silu(gate) * up, w[f"{name}.down_proj.weight"])


def attention(w, name, u, heads, rope):
    batch, length, width = u.shape
    packed = F.linear(u, w[f"{name}.qkv_proj.weight"])
    q, k, v = packed.view(batch, length, 3 * heads, width // heads).split(heads, dim=2)
    if rope:
        q, k = rotate(q), rotate(k)
    mixed = F.scaled_dot_product_attention(*(t.transpose(1, 2) for t in (q, k, v)))
    mixed = mixed.transpose(1, 2).reshape(batch, length, width)
    return F.linear(mixed, w[f"{name}.o_proj.weight"])


def level(w, name, h, injection, heads, rope):
    """One net: h + injection, then post-norm blocks."""
    h = h + injection
    layer = 0
    while f"{name}.layers.{layer}.mlp.down_proj.weight" in w:
        at = f"{name}.layers.{layer}"
        if f"{at}.mlp_t.down_proj.weight" in w:
            # The token mixer: transposed, mixed and normalised over the tokens, transposed back.
            columns = h.transpose(1, 2)
            h = norm(columns + swiglu(w, f"{at}.mlp_t", columns)).transpose(1, 2)
        else:
            h = norm(h + attention(w, f"{at}.self_attn", h, heads, rope))
        h = norm(h + swiglu(w, f"{at}.mlp", h))
        layer += 1
    return h


def embed(w, inputs, ids, puzzle_tokens):
    tokens = w["embed_tokens.embedding_weight"]
    width = tokens.shape[1]
    x = tokens[inputs]
    if puzzle_tokens:
        flat = w["puzzle_emb.weights"][ids]
        padding = flat.new_zeros(len(ids), puzzle_tokens * width - flat.shape[1])
        front = torch.cat((flat, padding), dim=1).view(len(ids), puzzle_tokens, width)
        x = torch.cat((front, x), dim=1)
    if "embed_pos.embedding_weight" in w:
        x = 0.707106781 * (x + w["embed_pos.embedding_weight"])
    return math.sqrt(width) * x


def read(w, y, puzzle_tokens):
    logits = F.linear(y, w["lm_head.weight"])[:, puzzle_tokens:]
    return logits, F.linear(y[:, 0], w["q_head.weight"], w["q_head.bias"])


def start(w, batch, length):
    return tuple(w[name].expand(batch, length, -1).clone() for name in ("H_init", "L_init"))


def hrm_segment(w, y, z, x, heads, cycles, steps, rope=True):
    for _ in range(cycles):
        for _ in range(steps):
            z = level(w, "L_level", z, y + x, heads, rope)
        y = level(w, "H_level", y, z, heads, rope)
    return y, z


def trm_segment(w, y, z, x, heads, cycles, steps, rope=True, call=level):
    for _ in range(cycles):
        for _ in range(steps):
            z = call(w, "L_level", z, y + x, heads, rope)
        y = call(w, "L_level", y, z, heads, rope)
    return y, z


def random_state(
    levels, layers, width, vocabulary, inner, *, length=None, inner_t=None, puzzles=1, device="cpu"
):
    """A state dict of the released layout, its values normal of deviation 1/sqrt(fan in).

    What a layer adds to its input is halved, lest a segment amplify rounding a hundredfold.
    `length` and `inner_t` make the token mixer, `puzzles` 0 leaves the puzzle embedding out.
    """
    generator = torch.Generator().manual_seed(0) if device == "cpu" else None

    def draw(*shape):
        return torch.randn(*shape, generator=generator, device=device) / math.sqrt(shape[-1])

    w = {
        "embed_tokens.embedding_weight": draw(vocabulary, width),
        "lm_head.weight": draw(vocabulary, width),
        "q_head.weight": draw(2, width),
        "q_head.bias": draw(2),
        "H_init": draw(width) * math.sqrt(width),
        "L_init": draw(width) * math.sqrt(width),
    }
    if puzzles:
        w["puzzle_emb.weights"] = draw(puzzles, width)
    for name in levels:
        for layer in range(layers):
            at = f"{name}.layers.{layer}"
            if inner_t is None:
                w[f"{at}.self_attn.qkv_proj.weight"] = draw(3 * width, width)
                w[f"{at}.self_attn.o_proj.weight"] = draw(width, width) / 2
            else:
                w[f"{at}.mlp_t.gate_up_proj.weight"] = draw(2 * inner_t, length)
                w[f"{at}.mlp_t.down_proj.weight"] = draw(length, inner_t) / 2
            w[f"{at}.mlp.gate_up_proj.weight"] = draw(2 * inner, width)
            w[f"{at}.mlp.down_proj.weight"] = draw(width, inner) / 2
    return w
