"""The cache of what values are in a key: right with anything in it, and bounded."""

from workers.segments.values import MAX_CACHED, MAX_CACHED_BYTES, Cache


def test_a_cache_is_bounded() -> None:
    """It never has more than its bound, however many values come, and answers each rightly."""
    cache, sizes = Cache(bytes.decode), set()
    for number in range(3 * MAX_CACHED):
        assert cache[b"%d" % number] == str(number)
        sizes.add(len(cache))
    assert max(sizes) == MAX_CACHED


def test_a_value_is_made_once_while_it_is_held() -> None:
    """A hit calls nothing; what is too long to be held is made each time."""
    made: list[bytes] = []

    def make(value: bytes) -> int:
        made.append(value)
        return len(value)

    cache = Cache(make)
    short, long = b"x" * MAX_CACHED_BYTES, b"x" * (MAX_CACHED_BYTES + 1)
    assert [cache[short], cache[short], cache[long], cache[long]] == [256, 256, 257, 257]
    assert made == [short, long, long]
