"""How long to wait before another try: full jitter, doubling up to a cap."""

import random

BASE_SECONDS, CAP_SECONDS = 0.2, 30.0


def delay(failures: int, *, cap: float = CAP_SECONDS) -> float:
    """Return the seconds until the next try after a number of failures (from 1).

    Random up to a bound that doubles up to `cap`: full jitter, see
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    return random.uniform(0, min(cap, BASE_SECONDS * 2 ** min(failures, 20)))
