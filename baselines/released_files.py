"""The files of a release: the tensors, and the configuration that their authors' code wrote.

HRM and TRM save a state dict, `step_<n>`. EqR saves a training checkpoint, `step_<n>.pth`: a dict
of model, optimizers, carry, rng, config and more, whose `ema.shadow` holds the average of the
weights, without the buffers, which are not averaged. Beside either lies `all_config.yaml`; its
mapping `arch` is what the model was built from.

Sources: the code released with HRM (arXiv 2506.21734), TRM (arXiv 2510.04871) and EqR.
"""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from baselines.released_settings import ReleasedError, some

CONFIG_FILE = "all_config.yaml"
_PREFIXES = ("_orig_mod.", "model.", "inner.")


@dataclass(frozen=True)
class ReleaseFiles:
    """What lies in a file and beside it.

    tensors: by their names without prefixes, floating ones in fp32.
    average: whether they are the average kept in a training checkpoint.
    arch: the authors' settings of the model, None if there is no configuration.
    said_by: where they were read, for messages.
    """

    tensors: dict[str, Tensor]
    average: bool
    arch: Mapping[str, Any] | None
    said_by: str


def read_release(path: Path) -> ReleaseFiles:
    """Read a file and the configuration in it or beside it. No code in either is run.

    ReleasedError if the file is missing or damaged, holds neither tensors nor a training
    checkpoint, or if the configuration cannot be read.
    """
    found = _load(path)
    config, average, said_by = None, False, CONFIG_FILE
    if isinstance(found.get("model"), Mapping):
        tensors = _plain(path, found["model"])
        averaged = found.get("ema")
        if isinstance(averaged, Mapping):
            shadow = averaged.get("shadow")
            if not isinstance(shadow, Mapping) or not shadow:
                raise ReleasedError(f"{path}: its ema holds no weights under shadow")
            tensors, average = _averaged(path, tensors, _plain(path, shadow)), True
        config, said_by = found.get("config"), "its own config"
    else:
        tensors = _plain(path, found)
    if config is None:
        config, said_by = _config_beside(path), CONFIG_FILE
    if config is None:
        return ReleaseFiles(tensors, average, None, said_by)
    arch = config.get("arch") if isinstance(config, Mapping) else None
    if not isinstance(arch, Mapping):
        raise ReleasedError(f"{path}: {said_by} has no mapping arch, which describes the model")
    return ReleaseFiles(tensors, average, arch, said_by)


class _Blank:
    """Stands for every object of a training checkpoint that is neither tensor nor plain value:
    made of anything, it keeps nothing."""

    def __new__(cls, *args: Any) -> "_Blank":
        return super().__new__(cls)

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _load(path: Path) -> Mapping[Any, Any]:
    try:
        with path.open("rb") as file:
            if zipfile.is_zipfile(file) and (bad := zipfile.ZipFile(file).testzip()):
                raise zipfile.BadZipFile(bad)  # torch does not look at the checksums
            file.seek(0)
            found = torch.load(file, map_location="cpu", weights_only=True)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise ReleasedError(f"{path}: cannot be read ({error.strerror})") from error
    except Exception as error:  # a cut or foreign file makes the unpickler raise almost anything
        found = _load_checkpoint(path)
        if found is None:
            raise ReleasedError(
                f"{path}: is not a whole file of plain tensors ({type(error).__name__}): it was "
                "cut short, or it holds pickled code, which is never run; download it again, or "
                "save the module's state_dict() alone"
            ) from error
    if not isinstance(found, Mapping) or not found:
        raise ReleasedError(f"{path}: holds {type(found).__name__}, expected a dict of tensors")
    return found


def _load_checkpoint(path: Path) -> Mapping[Any, Any] | None:
    """A training checkpoint, whose generators and carries are objects of other code: each becomes a
    `_Blank`. None for any other file, also if torch refuses a name outright."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        with torch.serialization.safe_globals([(_Blank, name) for name in names]):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # told by the caller as what the file is not
        return None
    is_checkpoint = isinstance(found, Mapping) and isinstance(found.get("model"), Mapping)
    return found if is_checkpoint else None


def _plain(path: Path, found: Mapping[Any, Any]) -> dict[str, Tensor]:
    others = [str(key) for key, value in found.items() if not isinstance(value, Tensor)]
    if others:
        raise ReleasedError(
            f"{path}: holds {some(others)}, not tensors; save the module's state_dict() alone"
        )
    tensors: dict[str, Tensor] = {}
    for key, value in found.items():
        name = str(key)
        while name.startswith(_PREFIXES):
            name = name.split(".", 1)[1]
        if name in tensors:
            raise ReleasedError(f"{path}: {key} names {name} a second time")
        tensors[name] = value.float() if value.is_floating_point() else value
    return tensors


def _averaged(path: Path, last: dict[str, Tensor], average: dict[str, Tensor]) -> dict[str, Tensor]:
    """The averaged tensors, and those that are not averaged as they were last."""
    strange = sorted(average.keys() - last.keys())
    if strange:
        raise ReleasedError(f"{path}: its ema.shadow holds {some(strange)}, its model does not")
    return last | average


def _config_beside(path: Path) -> Any:
    file = path.parent / CONFIG_FILE
    if not file.exists():
        return None
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8-sig")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ReleasedError(
            f"{file}: cannot be read ({reason}); get it again, or move it away to go by options"
        ) from error
