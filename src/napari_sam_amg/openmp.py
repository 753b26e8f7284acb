"""Keep OpenMP's threads from spinning for long while they wait, beside other programs. Free of torch.

A thread of torch that waits for the others spins, as long as it takes, and takes the core from whom it waits for
if other programs run too. Measured once on two cores with a load of 10: a run took 87 s of wall time, and 2.8 s
without spinning. With at most a thousand rounds three runs at once on two cores took .77 to 1.15 times as long as one
after the other, with ten thousand 1.5 to 1.8 times; one alone took 1.8 to 2.2 and 1.8 to 1.9 s (four of each).
"""

import os

#: GNU's OpenMP, which torch brings on Linux, and LLVM's and Intel's, which it brings elsewhere (milliseconds).
BOUNDS = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "1"}
#: Who sets one of these has decided how threads wait.
DECIDED = (*BOUNDS, "OMP_WAIT_POLICY")


def bound_spinning() -> None:
    """Before torch is loaded, since OpenMP reads its environment then; what the user has set stays."""
    if not any(name in os.environ for name in DECIDED):
        os.environ.update(BOUNDS)
