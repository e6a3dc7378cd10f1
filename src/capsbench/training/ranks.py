"""Which of a run's processes this is, when the run uses several devices.

Rank 0 is the run: it claims the folder, tracks, evaluates and writes. The others train along and leave no trace.
"""

import os


def rank() -> int:
    """Number of this process in its run; 0 for a run on one device."""
    return int(os.environ.get("LOCAL_RANK", "0"))
