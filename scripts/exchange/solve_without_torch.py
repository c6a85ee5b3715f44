"""Solve a sudoku with an exported run: numpy and onnxruntime, neither torch nor loopbench.

loopbench export RUN --to onnx
python solve_without_torch.py RUN/onnx/solve.onnx 53..7....6..195....98....6.8...6...3...
"""

import sys

import numpy as np
import onnxruntime


def solve(path: str, puzzle: str, segments: int | None = None) -> tuple[str, float]:
    """The answer's characters, and how sure the least sure cell is."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    symbols = facts["tokens"]
    inputs = np.array([[symbols.index(character) for character in puzzle]], dtype=np.int64)
    given = {
        "inputs": inputs,
        "puzzle_ids": np.zeros(1, dtype=np.int64),
        "segments": np.array(segments or int(facts["segments"]), dtype=np.int64),
    }
    taken = {value.name for value in session.get_inputs()}
    logits = session.run(["logits"], {k: v for k, v in given.items() if k in taken})[0][0]
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    answer = "".join(symbols[token] for token in logits.argmax(-1))
    return answer, float((odds.max(-1) / odds.sum(-1)).min())


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python solve_without_torch.py SOLVE.onnx PUZZLE")
    answer, sure = solve(sys.argv[1], sys.argv[2].replace("0", "."))
    side = round(len(answer) ** 0.5)
    print("\n".join(answer[i : i + side] for i in range(0, len(answer), side)))
    print(f"the least sure cell is given {100 * sure:.0f} %")
