"""The check of a bucket in S3, or in what speaks its protocol: is it there, and may we?

boto3 blocks, and its limits of time hold for each piece of an answer: one that comes byte by byte would hold a thread
for hours. So it says what to send and signs it, and httpx sends that on the event loop, where it ends at its deadline.
"""

from __future__ import annotations

import asyncio
from typing import Any, Unpack
from urllib.parse import urlsplit

from tasker_health.checks.dependencies import Dependency, Terms, client_of, tls_of
from tasker_health.checks.dependencies.http import reason_of_status
from tasker_health.checks.dependencies.place import http_host_of
from tasker_health.deadline import in_thread, retrieve
from tasker_health.errors import CheckFailed, ConfigurationError
from tasker_health.model import Reason

_OK = 200
_BAD_REQUEST = 400


class S3Check(Dependency):
    """Sends HeadBucket over a new connection.

    Args:
        name: The name of the check.
        bucket: The bucket.
        endpoint: Where the service is; `None`: AWS, in *region*.
        region: The region; `None`: as boto3 finds it (`AWS_REGION`, its files), `us-east-1` with an endpoint.
        access_key_id: Who we are; `None`: as boto3 finds it (`AWS_ACCESS_KEY_ID`, its files, the machine's role).
        secret_access_key: What proves it.
        ca_file: PEM file of who signs the service's certificate; `None`: who the machine trusts.
        terms: See `Terms`.

    Raises:
        ConfigurationError: The endpoint is no address, one of the keys is missing, or boto3 or httpx is not installed.
    """

    def __init__(
        self,
        name: str,
        bucket: str,
        *,
        endpoint: str | None = None,
        region: str | None = None,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        ca_file: str | None = None,
        **terms: Unpack[Terms],
    ) -> None:
        super().__init__(name, [secret_access_key], **terms)
        if endpoint is not None:
            http_host_of(name, endpoint)
        if (access_key_id is None) is not (secret_access_key is None):
            raise ConfigurationError(f"check {name}: access_key_id and secret_access_key: give both, or none")
        client_of(name, "boto3", "boto3", "s3")
        client_of(name, "httpx", "httpx", "s3")
        self._bucket = bucket
        self._options = {
            "endpoint_url": endpoint,
            "region_name": region or (endpoint and "us-east-1"),
            "aws_access_key_id": access_key_id,
            "aws_secret_access_key": secret_access_key,
        }
        self._tls = tls_of(name, ca_file)
        self._client: Any = None
        self._signing: asyncio.Future[Any] | None = None

    async def _look(self) -> None:
        from tasker_health.checks.dependencies.http_exchange import status_of

        request = await self._signed()
        await self._resolver.resolve(urlsplit(request.url).hostname or "")
        status = await status_of(request.method, request.url, dict(request.headers.items()), tls=self._tls)
        if status != _OK:
            # 301 and 400: the bucket is in another region than the one that was signed for.
            reason = Reason.INVALID if status == _BAD_REQUEST else reason_of_status(status)
            raise CheckFailed(reason, f"HeadBucket {self._bucket}: {status}")

    async def _signed(self) -> Any:
        """Return the request, which boto3 makes in a thread: it may ask others who we are, and waits for them."""
        if self._signing is None or self._signing.done():
            self._signing = in_thread(self._sign, f"check-{self.name}")
            self._signing.add_done_callback(retrieve)
        return await asyncio.shield(self._signing)

    def _sign(self) -> Any:
        if self._client is None:
            self._client = _client(self._options)
        try:
            self._client.head_bucket(Bucket=self._bucket)
        except _SignedError as signed:
            return signed.request
        raise CheckFailed(Reason.ERROR, "boto3 has made no request")

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        del loop
        self._signing = None

    def _leave_to_parent(self) -> None:
        self._signing = self._client = None

    def _reason(self, error: Exception) -> Reason:
        from botocore import exceptions as boto

        from tasker_health.checks.dependencies.http_exchange import reason_of_exchange

        if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError | boto.CredentialRetrievalError):
            return Reason.AUTHENTICATION_FAILED
        if isinstance(error, boto.NoRegionError | boto.ParamValidationError | boto.ProfileNotFound):
            return Reason.INVALID
        return reason_of_exchange(error)


class _SignedError(Exception):
    """Not an error: the way out of boto3, with the request that it was about to send."""

    def __init__(self, request: Any) -> None:
        super().__init__()
        self.request = request


def _client(options: dict[str, Any]) -> Any:
    import boto3
    from botocore.config import Config

    config = Config(signature_version="s3v4", retries={"total_max_attempts": 1}, connect_timeout=1, read_timeout=1)
    # A session of our own: boto3's default one is the application's.
    client = boto3.session.Session().client("s3", config=config, **options)
    client.meta.events.register("before-send.s3.HeadBucket", _hand_over)
    return client


def _hand_over(request: Any, **_: Any) -> None:
    raise _SignedError(request)
