"""What `train` and `pretrain` tell before anything else: a folder or a file of settings that is not
there."""

from collections.abc import Sequence
from pathlib import Path

from scripts.terminal.config_files import read_config_file
from scripts.terminal.folders import Kind, expect
from scripts.usage import option_value, resumes


def check_places(words: Sequence[str], run: Kind, option: str, material: Kind) -> None:
    """UsageError for a run to resume that is none, for settings that cannot be read, and for a
    folder of `material`, given by `option`, that is not there.

    words: of the command line, after the command's name; option: its flag, dashes included; run,
    material: kinds of folder, as `scripts.terminal.folders` tells them apart.
    """
    if resumes(words):
        if resumed := option_value(words, "--resume"):
            expect(resumed, run)
        return
    if {"-h", "--help"} & set(words):
        return
    file = option_value(words, "--config")
    if file:
        read_config_file(Path(file))
    given = option_value(words, option) if file or option_value(words, "--preset") else None
    if given and not Path(given).is_dir():
        expect(given, material)
