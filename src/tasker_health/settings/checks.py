"""The settings of checks of what a service depends on, by name."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from tasker_health.settings.access import HeaderName
from tasker_health.settings.kinds import Count, Group, PositiveSeconds, Words

_EVERYWHERE = frozenset(
    {"kind", "url", "critical", "timeout_seconds", "groups", "fail_after", "recover_after", "ca_file"}
)
_OF_KIND = {
    "database": frozenset({"require_writable"}),
    "redis": frozenset({"require_writable"}),
    "rabbitmq": frozenset({"queue"}),
    "kafka": frozenset({"topic", "mechanism"}),
    "s3": frozenset({"bucket", "region", "access_key_id", "secret_access_key"}),
    "http": frozenset({"method", "expected_status", "headers", "proxy"}),
}


def _statuses(value: Any) -> Any:
    words = value.split(",") if isinstance(value, str) else value
    try:
        numbers = tuple(int(str(word)) for word in words)
    except (TypeError, ValueError):
        raise ValueError("codes such as 200,204") from None
    return numbers


def _hyphenated(value: str) -> str:
    # The name of a variable of the environment has no hyphen, and hardly a header has an underscore.
    return value.replace("_", "-")


_Header = Annotated[HeaderName, AfterValidator(_hyphenated)]
_Status = Annotated[int, Field(ge=100, le=599)]


class CheckSettings(Group):
    """Something that this service depends on, looked at on a connection of its own."""

    kind: Literal["database", "redis", "rabbitmq", "kafka", "s3", "http"] = Field(description="What it is.")
    url: SecretStr | None = Field(
        None,
        description="Where it is, with user and password: a SQLAlchemy URL, redis://, rediss://, amqp://, amqps://,"
        " kafka://host:9092,host:9092, kafkas:// (TLS), https://; s3: the endpoint, unset: AWS.",
    )
    critical: bool = Field(False, description="Not ready without it.")
    timeout_seconds: PositiveSeconds | None = Field(
        None, description="Longest wait for it; unset: as long as the whole answer may take."
    )
    groups: Words = Field((), description="Names under which /ready/<group> answers it together with others.")
    fail_after: Count = Field(1, description="So many runs in a row must fail before it does.")
    recover_after: Count = Field(1, description="So many runs in a row must be well before it is again.")
    ca_file: str | None = Field(
        None, min_length=1, description="PEM file of who signs its certificate; unset: who the machine trusts."
    )
    require_writable: bool = Field(False, description="database, redis: one that cannot be written to is an error.")
    queue: str | None = Field(None, min_length=1, description="rabbitmq: a queue that must be there.")
    topic: str | None = Field(None, min_length=1, description="kafka: a topic that must be there, with leaders.")
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="kafka: how the user of the URL says who it is; unset: PLAIN."
    )
    bucket: str | None = Field(None, min_length=1, description="s3: the bucket.")
    region: str | None = Field(None, min_length=1, description="s3: its region; unset: as boto3 finds it.")
    access_key_id: str | None = Field(None, min_length=1, description="s3: who we are; unset: as boto3 finds it.")
    secret_access_key: SecretStr | None = Field(None, description="s3: what proves it.")
    method: Literal["GET", "HEAD", "OPTIONS"] | None = Field(None, description="http: the method; unset: GET.")
    expected_status: Annotated[tuple[_Status, ...], BeforeValidator(_statuses)] = Field(
        (), description="http: codes that are well; unset: 200 to 299."
    )
    headers: dict[_Header, SecretStr] = Field({}, description="http: what is sent, by the name of the header.")
    proxy: SecretStr | None = Field(None, description="http: URL of a proxy; those of the environment are not used.")

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        strange = self.model_fields_set - _EVERYWHERE - _OF_KIND[self.kind]
        if strange:
            raise ValueError(f"{min(strange)}: not of kind {self.kind}; remove it, or correct the kind")
        return self
