"""Puts a job's clock wrong by an amount that depends on its node, as unsynchronised hosts would have it."""

import os
import time

_SKEW_S = {"node1": 7200.0, "node2": -7200.0, "node3": 86_400.0, "node4": -86_400.0}
_skew = _SKEW_S.get(os.environ.get("SLURMD_NODENAME", ""), 0.0)
if _skew:
    _real = time.time
    time.time = lambda: _real() + _skew
