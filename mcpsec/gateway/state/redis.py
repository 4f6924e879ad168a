"""State that many gateways share, in Redis or Valkey.

Every key begins with the deployment's prefix and has a time to live, so the store holds what is in use and nothing
else. What cannot be decided without the store is decided so: a nonce that can't be claimed is refused, a rate is
counted by each gateway for itself or the request refused (``on_failure``), an unknown session is a 503 and never a 404,
which a client would read as the session's end.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import re
import time
from typing import TYPE_CHECKING

import orjson

from mcpsec.gateway.limits import Buckets, Taken
from mcpsec.gateway.state.base import SessionRecord
from mcpsec.gateway.state.resp import Script, StoreUnavailableError
from mcpsec.gateway.state.set_back import SetBack
from mcpsec.signing import ReplayStoreError
from mcpsec.telemetry.baseline import Learned

if TYPE_CHECKING:
    from mcpsec.deployment.model import Rate
    from mcpsec.gateway.state.base import SharedPatterns, SharedSessions, SharedTasks
    from mcpsec.gateway.state.resp import Resp

__all__ = ["RedisPatterns", "RedisSessions", "RedisState", "RedisTasks", "greeting_of"]

_FOREIGN = "the store holds what no gateway has written: does something else use its prefix?"
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
_MOST_DENIED = 10_000
_TOUCH_EVERY = 20.0
_MOST_WITHDRAWN = b"64"  # of one session, as one gateway remembers them
_TASKS_KEPT = b"86400000"  # milliseconds after the newest one of a client was made
_PATTERNS_KEPT = b"7776000000"  # 90 days after a client's last request, in milliseconds

# The store's epoch: when it began to remember. A message from before it may have been served by what was forgotten
# (FLUSHALL, a restart without persistence, a failover to an empty server), so it is refused.
# Clocks of gateways may differ. By the store's own, what has ended is forgotten and not taken for new, whatever the
# gateway's says; and what has not is kept (for a gateway that is ahead, by an hour at most).
# KEYS: the nonce, the epoch. ARGV: milliseconds to keep it, when the message was made, when it ends.
_CLAIM = Script("""
local t = redis.call('TIME')
local now = t[1] + t[2] / 1000000
local ends = tonumber(ARGV[3])
if now - ends > 1 then return -2 end
local epoch = redis.call('GET', KEYS[2])
if not epoch then
  epoch = string.format('%.6f', now)
  redis.call('SET', KEYS[2], epoch)
end
if not (tonumber(ARGV[2]) > tonumber(epoch)) then return -1 end
local kept = math.max(tonumber(ARGV[1]), math.ceil(math.min(ends - now, 3600) * 1000) + 1000)
if redis.call('SET', KEYS[1], 1, 'NX', 'PX', string.format('%d', kept)) then return 1 end
return 0
""")

_BEGIN = Script("""
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local now = redis.call('TIME')
redis.call('SET', KEYS[1], string.format('%.6f', now[1] + now[2] / 1000000))
return 1
""")

# A token bucket as one number, the time at which it would be full again (the generic cell rate algorithm).
# ARGV: seconds a token, seconds of the whole bucket. Returns seconds to wait, tokens left, seconds until full.
# A time that no bucket can have is of a clock that was set back: kept, it would refuse until that is caught up.
_TAKE = Script("""
local t = redis.call('TIME')
local now = t[1] + t[2] / 1000000
local each, whole = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = tonumber(redis.call('GET', KEYS[1]) or now)
if full < now then full = now end
if not (full <= now + whole) then
  full = now + whole
  redis.call('SET', KEYS[1], string.format('%.17g', full), 'PX', math.ceil(whole * 1000) + 1000)
end
local after = full + each
local wait = after - now - whole
if wait > 0.000001 then
  return {string.format('%.17g', wait), 0, string.format('%.17g', full - now)}
