"""What a failed call on S3 means: the one place that reads botocore's errors. Calls nothing."""

import re

import botocore.exceptions

from workers.errors import (
    ObjectExists,
    ObjectMissing,
    ObjectRejected,
    StoreError,
    StoreUnavailable,
)

# Words for why a PUT failed, as in the metrics.
REASONS = ("throttled", "denied", "bucket", "server", "network", "other")

# S3's error codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
# Only these condemn the object itself; an operator can mend anything else.
_REJECTED = frozenset({"EntityTooLarge", "KeyTooLongError", "MetadataTooLarge", "InvalidURI"})
_THROTTLED = frozenset(
    {
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestLimitExceeded",
        "BandwidthLimitExceeded",
        "TooManyRequests",
        "TooManyRequestsException",
        "KMS.ThrottlingException",
    }
)
_BUCKET = frozenset(
    {
        "NoSuchBucket",
        "InvalidBucketName",
        "PermanentRedirect",
        "IllegalLocationConstraintException",
        "QuotaExceeded",
    }
)
# Most come with status 400, where a status alone would not tell.
_DENIED = frozenset(
    {
        "ExpiredToken",
        "InvalidToken",
        "TokenRefreshRequired",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "AuthorizationHeaderMalformed",
        "InvalidSecurity",
        "MissingSecurityHeader",
        "CredentialsNotSupported",
        "RequestExpired",
    }
)
# https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html: S3 passes them on with
# `KMS.` before them. But for these, an operator has to see to the key.
_KMS_PASSES = ("KMS.Internal", "KMS.KMSInternal", "KMS.DependencyTimeout")

# A clock that is wrong, and an archive, are mended elsewhere than credentials are.
_NOT_DENIED = frozenset({"RequestTimeTooSkewed", "InvalidObjectState"})

_NO_CREDENTIALS = (
    botocore.exceptions.NoCredentialsError,
    botocore.exceptions.PartialCredentialsError,
    botocore.exceptions.CredentialRetrievalError,
    botocore.exceptions.NoAuthTokenError,
    botocore.exceptions.TokenRetrievalError,
    botocore.exceptions.UnknownTokenProviderError,
    botocore.exceptions.UnknownCredentialError,
    botocore.exceptions.MetadataRetrievalError,
    botocore.exceptions.RefreshWithMFAUnsupportedError,
    botocore.exceptions.SSOError,
    botocore.exceptions.LoginError,
    botocore.exceptions.ProfileNotFound,
    botocore.exceptions.ConfigParseError,
    botocore.exceptions.ConfigNotFound,
    botocore.exceptions.InvalidConfigError,
)
_NETWORK = (
    botocore.exceptions.HTTPClientError,
    botocore.exceptions.ConnectionError,
    botocore.exceptions.ReadTimeoutError,
    botocore.exceptions.ResponseStreamingError,
    botocore.exceptions.IncompleteReadError,
    OSError,
)
# There was no connection to send anything on.
_NOT_CONNECTED = (
    botocore.exceptions.EndpointConnectionError,
    botocore.exceptions.ConnectTimeoutError,
)

# What helps, by S3's code, or by the status of an answer without one.
_ADVICE = {
    "NotImplemented": "the store lacks something; if it is conditions, set S3_CONDITIONAL_PUT=off",
    "RequestTimeTooSkewed": "set this machine's clock",
    "QuotaExceeded": "the bucket is full, raise its quota",
    "413": "a proxy takes no body of this size, raise its limit",
    "MissingContentLength": "the store, or a proxy, wants a plain body with its length",
    "XAmzContentSHA256Mismatch": "set AWS_REQUEST_CHECKSUM_CALCULATION=when_required",
    "AuthorizationHeaderMalformed": "see AWS_REGION",
    "InvalidStorageClass": "see S3_STORAGE_CLASS",
    "InvalidEncryptionAlgorithmError": "see S3_SSE",
    "InvalidTag": "see S3_TAGS",
    "InvalidObjectState": "an archive cannot be read before it is restored",
}
_ADVICE["501"] = _ADVICE["NotImplemented"]
_ADVICE["411"] = _ADVICE["MissingContentLength"]

