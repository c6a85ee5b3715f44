"""How this process's threads wait for one another, for as long as it lives."""

import os
import sys

# Any of these says it already, to GNU's OpenMP or to Intel's and LLVM's.
SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")


def wait_asleep() -> bool:
    """Have OpenMP's threads sleep, not spin, until the others are there; returns whether it was
    asked for. Processes that this one starts do the same.

    A thread that spins holds a core which the one it waits for may need, if another process is
    busy: on two cores with seven others a training step then takes seven times as long. Sleeping
    costs about 2 % where nobody else is. Left alone where variables say what to do, and where
    torch, which reads them once, is loaded already.
    """
    if "torch" in sys.modules or any(name in os.environ for name in SETTINGS):
        return False
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    return True
