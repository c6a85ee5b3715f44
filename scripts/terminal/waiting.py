"""How this process's threads wait for one another, for as long as it lives."""

import os
import sys

# Any of these says it already, to GNU's OpenMP or to Intel's and LLVM's.
SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
# Turns of a waiting loop. GNU's default is 300,000; measured on two cores (scripts/README.md).
SPINS = 3000


def spin_briefly() -> bool:
    """Have GNU OpenMP's threads, those of torch's wheels for Linux, spin for a few microseconds and
    then sleep until the others are there; returns whether it was asked for. Processes that this one
    starts do the same.

    A thread that spins holds a core which the one it waits for may need, if another process is
    busy; one that sleeps at once is woken too late where nobody else is. Left alone where variables
    say what to do, and where torch, which reads them once, is loaded already.
    """
    if "torch" in sys.modules or any(name in os.environ for name in SETTINGS):
        return False
    os.environ["GOMP_SPINCOUNT"] = str(SPINS)
    return True
