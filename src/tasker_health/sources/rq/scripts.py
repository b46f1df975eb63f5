"""What is asked of Redis: two scripts that only read. Each sees one moment, for nothing else runs meanwhile.

Both are bounded: of long lists only the length is taken. A job's arguments, result and error never leave Redis.
"""

from __future__ import annotations

MOST_QUEUES = 1000
"""So many queues, workers and limits of rate are looked at."""

MOST_JOBS = 300
"""So many jobs of each state that is not an end are looked at one by one; of more only the number is known."""

FIRST_JOBS = 20
"""Of a queue that is longer, so many are looked at: the first, which have waited for the longest."""

MOST_ENDED = 5000
"""So many jobs that have ended are looked at, all queues together."""

ENDED_AT_ONCE = 200

_JOB = """
local p = ARGV[1]
local function list(t) if #t == 0 then return '[]' end return cjson.encode(t) end
local function job(id)
    local v = redis.call('HMGET', p .. ':job:' .. id, 'status', 'created_at', 'enqueued_at', 'started_at', 'ended_at',
        'worker_name', 'description', 'repeats_left', 'number_of_retries')
    for i = 1, 9 do v[i] = v[i] or '' end
    v[7] = string.match(v[7], '^([%a_][%w_]*%.[%w_%.]+)%(') or ''
    return v
end
"""

