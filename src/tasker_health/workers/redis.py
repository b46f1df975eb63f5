"""Heartbeats in a Redis or Valkey: one field a worker in one hash, by the server's own clock.

Each beat is one script: the field, its time in a sorted set beside it, and a few old ones away. Both keys end by
themselves when nobody beats any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from tasker_health.cache.redis import Question, RedisCache
from tasker_health.errors import CacheFault, LedgerFault
from tasker_health.model import Reason
from tasker_health.workers import MOST_WORKERS, Beat, Seen
from tasker_health.workers.document import decoded_pairs, encoded, key_of

# All that is read before the first write is the clock, so replicas get the effects and not the script (Redis
# documentation, "Scripting with Lua", "Script replication").
_BEAT = """
local t = redis.call('TIME')
local now = t[1] + t[2] / 1000000
local text = string.format('%.6f', now)
redis.call('HSET', KEYS[1], ARGV[1], '[' .. text .. ',' .. ARGV[2] .. ']')
redis.call('ZADD', KEYS[2], text, ARGV[1])
local old = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('(%.6f', now - ARGV[3]), 'LIMIT', 0, 100)
for _, id in ipairs(old) do redis.call('HDEL', KEYS[1], id) redis.call('ZREM', KEYS[2], id) end
local ends = math.ceil(now + ARGV[3]) + 1
redis.call('EXPIREAT', KEYS[1], ends)
redis.call('EXPIREAT', KEYS[2], ends)
return 1
"""
_LEAVE = "redis.call('ZREM', KEYS[2], ARGV[1]) return redis.call('HDEL', KEYS[1], ARGV[1])"
# A few values in place of a thousand, which take several times as long to read.
_READ = """
local t, parts, part, size = redis.call('TIME'), {}, {}, 0
local function add(values)
    for _, value in ipairs(values) do
        if value then
            part[#part + 1], size = value, size + #value
            if size > 65536 then
                parts[#parts + 1] = table.concat(part, ',')
                part, size = {}, 0
            end
        end
    end
end
if redis.call('HLEN', KEYS[1]) <= tonumber(ARGV[1]) then
    add(redis.call('HVALS', KEYS[1]))
else
    for at = 0, ARGV[1] - 1, 1000 do
        local stop = math.min(at + 1000, ARGV[1]) - 1
        add(redis.call('HMGET', KEYS[1], unpack(redis.call('ZREVRANGE', KEYS[2], at, stop))))
    end
end
parts[#parts + 1] = table.concat(part, ',')
return {t[1], t[2], parts}
"""


class RedisLedger:
    """Keeps heartbeats in a hash.

    Args:
        cache: The connection: a cache in the same server, which belongs to the ledger from now on.
        namespace: First part of both keys.
        forget_after_seconds: Fields that are older are deleted.
    """

    name = "redis"

    def __init__(self, cache: RedisCache, *, namespace: str, forget_after_seconds: float) -> None:
        self._cache = cache
        # In braces, so that a cluster keeps both in one slot.
        self._keys = f"{{{namespace}:workers}}", f"{{{namespace}:workers}}:times"
        self._forget_after_seconds = forget_after_seconds

    async def beat(self, beat: Beat) -> None:
        """Put *beat* in the place of its worker's last one."""
        await self._run(_BEAT, key_of(beat.worker_id), encoded(beat), str(self._forget_after_seconds))

    async def leave(self, worker_id: str) -> None:
        """Take the worker's beat away."""
        await self._run(_LEAVE, key_of(worker_id))

    async def read(self) -> Sequence[Seen]:
        """Return the newest beat of each worker, the newest first."""
        match await self._run(_READ, str(MOST_WORKERS)):
            case [bytes(seconds), bytes(microseconds), list(parts)]:
                now = int(seconds) + int(microseconds) / 1e6
                found: list[Seen] = []
                for part in parts:
                    pairs = decoded_pairs(part)
                    if pairs is None:  # somebody else has written into the hash
                        return await self._read_one_by_one(now)
                    found += _seen(pairs, now)
                    await asyncio.sleep(0)  # others have a turn
                return sorted(found, key=lambda each: -each.at)
        raise LedgerFault(Reason.INVALID, "what answers is no Redis")

    async def close(self) -> None:
        """Close the connection."""
        await self._cache.close()

    async def _read_one_by_one(self, now: float) -> list[Seen]:
        """Return the beats among what there is."""
        values = await self._ask(lambda connection: connection.ask("HVALS", self._keys[0]))
        found = [pair for value in values for pair in decoded_pairs(value) or []]
        return sorted(_seen(found, now), key=lambda each: -each.at)[:MOST_WORKERS]

    async def _run(self, script: str, *words: str) -> Any:
        return await self._ask(lambda connection: connection.ask("EVAL", script, 2, *self._keys, *words))

    async def _ask(self, question: Question) -> Any:
        try:
            return await self._cache.ask(question)
        except CacheFault as fault:
            raise LedgerFault(fault.reason, str(fault)) from None


def _seen(pairs: Iterable[tuple[float, Beat]], now: float) -> list[Seen]:
    return [Seen(beat, at, max(0.0, now - at)) for at, beat in pairs]
