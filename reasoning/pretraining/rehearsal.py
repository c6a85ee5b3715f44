"""A first pass before a run begins: what a language model of one's own does that training cannot
use, or that would flatter it, is told by name before the run's folder is made."""

import copy
from numbers import Integral

import torch
from torch import Tensor, nn

from reasoning.errors import InputError
from reasoning.plugins import path_of, watched
from reasoning.precision import autocast
from reasoning.pretraining.config import PretrainingConfig
from reasoning.pretraining.protocol import LMOutput
from reasoning.training.rehearsal import alike, expect_tensor

_ROWS, _TOKENS = 2, 16


def rehearse(
    model: nn.Module, config: PretrainingConfig, vocabulary: int, device: torch.device
) -> None:
    """Ask a copy of a model about a few random tokens, whole, with another last token, and in two
    parts from its cache.

    config: of the run that it is for; vocabulary: how many tokens there are; device: the model's.

    InputError, which names the model's class, for what is not as `LanguageModel` and `LMOutput`
    say, for a core whose evaluations it does not report, for answers that differ when it is asked
    twice, for logits that change with a later token, for a cache that gives others than the whole
    text does, and for whatever its methods raise. A model without a cache raises
    NotImplementedError in `new_cache`: it trains, and generates nothing. The cache of a model that
    draws at random in eval mode is not compared.
    """
    path = path_of(model)
    for name in ("vocabulary", "context"):
        if not isinstance(getattr(model, name, None), Integral):
            raise InputError(f"{path}: has no number `{name}`, see LanguageModel")
    length = min(_TOKENS, config.context)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(vocabulary, (_ROWS, length), generator=generator).to(device)
    devices = [device] if device.type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(devices):
        tried = copy.deepcopy(model).eval()
        with autocast(device, config.precision):
            _check_cost(path, tried, _asked(path, tried, tokens, vocabulary))
        if length < 2:
            return
        # In fp32: a solver that stops at a tolerance amplifies what bf16 rounds.
        whole = _asked(path, tried, tokens, vocabulary).logits
        if not alike(whole, _asked(path, tried, tokens, vocabulary).logits):
            raise InputError(f"{path}: asked twice in eval mode it gives two answers")
        changed = tokens.clone()
        changed[:, -1] = (tokens[:, -1] + 1) % vocabulary
        other = _asked(path, tried, changed, vocabulary).logits
        if not alike(whole[:, :-1], other[:, :-1]):
            raise InputError(
                f"{path}: its logits change with another token that comes later, or in another row"
            )
        if alike(whole, _asked(path, tried, tokens, vocabulary, seed=1).logits):  # else it draws
            _check_cache(path, tried, tokens, whole)


def _check_cost(path: str, model: nn.Module, output: LMOutput) -> None:
    """A core is charged as often as the model says that it was evaluated."""
    with watched(path, "cost"):
        core = model.cost().core
    if core and "evaluations" not in output.diagnostics:
        raise InputError(
            f"{path}: cost() counts a core, but forward reports no diagnostics['evaluations'] "
            "(B, S), how often a token passed it: report them, or count it in `once`, as often as "
            "every token passes it"
        )


def _asked(path: str, model: nn.Module, tokens: Tensor, vocabulary: int, seed: int = 0) -> LMOutput:
    torch.manual_seed(seed)  # whatever it draws it draws again
    with watched(path, "forward"):
        output = model(tokens)
    if not isinstance(output, LMOutput):
        raise InputError(f"{path}: forward returns {type(output).__name__}, not an LMOutput")
    shape = (*tokens.shape, vocabulary)
    expect_tensor(path, "forward's logits (B, S, V)", output.logits, shape, logits=True)
    for name, value in output.diagnostics.items():
        expect_tensor(path, f"forward's diagnostics[{name!r}] (B, S)", value, tuple(tokens.shape))
    return output


def _check_cache(path: str, model: nn.Module, tokens: Tensor, whole: Tensor) -> None:
    half = tokens.shape[1] // 2
    try:
        with watched(path, "new_cache"):
            cache = model.new_cache()
    except InputError as error:
        if isinstance(error.__cause__, NotImplementedError):
            return
        raise
    with watched(path, "forward with a cache"):
        for part in (tokens[:, :half], tokens[:, half:]):
            last = model(part, cache=cache).logits[:, -1]
    if last.shape != whole[:, -1].shape or not alike(last, whole[:, -1]):
        raise InputError(
            f"{path}: from its cache it says other logits than of the whole text; a model without "
            "a cache raises NotImplementedError in new_cache"
        )