end
redis.call('SET', KEYS[1], string.format('%.17g', after), 'PX', math.ceil((after - now) * 1000) + 1000)
return {'0', math.floor((whole - (after - now)) / each + 0.000001), string.format('%.17g', after - now)}
""")

# KEYS: the session, the client's sessions. ARGV: record, idle milliseconds, most sessions of a client, id.
_OPEN = Script("""
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[3]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('ZADD', KEYS[2], now + ARGV[2], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
""")
# KEYS: what was asked in the session, what was withdrawn. ARGV: the question, most to remember, idle milliseconds.
_WITHDRAW = Script("""
if redis.call('SREM', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('LPUSH', KEYS[2], ARGV[1])
redis.call('LTRIM', KEYS[2], 0, ARGV[2] - 1)
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1
""")
_TOUCH = Script("""
local record = redis.call('GET', KEYS[1])
if not record then return 0 end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local clients = ARGV[2] .. cjson.decode(record)[1]
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('ZADD', clients, 'XX', now + ARGV[1], ARGV[3])
redis.call('PEXPIRE', clients, ARGV[1])
return 1
""")


# KEYS: the client's tasks at one upstream. ARGV: task id, its tools, most tasks, milliseconds to keep them.
_ADD = Script("""
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) and redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
""")

# KEYS: the client's tasks at one upstream. ARGV: most tasks. More than that no gateway has written: reading them would
# take everybody's time.
_TASKS = Script("""
if redis.call('HLEN', KEYS[1]) > tonumber(ARGV[1]) then return redis.error_reply('FOREIGN') end
return redis.call('HGETALL', KEYS[1])
""")

# KEYS: what is normal for a client. ARGV: first day, requests, hours, busiest minute, most resources, milliseconds to
# keep it, resources. Returns the whole hash. A number that is no count and no day is as good as none: believed, it
# would go round between gateways, which tell each other what they know, when the store has long been put right. A false
# one that could be true is believed: who can write here could as well write the likeliest ones.
_LEARN = Script("""
local key = KEYS[1]
if redis.call('HLEN', key) > 100004 then return redis.error_reply('FOREIGN') end
local function known(name, most, otherwise)
  local value = tonumber(redis.call('HGET', key, name) or otherwise)
  if value and value >= 0 and value <= most then return value end
  return otherwise
end
local first, requests, hours, busiest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
redis.call('HSET', key, 'first', string.format('%.17g', math.min(known('first', 3652059, first), first)))
redis.call('HSET', key, 'requests', string.format('%d', known('requests', 1e15, 0) + requests))
redis.call('HSET', key, 'hours', string.format('%d', bit.bor(known('hours', 16777215, 0), hours)))
redis.call('HSET', key, 'busiest', string.format('%d', math.max(known('busiest', 1e9, 0), busiest)))
for i = 7, #ARGV do
  if redis.call('HLEN', key) >= 4 + tonumber(ARGV[5]) then break end
  redis.call('HSETNX', key, ':' .. ARGV[i], 1)
end
redis.call('PEXPIRE', key, ARGV[6])
return redis.call('HGETALL', key)
""")


def greeting_of(prefix: str) -> list[tuple[bytes, ...]]:
    """What a fresh connection says: the scripts, and that from now on nonces are remembered."""
    commands: list[tuple[bytes, ...]] = [
        (b"SCRIPT", b"LOAD", each.text) for each in (_CLAIM, _TAKE, _OPEN, _TOUCH, _ADD, _TASKS, _LEARN)
    ]
    return [*commands, (b"EVAL", _BEGIN.text, b"1", _epoch_key(prefix))]


def _epoch_key(prefix: str) -> bytes:
    return prefix.encode() + b":epoch"


class RedisState:
    """Nonces and rates. ``local_limits`` says whether rates are kept by this process while the store is away."""

    def __init__(self, store: Resp, *, prefix: str, local_limits: bool, session_idle: float) -> None:
        self.store = store
        self._prefix = prefix.encode() + b":"
        self._epoch = _epoch_key(prefix)
        self._local = Buckets() if local_limits else None
        self._denied: dict[tuple[bytes, float, float], float] = {}
        self._set_back = SetBack()
        self.sessions: SharedSessions | None = RedisSessions(store, self._prefix, session_idle)
        self.tasks: SharedTasks | None = RedisTasks(store, self._prefix)
        self.patterns: SharedPatterns | None = RedisPatterns(store, self._prefix)
        self.warning = ""

    async def start(self) -> None:
        """Connect. ``warning`` says afterwards what is wrong with the store's own settings, if anything is."""
        await self.store.start()
        with contextlib.suppress(StoreUnavailableError):
            facts = await self.store.command(b"INFO", b"memory")
            policy = re.search(rb"maxmemory_policy:([a-z-]+)", facts)
            if policy is not None and policy[1] != b"noeviction":
                self.warning = (
                    f"the state store may throw nonces away when its memory is full (maxmemory-policy "
                    f"{policy[1].decode()}): set it to noeviction"
                )

    async def claim(self, key_id: str, nonce: str, expires_at: float, created: float | None = None) -> bool:
        """Claim a nonce; True the first time only. Raises StoreUnavailableError or ReplayStoreError."""
        now = time.time()
        left = math.ceil((expires_at - now) * 1000) + 1000
        if left <= 0:
            raise ReplayStoreError("the message is older than any nonce that is kept")
        if self._set_back.may_be_forgotten(expires_at, created):
            raise ReplayStoreError("the clock was set back, and the store may have forgotten this message")
        mark = (
            hashlib.blake2b(f"{key_id}\n{nonce}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest().encode()
        )
        age_mark = b"%.6f" % (now if created is None else created)
        arguments = (b"%d" % left, age_mark, b"%.6f" % expires_at)
        reply = await self.store.run(_CLAIM, (self._prefix + b"n:" + mark, self._epoch), arguments)
        if reply == -2:
            raise ReplayStoreError("by the store's clock the message is too old: its clock and the gateway's differ")
        if reply == -1:
            raise ReplayStoreError("the store has begun to remember after this message was made")
        return bool(reply == 1)

    async def take(self, kind: str, key: str, rate: Rate) -> Taken:
        """Take a token. Raises StoreUnavailableError when the store is away and nobody else may count."""
        name = self._prefix + f"r:{kind}:{key}".encode()
        each = rate.seconds / rate.count
        bucket = name, each, each * rate.burst  # of another rate, since the file was read again, it may refill sooner
        now = asyncio.get_running_loop().time()
        until = self._denied.get(bucket)
        if until is not None:  # refused a moment ago, and nothing can refill it before that: no need to ask
            if now < until:
                return Taken(until - now, 0, until - now)
            del self._denied[bucket]
        try:
            reply = await self.store.run(_TAKE, (name,), (b"%.17g" % each, b"%.17g" % bucket[2]))
        except StoreUnavailableError:
            if self._local is None:
                raise
            return self._local.take(f"{kind} {key}", rate)
        taken = Taken(float(reply[0]), int(reply[1]), float(reply[2]))
        if taken.wait > 0 and len(self._denied) < _MOST_DENIED:
            self._denied[bucket] = now + taken.wait
        elif taken.wait > 0:
            self._denied.clear()
        return taken

    async def close(self) -> None:
        """Let go of the store."""
        await self.store.close()


class RedisSessions:
    """Sessions of the 2025 era that any gateway can serve."""

    def __init__(self, store: Resp, prefix: bytes, idle: float) -> None:
        self._store = store
        self._session, self._client = prefix + b"s:", prefix + b"c:"
        self._asked, self._withdrawn = prefix + b"q:", prefix + b"w:"
        self._idle = b"%d" % round(idle * 1000)
        self._touch_every = min(_TOUCH_EVERY, idle / 4)
        self._touched: dict[str, float] = {}

    async def publish(self, id: str, record: SessionRecord, per_client: int) -> bool:
        """Make a session known; False when its client has as many as it may have."""
        keys = (self._session + id.encode(), self._client + record.client_id.encode())
        reply = await self._store.run(
            _OPEN, keys, (orjson.dumps(list(record)), self._idle, b"%d" % per_client, id.encode())
        )
        return bool(reply == 1)

    async def fetch(self, id: str) -> SessionRecord | None:
        """The session, from whichever gateway opened it."""
        found = await self._store.command(b"GET", self._session + id.encode())
        return None if found is None else _session(found)

    async def is_alive(self, id: str) -> bool:
        """Whether some gateway has used it within the idle time."""
        return bool(await self._store.command(b"EXISTS", self._session + id.encode()))

    def touch(self, id: str) -> None:
        """It is in use: told to the store a few times in each idle time."""
        now = asyncio.get_running_loop().time()
        if now - self._touched.get(id, -math.inf) < self._touch_every:
            return
        if len(self._touched) > _MOST_DENIED:
            self._touched.clear()
        self._touched[id] = now
        self._store.tell(b"EVAL", _TOUCH.text, b"1", self._session + id.encode(), self._idle, self._client, id.encode())

    def drop(self, id: str, client_id: str) -> None:
        """It is over."""
        self._touched.pop(id, None)
        self._store.tell(b"DEL", *(kind + id.encode() for kind in (self._session, self._asked, self._withdrawn)))
        self._store.tell(b"ZREM", self._client + client_id.encode(), id.encode())

    async def expect(self, id: str, request_id: object) -> None:
        """The upstream has asked something in this session."""
        name = self._asked + id.encode()
        self._store.tell(b"SADD", name, orjson.dumps(request_id))
        await self._store.command(b"PEXPIRE", name, self._idle)

    async def expected(self, id: str, request_id: object) -> bool | None:
        """True, once, when it had; None when it wants no answer any more."""
        question = orjson.dumps(request_id)
        if await self._store.command(b"SREM", self._asked + id.encode(), question):
            return True
        withdrawn = await self._store.command(b"LRANGE", self._withdrawn + id.encode(), b"0", _MOST_WITHDRAWN)
        return None if isinstance(withdrawn, list) and question in withdrawn else False

    def withdraw(self, id: str, request_id: object) -> None:
        """It wants no answer any more."""
        keys = (self._asked + id.encode(), self._withdrawn + id.encode())
        self._store.tell(b"EVAL", _WITHDRAW.text, b"2", *keys, orjson.dumps(request_id), _MOST_WITHDRAWN, self._idle)


class RedisTasks:
    """The tasks that clients have been given, for every gateway."""

    def __init__(self, store: Resp, prefix: bytes) -> None:
        self._store = store
        self._prefix = prefix + b"t:"

    def _key(self, client_id: str, upstream: str) -> bytes:
        return self._prefix + orjson.dumps([client_id, upstream])

    async def add(self, client_id: str, upstream: str, id: str, tools: tuple[str, ...], most: int) -> None:
        """Make a task known, unless the client has ``most`` of them at this upstream already."""
        arguments = (id.encode("utf-8", "surrogatepass"), orjson.dumps(tools), b"%d" % most, _TASKS_KEPT)
        await self._store.run(_ADD, (self._key(client_id, upstream),), arguments)

    async def fetch(self, client_id: str, upstream: str, most: int) -> dict[str, tuple[str, ...]]:
        """The client's tasks there, at most so many, each with the tools whose calls made it."""
        found = await self._store.run(_TASKS, (self._key(client_id, upstream),), (b"%d" % most,))
        pairs = zip(found[::2], found[1::2], strict=True)
        try:
            return {id.decode("utf-8", "surrogatepass"): _texts(tools) for id, tools in pairs}
        except UnicodeDecodeError:
            raise StoreUnavailableError(_FOREIGN) from None


class RedisPatterns:
    """What is normal for each client, learned by all gateways."""

    def __init__(self, store: Resp, prefix: bytes) -> None:
        self._store = store
        self._prefix = prefix + b"p:"

    async def merge(self, client_id: str, news: Learned, most: int) -> Learned:
        """Add what one gateway has learned; returns what is known now. Raises StoreUnavailableError."""
        numbers = (b"%.17g" % news.first_day, b"%d" % news.requests, b"%d" % news.hours, b"%d" % news.busiest)
        resources = [each.encode("utf-8", "surrogatepass") for each in news.resources]
        arguments = (*numbers, b"%d" % most, _PATTERNS_KEPT, *resources)
        found = await self._store.run(_LEARN, (self._prefix + client_id.encode(),), arguments)
        known = dict(zip(found[::2], found[1::2], strict=True))
        try:
            return Learned(
                float(known[b"first"]),
                int(known[b"requests"]),
                tuple(name[1:].decode("utf-8", "surrogatepass") for name in known if name.startswith(b":")),
                int(known[b"hours"]),
                int(known[b"busiest"]),
            )
        except (ValueError, KeyError):
            raise StoreUnavailableError(_FOREIGN) from None


def _session(data: bytes) -> SessionRecord:
    """A record as a gateway writes it; its ids go into headers of requests to the upstream."""
    texts = _texts(data)
    if len(texts) != len(SessionRecord._fields) or any(_UNPRINTABLE.search(text) for text in texts):
        raise StoreUnavailableError(_FOREIGN)
    return SessionRecord(*texts)


def _texts(data: bytes) -> tuple[str, ...]:
    try:
        found = orjson.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise StoreUnavailableError(_FOREIGN)
    return tuple(found)