LOOK = (
    _JOB
    + """
local most, first, most_queues, most_ended = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local t = redis.call('TIME')
local now = string.format('%d.%06d', t[1], t[2])
local function some(key)
    if redis.call('SCARD', key) > most_queues then return redis.error_reply('TOOMANY ' .. key) end
    return redis.call('SMEMBERS', key)
end
local keys, workers, limits = some(p .. ':queues'), some(p .. ':workers'), some(p .. ':rl-keys')
if keys.err then return keys elseif workers.err then return workers elseif limits.err then return limits end

local names, seen, found = {}, {}, {}
local function add(name) if name ~= '' and not seen[name] then seen[name] = true names[#names + 1] = name end end
for _, key in ipairs(keys) do add(string.sub(key, #p + 8)) end
for _, key in ipairs(workers) do
    local v = redis.call('HMGET', key, 'last_heartbeat', 'death', 'queues', 'version')
    found[#found + 1] = {string.sub(key, #p + 9), v[1] or '', v[2] or '', v[3] or '', v[4] or ''}
    for name in string.gmatch(v[3] or '', '[^,]+') do add(name) end
end

local queues, ended, lengths = {}, {}, {queued = 0, scheduled = 0, deferred = 0, ended = 0}
for i, q in ipairs(names) do
    local function size(kind) return redis.call('ZCARD', p .. ':' .. kind .. ':' .. q) end
    local function kept(kind)
        local key = p .. ':' .. kind .. ':' .. q
        return redis.call('ZCARD', key) - redis.call('ZCOUNT', key, 0, now)
    end
    local row = {
        q, redis.call('LLEN', p .. ':queue:' .. q), size('wip'), size('deferred'), size('scheduled'),
        redis.call('ZCOUNT', p .. ':scheduled:' .. q, '-inf', now), size('ready'),
        kept('finished'), kept('failed'), size('canceled'),
    }
    queues[i] = row
    lengths.queued, lengths.scheduled = lengths.queued + row[2], lengths.scheduled + row[5]
    lengths.deferred, lengths.ended = lengths.deferred + row[4], lengths.ended + row[8] + row[9]
end

local alive = {queued = 1, started = 1, deferred = 1, scheduled = 1, rate_limited = 1, ready_to_enqueue = 1}
local function waits_for_nobody(id)
    local lives, bears = false, redis.call('HGET', p .. ':job:' .. id, 'allow_dependency_failures') == '1'
    for _, parent in ipairs(redis.call('SMEMBERS', p .. ':job::' .. id .. ':dependencies')) do
        local v = redis.call('HMGET', p .. ':job:' .. parent, 'status')[1]
        if alive[v] then lives = true end
        if v == 'stopped' or v == 'canceled' then return 1 end
        if v == 'failed' and not bears then return 1 end
    end
    return lives and 0 or 1
end
local function again(q, id) return redis.call('ZSCORE', p .. ':finished:' .. q, id) and 1 or 0 end

local queued, scheduled, deferred, started, taken, canceled = {}, {}, {}, {}, {}, {}
local since = string.format('%.6f', t[1] - ARGV[6])
local running = {}
for _, row in ipairs(queues) do
    local q = row[1]
    if row[3] <= most then
        local entries = redis.call('ZRANGE', p .. ':wip:' .. q, 0, -1, 'WITHSCORES')
        for i = 1, #entries, 2 do
            local id, execution = string.match(entries[i], '^(.*):([^:]*)$')
            id, execution = id or entries[i], execution or ''
            running[id] = true
            local worker = redis.call('HMGET', p .. ':execution:' .. entries[i], 'worker_name')[1]
            local v = job(id)
            if worker and worker ~= '' then v[6] = worker end
            local lives = 0
            if v[6] ~= '' then
                local w = redis.call('HMGET', p .. ':worker:' .. v[6], 'last_heartbeat', 'death')
                lives = (w[1] and not w[2]) and 1 or 0
            end
            started[#started + 1] = {id, q, entries[i + 1], execution, lives, again(q, id), v}
        end
    end
    local last = lengths.queued <= most and -1 or first - 1
    for _, id in ipairs(redis.call('LRANGE', p .. ':queue:' .. q, 0, last)) do
        queued[#queued + 1] = {id, q, '', again(q, id), job(id)}
    end
    for _, id in ipairs(redis.call('LRANGE', p .. ':queue:' .. q .. ':intermediate', 0, most - 1)) do
        local v = job(id)
        if not running[id] and v[1] == 'queued' then taken[#taken + 1] = {id, q, '', again(q, id), v} end
    end
    if lengths.scheduled <= most then
        local entries = redis.call('ZRANGE', p .. ':scheduled:' .. q, 0, -1, 'WITHSCORES')
        for i = 1, #entries, 2 do
            scheduled[#scheduled + 1] = {entries[i], q, entries[i + 1], again(q, entries[i]), job(entries[i])}
        end
    end
    if lengths.deferred <= most then
        local entries = redis.call('ZRANGE', p .. ':deferred:' .. q, 0, -1, 'WITHSCORES')
        for i = 1, #entries, 2 do
            deferred[#deferred + 1] = {entries[i], q, entries[i + 1], waits_for_nobody(entries[i]), job(entries[i])}
        end
    end
    local key = p .. ':canceled:' .. q
    local entries = redis.call('ZRANGEBYSCORE', key, since, '+inf', 'WITHSCORES', 'LIMIT', 0, most + 1)
    for i = 1, #entries, 2 do
        canceled[#canceled + 1] = {entries[i], q, entries[i + 1], 0, job(entries[i])}
    end
    if lengths.ended <= most_ended then
        for _, kind in ipairs({'finished', 'failed'}) do
            local key = p .. ':' .. kind .. ':' .. q
            for _, range in ipairs({{'-inf', '(0'}, {'(' .. now, '+inf'}}) do
                local entries = redis.call('ZRANGEBYSCORE', key, range[1], range[2], 'WITHSCORES')
                for i = 1, #entries, 2 do ended[#ended + 1] = {entries[i], q, kind, entries[i + 1]} end
            end
        end
    end
end
local limited = 0
for _, key in ipairs(limits) do limited = limited + redis.call('ZCARD', p .. ':rl:' .. key .. ':rate_limited') end
return {
    now, redis.call('EXISTS', p .. ':suspended'), limited, list(queues), list(queued), list(taken), list(scheduled),
    list(deferred), list(canceled), list(started), list(ended), list(found),
}
"""
)
"""ARGV: the prefix of RQ's keys, the four limits above, and for how many seconds back it is told what was cancelled."""

ENDED = (
    _JOB
    + """
local rows = {}
for i = 2, #ARGV do rows[i - 1] = job(ARGV[i]) end
return list(rows)
"""
)
"""ARGV: the prefix, then ids."""
