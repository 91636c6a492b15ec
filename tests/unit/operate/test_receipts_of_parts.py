"""Receipts of collections over several partitions: they say which payloads they are of."""

from pathlib import Path

import pytest

from tests.support.bench import settings_for
from tests.support.doubles import DictBucket
from workers.operate.receipts import MAX_ID_RANGES, Receipts, UnknownReceipt
from workers.segments.naming import segment_name
from workers.segments.partitions import Indexes
from workers.segments.segment import Header

NAME = segment_name(1)
HEADER = Header(name=NAME, stream="s", bucket="bucket", key=f"s/1/{NAME}.gz", compression="gzip")
MANY = tuple((2 * n, 2 * n) for n in range(MAX_ID_RANGES + 1))


@pytest.fixture
def receipts(tmp_path: Path) -> Receipts:
    """Make the receipts of a service where no segment is known."""
    return Receipts(settings_for(tmp_path), bucket=DictBucket(), look=lambda _: None)


@pytest.mark.parametrize("indexes", [((0, 3), (7, 7)), ((10**9, 2 * 10**9),), MANY[:-1]])
def test_a_receipt_that_is_looked_up_has_its_indexes(receipts: Receipts, indexes: Indexes) -> None:
    """Those of the 202, out of its id, which is safe in a URL and no longer than it has to be."""
    id = receipts.issuer(HEADER).issue(7, 3, indexes)
    assert receipts.look_up(id).indexes == indexes
    assert set(id) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    with pytest.raises(UnknownReceipt):
        receipts.claim(id.replace(f".{indexes[0][0]}-", ".5-", 1))


def test_too_many_ranges_are_not_in_an_id(receipts: Receipts) -> None:
    """The id is that of a receipt without them, and so is the receipt."""
    issuer = receipts.issuer(HEADER)
    assert issuer.issue(7, 3, MANY) == issuer.issue(7, 3)
    assert receipts.look_up(issuer.issue(7, 3)).indexes is None