_USERINFO = re.compile(r"//[^/@\s\"']*@")


def meaning(error: Exception) -> StoreError:
    """Tell what an exception of a call means for its object. The text holds no password."""
    if isinstance(error, botocore.exceptions.ClientError):
        return _meaning_of_answer(error)
    text = without_password(f"{error}")
    if isinstance(error, botocore.exceptions.ParamValidationError):
        # Of what we hand it only the bucket's name comes from outside.
        return StoreUnavailable(text, reason="bucket")
    if isinstance(error, _NO_CREDENTIALS):
        return StoreUnavailable(text, reason="denied")
    if isinstance(error, botocore.exceptions.SSLError):
        return StoreUnavailable(f"see AWS_CA_BUNDLE: {text}", reason="network")
    if isinstance(error, botocore.exceptions.FlexibleChecksumError):
        change = "the body was changed on its way; does a proxy decompress it?"
        return StoreUnavailable(f"{change}: {text}", reason="other")
    if isinstance(error, _NETWORK):
        was_sent = not isinstance(error, _NOT_CONNECTED)
        return StoreUnavailable(text, reason="network", was_sent=was_sent)
    # botocore parses what any server sends: no answer of one may end a worker.
    return StoreUnavailable(f"{type(error).__name__}: {text}", reason="other")


def is_not_implemented(error: BaseException | None) -> bool:
    """Whether a store answered that it does not know what was asked for."""
    return isinstance(error, botocore.exceptions.ClientError) and _status(error) == 501


def had_no_effect(error: BaseException) -> bool:
    """Whether a call certainly did nothing: there was no connection, or it was refused (4xx)."""
    if isinstance(error, botocore.exceptions.ClientError):
        return 400 <= _status(error) < 500
    never_sent = (
        *_NO_CREDENTIALS,
        botocore.exceptions.EndpointConnectionError,
        botocore.exceptions.ConnectTimeoutError,
        botocore.exceptions.ParamValidationError,
    )
    return isinstance(error, never_sent)


def code_of(error: BaseException | None) -> str:
    """Return the code of an error answer; an empty text for anything else."""
    if not isinstance(error, botocore.exceptions.ClientError):
        return ""
    return str(error.response.get("Error", {}).get("Code", ""))


def without_password(text: str) -> str:
    """Return a text without what stands before the `@` of a URL in it."""
    return _USERINFO.sub("//", text)


def _meaning_of_answer(error: botocore.exceptions.ClientError) -> StoreError:
    """Tell what an error answer means. Those of HEAD, and of many proxies, have no code."""
    code = code_of(error)
    status = _status(error)
    text = without_password(str(error))
    advice = _ADVICE.get(code) or _ADVICE.get(str(status))
    if advice:
        text = f"{advice}: {text}"
    if code in _BUCKET:
        return StoreUnavailable(text, reason="bucket")
    if code == "PreconditionFailed" or status == 412:
        return ObjectExists(text)
    if code in {"NoSuchKey", "NotFound", "404"} or status == 404:
        return ObjectMissing(text)
    if code in _REJECTED:
        return ObjectRejected(text)
    return StoreUnavailable(text, reason=_reason(code, status))


def _status(error: botocore.exceptions.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _reason(code: str, status: int) -> str:
    if code in _THROTTLED or status == 429:
        return "throttled"
    if code.startswith(_KMS_PASSES):
        return "server"
    if code in _DENIED or code.startswith("KMS."):
        return "denied"
    if status in {401, 403} and code not in _NOT_DENIED:
        return "denied"
    # 501 is no failure that passes: the store lacks what was asked of it.
    return "server" if status >= 500 and status != 501 else "other"
