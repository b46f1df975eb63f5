"""What a reason means in plain words, and what to do about it: the same on the page and in the terminal.

A sentence names neither the check nor the source: who shows it says that. It names the command, the setting or the page
of the documentation that helps, and no address, because the page may lead nowhere but to its own server.
"""

from __future__ import annotations

from tasker_health.model import Reason, StatusReason
from tasker_health.work import Cause

_OF_STATUS = {
    StatusReason.SOURCE_UNREADABLE: (
        "A source cannot be read now; its last figures are shown with their true age.",
        "See beside the source why, then run `tasker-health doctor sources` where the service runs.",
    ),
    StatusReason.FACTS_STALE: (
        "The last figures are too old to be relied on.",
        "Make the source readable again: `tasker-health doctor` says what is in the way.",
    ),
    StatusReason.FAILURE_RATIO: (
        "Too many of the tasks that ended lately have failed.",
        "Look in the workflow engine at what the newest failed tasks say; the limit is health.degraded_failure_ratio.",
    ),
    StatusReason.BLOCKED_TASKS: (
        "Tasks are blocked: they cannot move by themselves.",
        "Look at their failed steps and for workers that died, then resume, resolve or cancel them in the engine.",
    ),
    StatusReason.STUCK_TASKS: (
        "Running tasks have not moved for long.",
        "See that their workers are alive and what they wait for; the limit is health.stuck_after_seconds.",
    ),
    StatusReason.NO_PROGRESS: (
        "Work that could be taken waits longer and longer, and nothing ends.",
        "See that workers of its queue are alive and take work: `tasker-health stuck` tells the causes.",
    ),
    StatusReason.CONNECTIONS: (
        "The database server has nearly no connection left.",
        "Find who holds them, make pools smaller or allow more; `tasker-health doctor database` counts them.",
    ),
    StatusReason.ERROR_BUDGET: (
        "Work fails so often that what an objective bears is soon used up.",
        "See which objective burns and since when, then look at what its newest failed tasks say.",
    ),
    StatusReason.NO_SOURCE: (
        "No source of tasks is configured, so none are counted.",
        "Set [sources.<name>] with kind and url, as the pages on sources say.",
    ),
}

_OF_CHECK = {
    Reason.TIMEOUT: (
        "It gave no answer in time, or waits for a lock that others hold.",
        "See whether it hangs or is overloaded; `tasker-health doctor` measures how long it takes.",
    ),
    Reason.REFUSED: (
        "It is there and takes no connections.",
        "Start it, or wait until it has started; see that host and port are the right ones.",
    ),
    Reason.UNREACHABLE: (
        "It cannot be reached: no such host, no route, or the connection broke.",
        "See that its address is right, that it runs, and that the network lets this process through.",
    ),
    Reason.AUTHENTICATION_FAILED: (
        "It does not accept the user or the password, or the user may not read.",
        "Set the right credentials, or grant the missing right; the log names which.",
    ),
    Reason.TOO_MANY_CONNECTIONS: (
        "Its server has no connection left.",
        "Find who holds them, make pools smaller, or allow more on the server.",
    ),
    Reason.POOL_EXHAUSTED: (
        "The pool of connections that it uses has none left.",
        "Look for what does not give connections back, or make that pool larger.",
    ),
    Reason.READ_ONLY: (
        "It cannot be written to, and has to be.",
        "See whether it is a replica, or was set read-only; point the settings at the one that takes writes.",
    ),
    Reason.MISSING: (
        "What is asked for is not there: a file, a database, a table or a name.",
        "See that the name in the settings is right, and that it has been made.",
    ),
    Reason.PENDING: (
        "The schema is behind the code.",
        "Apply the migrations that are pending; the log names them.",
    ),
    Reason.AHEAD: (
        "The schema is ahead of the code, as during a rolling release.",
        "Let the release end; if it has, this process runs old code.",
    ),
    Reason.UNKNOWN_VERSION: (
        "It is of a version that is not known here.",
        "Compare its version with those that the pages on sources name, then change one of the two.",
    ),
    Reason.INVALID: (
        "It is there and is not what it should be.",
        "See that address and settings mean the right thing; `tasker-health doctor` and the log say what is wrong.",
    ),
    Reason.STALLED: (
        "This process, or a worker of it, does not come to its turn.",
        "Look for work that blocks the event loop or takes the whole processor.",
    ),
    Reason.DRAINING: (
        "This process is about to stop.",
        "Nothing is to be done if it was told to; if not, see what ends it.",
    ),
    Reason.NOT_RUN: (
        "There was no time to look yet.",
        "Wait a moment; if it stays so, see how long it takes and health.readiness_timeout_seconds.",
    ),
    Reason.ERROR: (
        "It failed in a way that has no name here.",
        "See what the log of the service says of it.",
    ),
}

_OF_CAUSE = {
    Cause.WORKER_DEAD: (
        "The worker that has it is dead.",
        "Start that worker again, or put the task back by the means of its engine.",
    ),
    Cause.LEASE_EXPIRED: (
        "The time for which its worker had claimed it is over, and nobody has claimed it since.",
        "See that the engine's clean-up of expired claims runs, then put the task back by the means of its engine.",
    ),
    Cause.NO_WORKER_OF_VERSION: (
        "It belongs to a version of the application that no living worker runs.",
        "Start a worker of that version, or move the task to the new one.",
    ),
    Cause.NO_WORKER: (
        "No living worker takes work from its queue.",
        "Start a worker for that queue.",
    ),
    Cause.RETRIES_EXHAUSTED: (
        "It has failed as often as it may, and nothing will try it again.",
        "Mend what it failed of, then retry or cancel it by the means of its engine.",
    ),
    Cause.WAITING_FOR_PARENT: (
        "It waits for another task that cannot move or has failed.",
        "Look at what it waits for: that has to go on, or be cancelled, first.",
    ),
    Cause.LOCKED: (
        "Another task holds the lock that it needs.",
        "Look at the task that holds the lock.",
    ),
    Cause.PAUSED: (
        "Somebody or something has paused it, or its queue.",
        "Resume it when it may go on.",
    ),
    Cause.NOT_TAKEN: (
        "It has been ready for long and no worker has taken it.",
        "See whether workers are all busy, or ask the broker for other queues; start more of them.",
    ),
    Cause.RUNNING_LONG: (
        "It has been running far longer than others of its kind.",
        "Look at what it does; its worker lives, so it may yet end.",
    ),
    Cause.NO_PROGRESS: (
        "It is running and none of its steps has moved for long.",
        "See what its step waits for; the limit is health.stuck_after_seconds.",
    ),
}


def why_stuck(cause: Cause) -> str:
    """Return in one plain sentence why a task with *cause* stands still."""
    return _OF_CAUSE[cause][0]


def what_to_do_about(cause: Cause) -> str:
    """Return in one plain sentence what to do about a task with *cause*, whatever its engine."""
    return _OF_CAUSE[cause][1]


def cause_of(reason: StatusReason | Reason) -> str:
    """Return in one plain sentence what *reason* means."""
    return _words(reason)[0]


def remedy_of(reason: StatusReason | Reason) -> str:
    """Return in one plain sentence what to do about *reason*."""
    return _words(reason)[1]


def _words(reason: StatusReason | Reason) -> tuple[str, str]:
    # Both are strings, so one table could not tell a reason of one list from the same word in the other.
    return _OF_STATUS[reason] if isinstance(reason, StatusReason) else _OF_CHECK[reason]
