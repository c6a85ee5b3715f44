"""`loopbench generate`: continue a text with a pretrained run, streamed as it is chosen."""

import sys
import time
from collections.abc import Callable, Iterable, Sequence

from reasoning.pretraining.generation import Generated


class TextStream:
    """Tokens to text as it becomes certain: a character split over tokens waits for its rest."""

    def __init__(self, decode):
        self.decode, self.ids, self.shown = decode, [], ""

    def push(self, token: int) -> str:
        """The text that this token completes."""
        self.ids.append(token)
        return self._take(self.decode(self.ids).rstrip("\N{REPLACEMENT CHARACTER}"))

    def finish(self) -> str:
        """What is left, broken characters replaced."""
        return self._take(self.decode(self.ids))

    def _take(self, text: str) -> str:
        if not text.startswith(self.shown):  # nothing new is certain yet
            return ""
        new, self.shown = text[len(self.shown) :], text
        return new


def write_continuation(steps: Iterable[Generated], decode: Callable[[Sequence[int]], str]) -> None:
    """Print tokens as they come, and to stderr what they took."""
    stream, shown, began = TextStream(decode), [], time.perf_counter()
    for step in steps:
        print(stream.push(int(step.ids[0])), end="", flush=True)
        shown.append(step)
    print(stream.finish())
    print(_report(shown, time.perf_counter() - began), file=sys.stderr)


def _report(shown: Sequence[Generated], seconds: float) -> str:
    tokens = len(shown)
    report = f"{tokens} tokens in {seconds:.2f} s, {tokens / seconds:.1f} tokens/s"
    spent = [int(step.evaluations[0]) for step in shown if step.evaluations is not None]
    if not spent:
        return report
    report += f"; evaluations per token: mean {sum(spent) / len(spent):.2f}, most {max(spent)}"
    # A proposal that is read out, with no evaluations, was never to converge.
    solved = [bool(step.converged[0]) for step in shown if step.converged is not None]
    if not solved or not max(spent):
        return report
    report += f"; converged: {100 * sum(solved) / len(solved):.0f} % of tokens"
    if all(solved):
        return report
    return (
        f"{report}\n{len(solved) - sum(solved)} of {len(solved)} tokens ran out of evaluations "
        "before they met the tolerance. Faster: fewer (--solver-evaluations) or a larger "
        "--tolerance; closer: more evaluations, or a model trained for longer"
    )
