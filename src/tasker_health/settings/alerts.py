"""Settings of the alerts: which rules there are, and who is told."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from tasker_health.settings.kinds import Count, Group, Name, PositiveSeconds, Seconds, Words

_Switch = Literal["off", "unhealthy", "degraded"]


def _web(value: SecretStr) -> SecretStr:
    url = value.get_secret_value()
    if not (url.startswith(("https://", "http://")) and url.isprintable() and " " not in url and _has_host(url)):
        raise ValueError("a URL that begins with https:// or http://, with a host and without spaces")
    return value


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an address that is none
        return False


_TAKEN = frozenset({"pagerduty", "datadog", "opentelemetry"})
"""Names of those who are told, which no webhook can have: what waits and is counted goes by name."""

_Url = Annotated[SecretStr, AfterValidator(_web)]


class RuleSettings(Group):
    """Which rules are looked at. None of them fires on a figure that is not known."""

    total_failure_ratio: bool = Field(True, description="The guide's: of all tasks ever, more than 5 % have failed.")
    window_failure_ratio: bool = Field(
        True, description="Of the tasks settled within the window, more than health.degraded_failure_ratio have failed."
    )
    slos: bool = Field(True, description="An objective is used up at a rate that pages.")
    status: _Switch = Field("unhealthy", description="The status is unhealthy, or anything but healthy.")
    checks: _Switch = Field(
        "unhealthy", description="A critical check fails (unhealthy), or any check is anything but ok (degraded)."
    )


class PagerDutySettings(Group):
    """PagerDuty, by its Events API v2."""

    routing_key: SecretStr | None = Field(
        None, description="Integration key of the service that is paged; unset: none."
    )
    url: str = Field(
        "https://events.pagerduty.com", pattern="^https://", description="Where it is; https://events.eu.pagerduty.com."
    )
    ca_file: str | None = Field(
        None, min_length=1, description="PEM file of who signs its certificate; unset: who the machine trusts."
    )


class WebhookSettings(Group):
    """Somebody who is told by a POST."""

    kind: Literal["signed", "slack"] = Field(
        "signed", description="signed: our own JSON with a signature; slack: what Slack and its likes understand."
    )
    url: _Url = Field(description="Where it is; secret, as Slack's are.")
    signing_key: SecretStr | None = Field(None, description="signed: what the body is signed with (HMAC-SHA256).")
    ca_file: str | None = Field(
        None, min_length=1, description="PEM file of who signs its certificate; unset: who the machine trusts."
    )

    @model_validator(mode="after")
    def _is_signed(self) -> Self:
        if (self.kind == "signed") != (self.signing_key is not None):
            raise ValueError("signing_key: needed where kind is signed, and only there")
        if self.signing_key is not None and self.signing_key.get_secret_value() in {"", "whsec_"}:
            raise ValueError("signing_key: without a key, everybody can sign")
        return self


class AlertSettings(Group):
    """Who is told when something is wrong, and when it is over."""

    interval_seconds: PositiveSeconds = Field(15, description="Period of looking at the rules.")
    for_seconds: Seconds = Field(60, description="A rule must hold for so long before anybody is told.")
    clear_seconds: Seconds = Field(
        300, description="It must not hold for so long before it is said to be over: flapping is one alert."
    )
    update_seconds: PositiveSeconds = Field(
        900, description="An alert that goes on is told again with new figures no more often than this."
    )
    timeout_seconds: PositiveSeconds = Field(10, description="Longest wait for whoever is told.")
    most_pending: Count = Field(200, description="Most events that wait for one of those who are told.")
    keep_seconds: PositiveSeconds = Field(
        86_400, description="How long an event waits for somebody who does not answer, before it is dropped."
    )
    links: Words = Field((), description="URLs that are told along, such as a dashboard or a runbook.")
    rules: RuleSettings = Field(RuleSettings(), description="Which rules are looked at.")
    pagerduty: PagerDutySettings = Field(PagerDutySettings(), description="PagerDuty.")
    webhooks: dict[Name, WebhookSettings] = Field({}, description="Webhooks by name.")

    @model_validator(mode="after")
    def _are_told_apart(self) -> Self:
        if taken := _TAKEN.intersection(self.webhooks):
            raise ValueError(f"webhooks.{min(taken)}: this name is taken; what waits would be another's")
        return self

    @property
    def are_wanted(self) -> bool:
        """Whether there is anybody to be told."""
        return self.pagerduty.routing_key is not None or bool(self.webhooks)
