"""`STREAMS` says which streams are taken."""

import pytest

from tests.support.bench import MakeBench, settings_for
from workers.errors import SettingsError, UnknownStream


@pytest.mark.parametrize("stream", ["default", "web-1", "web-", "log3"])
def test_an_allowed_stream_is_taken(make_bench: MakeBench, stream: str) -> None:
    """A name, or what a pattern fits."""
    bench = make_bench(STREAMS="default, web-*,log[0-9]")
    bench.accept(b"{}", stream=stream)


@pytest.mark.parametrize("stream", ["web", "mobile-1", "logs", "defaults"])
def test_another_stream_is_unknown(make_bench: MakeBench, stream: str) -> None:
    """It opens no segment, and a full service gives the same answer."""
    bench = make_bench(STREAMS="default, web-*,log[0-9]")
    with pytest.raises(UnknownStream, match=stream):
        bench.accept(b"{}", stream=stream)
    assert bench.process_spool.unfinished() == []


def test_by_default_all_are_taken(make_bench: MakeBench) -> None:
    """Without the setting nothing changes."""
    make_bench().accept(b"{}", stream="any_thing-9")


@pytest.mark.parametrize("wrong", ["Web", "a,,b", "a b", "a;b", ","])
def test_what_fits_no_stream_is_a_mistake(
    tmp_path_factory: pytest.TempPathFactory, wrong: str
) -> None:
    """A list that no stream's name could be in ends the start."""
    with pytest.raises(SettingsError, match="STREAMS"):
        settings_for(tmp_path_factory.mktemp("spool"), STREAMS=wrong)
