"""One file a command: its words in, calls to the rooms below, its exit code out."""

# The module whose `main` is the command, loaded when it is called, and a line of help. None of them
# loads torch before the command's words are read, but for those whose options a model brings.
COMMANDS: dict[str, tuple[str, str]] = {
    "quickstart": (
        "scripts.commands.quickstart",
        "generate puzzles, train three models, compare them: some minutes",
    ),
    "data": (
        "scripts.commands.data",
        "sudoku | maze | make | import | check | push | pull: puzzles made, checked, shared",
    ),
    "presets": (
        "scripts.commands.presets",
        "list the presets with sizes and recipes (--json); NAME: one as YAML",
    ),
    "train": ("scripts.commands.train", "train a preset on a data folder, or --resume a run"),
    "runs": (
        "scripts.commands.runs",
        "the runs in a folder: their state and best numbers (--json)",
    ),
    "evaluate": ("scripts.commands.evaluate", "score a run on held-out puzzles"),
    "compare": ("scripts.commands.compare", "one table over runs, or over presets x seeds"),
    "import-released": (
        "scripts.commands.import_released",
        "make a run of the weights that authors released",
    ),
    "reproduce": (
        "scripts.commands.reproduce",
        "a table or figure of the paper, its numbers beside ours",
    ),
    "bench": (
        "scripts.commands.bench",
        "time training, solver, evaluation, language models; memory; scaling",
    ),
    "solve": (
        "scripts.commands.solve",
        "answer one puzzle with a trained run or --pretrained weights",
    ),
    "demo": (
        "scripts.commands.demo",
        "a page on which puzzles are solved, segment by segment (extra demo)",
    ),
    "export": (
        "scripts.commands.export",
        "a run as ONNX or torch.export files: map, heads, the whole solve",
    ),
    "push": (
        "scripts.commands.push",
        "upload a run to the Hugging Face hub, with a card (extra hub)",
    ),
    "package": ("scripts.commands.package", "make weights that ship with loopbench of a run"),
    "tokenizer": ("scripts.commands.tokenizer", "train | info: byte-level BPE for text"),
    "corpus": ("scripts.commands.corpus", "build | check: text files to token shards"),
    "pretrain": (
        "scripts.commands.pretrain",
        "pretrain a language preset on a corpus, or --resume a run",
    ),
    "evaluate-lm": (
        "scripts.commands.evaluate_lm",
        "perplexity, LAMBADA and CORE of a pretraining run",
    ),
    "lm-eval": (
        "scripts.commands.lm_eval",
        "the lm-evaluation-harness on a pretraining run (extra lm-eval)",
    ),
    "generate": (
        "scripts.commands.generate",
        "continue a text with a pretrained language model",
    ),
    "record": (
        "scripts.commands.record",
        "keep what compare, reproduce, evaluate or bench wrote for pages and claims",
    ),
    "tables": (
        "scripts.commands.tables",
        "fill the pages' tables from the recorded results, or --check them",
    ),
    "claims": (
        "scripts.commands.claims",
        "the paper's fourteen claims: held, not held, undecided, not tested (--json); --run N",
    ),
    "completion": (
        "scripts.commands.completion",
        "bash | zsh: a script that completes commands and options",
    ),
}
