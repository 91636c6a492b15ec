"""Services on one queue: machines that share nothing but it and the bucket."""

from tests.support.redis.fixtures import own_redis, session_redis, shared_redis
from tests.support.sqs.fixtures import sqs

__all__ = ["own_redis", "session_redis", "shared_redis", "sqs"]
