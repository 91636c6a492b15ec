"""What a new process sets for itself, where that can be undone."""

import gc

from app.servers.tuning import end_start


def test_garbage_is_collected_after_a_start() -> None:
    """The collector, which rests during the start, works from then on."""
    gc.disable()
    before = gc.get_freeze_count()
    try:
        end_start()
        assert gc.isenabled()
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()
        gc.enable()
