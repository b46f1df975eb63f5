"""What a doctor finds of the schema: how many migrations are pending or ahead, and which command mends that."""

from __future__ import annotations

from tasker_health.assembly import migration_checks
from tasker_health.cli.doctor.database import told
from tasker_health.cli.doctor.findings import Finding, error, not_looked_at, warning
from tasker_health.cli.doctor.walk import Visit
from tasker_health.database import Database
from tasker_health.errors import CheckDegraded, CheckFailed, DatabaseFault
from tasker_health.model import Reason
from tasker_health.settings import Settings

_PATIENCE_SECONDS = 8.0


async def look(visit: Visit) -> list[Finding]:
    """Return where the schema is, against where the code expects it.

    Raises:
        ConfigurationError: The tool, or what it reads, is not there.
    """
    health = visit.settings.health.model_copy(update={"readiness_timeout_seconds": _PATIENCE_SECONDS})
    databases: list[Database] = []
    checks = migration_checks(visit.settings.model_copy(update={"health": health}), databases)
    if not checks:
        measured = f"not watched: migrations.kind is {visit.settings.migrations.kind}"
        return [Finding(what="schema", measured=measured)]
    try:
        await checks[0]()
    except CheckFailed as failed:
        return [_of_the_schema(failed, visit.settings)]
    except DatabaseFault as fault:
        if cause := visit.cause("database", "pool"):
            return [not_looked_at("schema", cause)]
        if fault.reason is Reason.MISSING:
            return [error("schema", f"no version table: {fault}", command_of(visit.settings))]
        return [error("schema", *told(fault))]
    finally:
        for database in databases:
            await database.close()
    return [Finding(what="schema", measured="where the code expects it")]


def _of_the_schema(failed: CheckFailed, settings: Settings) -> Finding:
    measured = f"{failed.reason}: {failed}"
    if failed.reason is not Reason.AHEAD:
        return error("schema", measured, command_of(settings))
    remedy = "put the code there that they belong to; in a rolling update it ends with it"
    return (warning if isinstance(failed, CheckDegraded) else error)("schema", measured, remedy)


def command_of(settings: Settings) -> str:
    """Return the command that applies what is pending."""
    wanted = settings.migrations
    location = wanted.location or ""
    if wanted.kind == "alembic":
        file = f"-c {location} " if location.endswith((".ini", ".toml")) else ""
        return f"alembic {file}upgrade head"
    if wanted.kind == "django":
        return "python manage.py migrate"
    return "bin/rails db:migrate" if wanted.kind == "rails" else "dbos migrate"
