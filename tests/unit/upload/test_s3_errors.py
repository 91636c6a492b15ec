"""What a failed call means: whether it may pass, who has to act, and what helps."""

from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    FlexibleChecksumError,
    NoCredentialsError,
    ProfileNotFound,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
    UnauthorizedSSOTokenError,
)

from workers.errors import (
    ObjectExists,
    ObjectMissing,
    ObjectRejected,
    StoreError,
    StoreUnavailable,
)
from workers.upload.s3_errors import REASONS, meaning


def answer(code: str, status: int) -> ClientError:
    """Make the error that botocore makes of an answer."""
    response: Any = {
        "Error": {"Code": code, "Message": "m"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "PutObject")


def reason(error: StoreError) -> str | None:
    """Return the reason of an error that may pass."""
    return getattr(error, "reason", None)


@pytest.mark.parametrize(
    ("code", "status", "wanted"),
    [
        ("SlowDown", 503, "throttled"),
        ("TooManyRequests", 429, "throttled"),
        ("NeverSeenBefore", 429, "throttled"),
        ("ThrottlingException", 400, "throttled"),
        ("KMS.ThrottlingException", 400, "throttled"),
        ("InternalError", 500, "server"),
        ("ServiceUnavailable", 503, "server"),
        ("502", 502, "server"),
        ("KMS.InternalException", 500, "server"),
        ("KMS.KMSInternalException", 400, "server"),
        ("AccessDenied", 403, "denied"),
        ("InvalidAccessKeyId", 403, "denied"),
        ("Unauthorized", 401, "denied"),
        ("403", 403, "denied"),
        ("ExpiredToken", 400, "denied"),
        ("InvalidToken", 400, "denied"),
        ("TokenRefreshRequired", 400, "denied"),
        ("AuthorizationHeaderMalformed", 400, "denied"),
        ("KMS.DisabledException", 400, "denied"),
        ("KMS.NotFoundException", 400, "denied"),
        ("KMS.KMSInvalidStateException", 400, "denied"),
        ("NoSuchBucket", 404, "bucket"),
        ("PermanentRedirect", 301, "bucket"),
        ("QuotaExceeded", 403, "bucket"),
        ("RequestTimeTooSkewed", 403, "other"),
        ("InvalidObjectState", 403, "other"),
        ("InvalidStorageClass", 400, "other"),
        ("NotImplemented", 501, "other"),
        ("501", 501, "other"),
        ("413", 413, "other"),
        ("MissingContentLength", 411, "other"),
        ("ConditionalRequestConflict", 409, "other"),
        ("RequestTimeout", 400, "other"),
        ("BadDigest", 400, "other"),
        ("NeverSeenBefore", 418, "other"),
    ],
)
def test_what_may_pass(code: str, status: int, wanted: str) -> None:
    """Each answer that may pass has the reason by which it is counted and waited for."""
    error = meaning(answer(code, status))
    assert type(error) is StoreUnavailable
    assert (reason(error), wanted in REASONS) == (wanted, True)


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("PreconditionFailed", 412, ObjectExists),
        ("412", 412, ObjectExists),
        ("NoSuchKey", 404, ObjectMissing),
        ("404", 404, ObjectMissing),
        ("EntityTooLarge", 400, ObjectRejected),
        ("EntityTooLarge", 413, ObjectRejected),
        ("KeyTooLongError", 400, ObjectRejected),
        ("MetadataTooLarge", 400, ObjectRejected),
        ("InvalidURI", 400, ObjectRejected),
    ],
)
def test_what_is_known_of_the_object(code: str, status: int, kind: type[StoreError]) -> None:
    """Only S3's own word about the object itself condemns it."""
    assert type(meaning(answer(code, status))) is kind


@pytest.mark.parametrize(
    "error",
    [
        NoCredentialsError(),
        CredentialRetrievalError(provider="iam-role", error_msg="500"),
        ProfileNotFound(profile="p"),
        UnauthorizedSSOTokenError(),
    ],
)
def test_without_credentials_it_is_denied(error: Exception) -> None:
    """Missing, expired and unreadable credentials are one reason: an operator's."""
    assert reason(meaning(error)) == "denied"


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="http://h", error="refused"),
        ReadTimeoutError(endpoint_url="http://h", error="t"),
        SSLError(endpoint_url="https://h", error="certificate verify failed"),
        OSError(),
    ],
)
def test_without_an_answer_it_is_the_network(error: Exception) -> None:
    """A call that got no answer is worth another try."""
    assert reason(meaning(error)) == "network"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (answer("NotImplemented", 501), "S3_CONDITIONAL_PUT=off"),
        (answer("501", 501), "S3_CONDITIONAL_PUT=off"),
        (answer("XAmzContentSHA256Mismatch", 400), "AWS_REQUEST_CHECKSUM_CALCULATION"),
        (answer("RequestTimeTooSkewed", 403), "clock"),
        (answer("QuotaExceeded", 403), "quota"),
        (answer("413", 413), "proxy"),
        (answer("AuthorizationHeaderMalformed", 400), "AWS_REGION"),
        (SSLError(endpoint_url="https://h", error="e"), "AWS_CA_BUNDLE"),
        (FlexibleChecksumError(error_msg="no match"), "decompress"),
    ],
)
def test_what_helps_is_named_first(error: Exception, words: str) -> None:
    """Logs are cut behind: the setting that helps stands before S3's own words."""
    text = str(meaning(error))
    assert words in text.partition(": ")[0]
    assert str(error) in text


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="http://user:hunter2@host:1/b/k"),
        ProxyConnectionError(proxy_url="http://user:hunter2@proxy", error="refused"),
        ValueError("Invalid endpoint: https://user:hunter2@host"),
    ],
)
def test_no_password_of_a_url_is_repeated(error: Exception) -> None:
    """What stands before the `@` of a URL reaches no log."""
    text = str(meaning(error))
    assert "hunter2" not in text
    assert "host" in text or "proxy" in text
