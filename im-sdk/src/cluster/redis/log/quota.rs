//! Quotas of writers in a full log, as Redis scripts: the rule of [`quota`](crate::cluster::quota)
//! over blocks of entries.
//!
//! Beside a log, a hash records how much of it each writer wrote, in blocks of some hundred
//! entries. A block is forgotten as a whole when the log has been trimmed past it:
//!
//! ```text
//! o, n          the oldest and the newest block
//! f, k, c       the newest block's first seq, how many of its entries devices had appended, and their cost
//! f<block>, k<block>   the same of earlier ones
//! w<block>      its writers                       <block>:<writer>   the cost of what that writer has in it
//! <block>.<writer>   the seq of the last of that
//! m, e, l, a    bytes and entries of the log, up to which seq that was measured, and bytes that devices appended since
//! p             1: the log lasts for good
//! ```
//!
//! Entries that are in no block, or are no device's, were appended by a backend. A block is
//! evicted as a whole or not at all.

use std::sync::LazyLock;

use super::{
    MAX_TTL,
    idempotency::{deduplicate, remember},
};
use crate::cluster::{
    log_id::LogId,
    names::Names,
    quota::{Cutoffs, GROWTH_LIMIT, Limits, foreign_writer, size_of},
    redis::{Decimal, Script},
    time::milliseconds,
    traits::{LogBounds, NewEntry},
};

/// The largest count: Redis counts bytes and entries in floating point.
pub(super) const MAX_COUNT: u64 = 1 << 40;

/// The bounds as arguments of the scripts, in their order.
pub(super) struct Bounds {
    numbers: [Decimal; 10],
    /// The name of the owner's acknowledgement of an inbox, see [`inbox_member`]; empty for a
    /// channel.
    member: String,
}

impl Bounds {
    /// Returns the bounds for an append.
    pub(super) fn of_entry(log: &LogId, entry: &NewEntry, bounds: &LogBounds, cutoffs: Cutoffs) -> Self {
        let limits = Limits::of(log, bounds).for_entry(entry);
        Self::new(log, limits, size_of(entry), foreign_writer(log, entry).is_some(), bounds, cutoffs)
    }

    /// Returns the bounds for a trim. With `for_foreign`, it evicts only what a foreign writer's
    /// append may evict.
    pub(super) fn of_trim(log: &LogId, for_foreign: bool, bounds: &LogBounds, cutoffs: Cutoffs) -> Self {
        Self::new(log, Limits::of(log, bounds), 0, for_foreign, bounds, cutoffs)
    }

    fn new(
        log: &LogId,
        limits: Limits,
        size: u64,
        is_foreign: bool,
        bounds: &LogBounds,
        cutoffs: Cutoffs,
    ) -> Self {
        let grace = bounds.unread_grace.min(bounds.max_age);
        let numbers = [
            limits.max_entries.min(MAX_COUNT),
            limits.max_bytes.min(MAX_COUNT),
            limits.share.min(MAX_COUNT),
            GROWTH_LIMIT,
            cutoffs.age.as_u64(),
            milliseconds(bounds.max_age.min(MAX_TTL)),
            cutoffs.grace.as_u64(),
            milliseconds(grace.min(MAX_TTL)),
            size,
            u64::from(is_foreign),
        ];
        let member = match log {
            LogId::Inbox(_) => inbox_member(log),
            LogId::Channel(_) => String::new(),
        };
        Self { numbers: numbers.map(Decimal::new), member }
    }

    pub(super) fn words(&self) -> [&[u8]; 11] {
        std::array::from_fn(|index| match self.numbers.get(index) {
            Some(number) => number.as_bytes(),
            None => self.member.as_bytes(),
        })
    }
}

/// Returns the name of the furthest acknowledgement of an inbox by its owner, among the owner's
/// acknowledgements. The name of a device's acknowledgement differs: it has a space.
pub(super) fn inbox_member(log: &LogId) -> String {
    log.to_string()
}

/// Returns the key of the acknowledgements of an inbox's owner. For a channel, whose
/// acknowledgements are not read, it returns any key in the same slot.
pub(super) fn acks_key(names: &Names, log: &LogId) -> String {
    match log {
        LogId::Inbox(owner) => names.acks(owner),
        LogId::Channel(_) => names.log_writers(log),
    }
}

/// The part of the scripts about bounds. It follows a line that sets `log`, `writers`, `acks` and
/// `at`, the index of the first of [`Bounds::words`].
macro_rules! bounds {
    () => {
        r"
local max_entries, max_bytes, share = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
local stretch, size, is_foreign = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 8]), ARGV[at + 9] == '1'
local SLACK, PARTS = 64, 32
-- Where nothing is about to be appended, the log may stay as full as it may be.
local coming = size > 0 and 1 or 0
local len, bytes, oldest, newest, begins, tracked
local function number(text)
  return tonumber(text or nil) or 0
end
local function measure()
  len = redis.call('XLEN', log)
  -- Where that is forbidden, entries alone count.
  local usage = len > 0 and redis.pcall('MEMORY', 'USAGE', log, 'SAMPLES', 0)
  bytes = type(usage) == 'number' and usage or 0
end
local function is_full(times)
  return len + coming > (max_entries + SLACK) * times or bytes + size > max_bytes * times
end
"
    };
}

/// The part of the scripts about a full log. Its definitions take Redis as long as an append does,
/// so they are made only where they are needed.
macro_rules! old_end {
    () => {
        r"
local first, first_id, acked

-- Ids are compared as text: Lua's numbers have 53 bits, which is enough for a seq.
local function is_lower(one, other)
  return #one < #other or (#one == #other and one < other)
end
local function id_of(seq)
  return string.format('0-%.0f', seq)
end
local function message_at(seq)
  local entry = redis.call('XRANGE', log, id_of(seq), id_of(seq))[1]
  return entry and entry[2][2]
end

-- The lower of the caller's limit and the one by Redis's own clock.
local function cutoff(callers, age_ms)
  local time = redis.call('TIME')
  local ms = math.floor(time[1] * 1000 + time[2] / 1000) - age_ms - 1735689600000
  local own = string.format('%.0f', math.max(ms, 0) * 4194304)
  return is_lower(own, callers) and own or callers
end

local function look_at_old_end()
  local entry = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
  if entry then
    first, first_id = tonumber(string.sub(entry[1], 3)), entry[2][2]
  else
    first, first_id = nil, nil
  end
end
local function load_blocks()
  local found = redis.call('HMGET', writers, 'o', 'n', 'f', 'k')
  oldest, newest = tonumber(found[1] or nil), tonumber(found[2] or nil)
  begins, tracked = number(found[3]), number(found[4])
end
local function begin_of(block)
  return block == newest and begins or number(redis.call('HGET', writers, 'f' .. block))
end
local function writers_of(block)
  local names = {}
  for name in string.gmatch(redis.call('HGET', writers, 'w' .. block) or '', '%S+') do
    names[#names + 1] = name
  end
  return names
end
local function forget_blocks()
  if not first then
    redis.call('DEL', writers)
    oldest, newest = nil, nil
    return
  end
  local from = oldest
  while oldest and oldest < newest and begin_of(oldest + 1) <= first do
    local fields = {'f' .. oldest, 'k' .. oldest, 'w' .. oldest}
    for _, name in ipairs(writers_of(oldest)) do
      fields[#fields + 1] = oldest .. ':' .. name
      fields[#fields + 1] = oldest .. '.' .. name
    end
    redis.call('HDEL', writers, unpack(fields))
    oldest = oldest + 1
  end
  if oldest ~= from then
    redis.call('HSET', writers, 'o', oldest)
  end
end
local function held(writer)
  local sum, fields = 0, {}
  for block = oldest or 1, newest or 0 do
    fields[#fields + 1] = block .. ':' .. writer
    if #fields == 1000 or block == newest then
      for _, cost in ipairs(redis.call('HMGET', writers, unpack(fields))) do
        sum = sum + number(cost)
      end
      fields = {}
    end
  end
  return sum
end
local function load_old_end()
  look_at_old_end()
  load_blocks()
  forget_blocks()
  local member = ARGV[at + 10]
  local found = member ~= '' and redis.call('ZSCORE', acks, member)
  acked = found and tonumber(found) or nil
end

-- How many of the oldest entries are in the way of some times the bounds. Some bytes more, so that not each append trims.
local function surplus(times)
  local entries = len + coming > (max_entries + SLACK) * times and len + coming - max_entries * times or 0
  local over = bytes + size - max_bytes * times
  local by_bytes = over > 0 and math.ceil((over + max_bytes / PARTS) * len / bytes) or 0
  return math.min(math.max(entries, by_bytes, 1), len)
end

-- Up to which seq, exclusive, the old end may go, so that nobody is wronged. nil: it may not.
local function free_until()
  if not first then
    return nil
  end
  local count = surplus(1)
  if acked and first <= acked then
    return math.min(acked + 1, first + count)
  end
  local limit = cutoff(ARGV[at + 4], tonumber(ARGV[at + 5]))
  if not acked then
    local grace = cutoff(ARGV[at + 6], tonumber(ARGV[at + 7]))
    limit = is_lower(limit, grace) and grace or limit
  end
  if is_lower(first_id, limit) then
    while count > 1 do
      local id = message_at(first + count - 1)
      if not id or is_lower(id, limit) then
        break
      end
      count = math.floor(count / 2)
    end
    return first + count
  end
  local start = oldest and begin_of(oldest)
  if not start or first < start then
    return not is_foreign and math.min(first + count, start or math.huge) or nil
  end
  local ends, of_devices = first + len, tracked
  if oldest < newest then
    ends, of_devices = begin_of(oldest + 1), number(redis.call('HGET', writers, 'k' .. oldest))
  end
  if is_foreign and of_devices ~= ends - start then
    return nil
  end
  for _, name in ipairs(writers_of(oldest)) do
    -- What it had there may be gone already.
    local is_there = number(redis.call('HGET', writers, oldest .. '.' .. name)) >= first
    if is_there and held(name) < share then
      return nil
    end
  end
  return ends
end

local function trim_to(seq)
  redis.call('XTRIM', log, 'MINID', '=', id_of(seq))
  look_at_old_end()
  forget_blocks()
  measure()
end
local function free()
  while is_full(1) do
    local seq = free_until()
    if not seq then
      return
    end
    trim_to(seq)
  end
end
local function cut()
  while first and is_full(stretch) do
    trim_to(first + surplus(stretch))
  end
end

-- Whether a log that is full takes no more of a writer.
local function is_refused(writer)
  return is_foreign and is_full(1) and (held(writer) >= share or (acked and is_full(stretch)))
end
local function full()
  return {'full', acked and '0' or '1', first_id or '0'}
end
"
    };
}

/// `KEYS`: log, record, writers, acknowledgements. `ARGV`: number (empty: nothing is remembered),
/// digest, message id, payload, lifetime of the record, writer, cost, lifetime of the log (empty:
/// unchanged; 0: permanent), [`Bounds`].
///
/// Returns the outcome, the seq or the last number, and the first message id; see [`deduplicate`](super::idempotency).
/// For a log without room, it returns whether room comes with time, and the oldest message's id.
pub(super) static APPEND: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(
        "local log, writers, acks, at = KEYS[1], KEYS[3], KEYS[4], 9",
        bounds!(),
        r"
local record, attempt, digest, message, writer, cost = KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[6], tonumber(ARGV[7])
",
        deduplicate!(),
        r"
local found = redis.call('HMGET', writers, 'm', 'e', 'l', 'a', 'p', 'n', 'f', 'k', 'c')
local since, lasts_for_good = number(found[4]), found[5]
bytes = number(found[1]) + since
if not found[1] or number(found[2]) + SLACK >= max_entries or bytes + size > max_bytes then
  measure()
  if is_full(1) then
",
        old_end!(),
        r"
    load_old_end()
    free()
    if is_refused(writer) then
      return full()
    end
    cut()
    found = redis.call('HMGET', writers, 'm', 'e', 'l', 'a', 'p', 'n', 'f', 'k', 'c')
    found[1] = nil
  end
end

local lasts = not lasts_for_good and ARGV[8] ~= '' and redis.call('PTTL', log)
local id = redis.call('XADD', log, '0-*', 'i', message, 'p', ARGV[4])
local text = string.sub(id, 3)
local seq = tonumber(text)
if lasts and ARGV[8] == '0' then
  redis.call('PERSIST', log)
  redis.call('HSET', writers, 'p', 1)
elseif lasts == -1 then
  redis.call('HSET', writers, 'p', 1)
elseif lasts then
  redis.call('PEXPIRE', log, ARGV[8])
end

local spent
newest, begins, tracked, spent = tonumber(found[6] or nil), number(found[7]), number(found[8]), number(found[9])
local span = math.min(math.max(math.floor(max_entries / PARTS), 1), 1024)
if not newest then
  newest, begins, tracked, spent = 1, seq, 0, 0
  redis.call('HSET', writers, 'o', 1, 'n', 1, 'f', seq)
elseif seq - begins >= span or spent >= max_bytes / PARTS then
  redis.call('HSET', writers, 'n', newest + 1, 'f', seq, 'f' .. newest, begins, 'k' .. newest, tracked)
  newest, begins, tracked, spent = newest + 1, seq, 0, 0
end
if redis.call('HINCRBY', writers, newest .. ':' .. writer, cost) == cost then
  local names = redis.call('HGET', writers, 'w' .. newest)
  redis.call('HSET', writers, 'w' .. newest, names and names .. ' ' .. writer or writer)
end
since = since + size
local latest = newest .. '.' .. writer
if not found[1] or seq - number(found[3]) >= SLACK or since > max_bytes / PARTS then
  measure()
  redis.call('HSET', writers, 'm', bytes, 'e', len, 'l', text, 'a', 0, 'k', tracked + 1, 'c', spent + cost, latest, text)
  redis.call('PEXPIRE', writers, 2 * tonumber(ARGV[at + 5]))
else
  redis.call('HSET', writers, 'a', since, 'k', tracked + 1, 'c', spent + cost, latest, text)
end
if attempt ~= '' then
",
        remember!("text", "ARGV[5]"),
        "end\nreturn {'appended', text, message}\n"
    ))
});

/// `KEYS` and `ARGV` as of [`APPEND`]. Appends nothing: evicts what it may, and returns whether
/// there is room then.
pub(super) static CHECK: LazyLock<Script> = LazyLock::new(|| {
    Script::also_when_full(concat!(
        "local log, writers, acks, at = KEYS[1], KEYS[3], KEYS[4], 9",
        bounds!(),
        r"
local found = redis.call('HMGET', writers, 'm', 'e', 'a')
bytes = number(found[1]) + number(found[3])
if found[1] and number(found[2]) + SLACK < max_entries and bytes + size <= max_bytes then
  return {'room', '0', ''}
end
measure()
if not is_full(1) then
  return {'room', '0', ''}
end
local known = ARGV[1] ~= '' and redis.call('GET', KEYS[2])
local last = known and string.match(known, '^(%d+) ')
",
        old_end!(),
        r"
if last and not is_lower(last, ARGV[1]) then
  return {'room', '0', ''}
end
load_old_end()
free()
if is_refused(ARGV[6]) then
  return full()
end
return {'room', '0', ''}
"
    ))
});

/// `KEYS`: log, writers, acknowledgements. `ARGV`: [`Bounds`]. Removes entries that are too old,
/// then those beyond the bounds.
///
/// For a foreign writer it removes only what may be evicted: a log that foreign writers filled may
/// stay full until its reader comes. It finds the first entry that is not too old by bisection: ids
/// rise with the seq, except for differences between clocks.
pub(super) static TRIM: LazyLock<Script> = LazyLock::new(|| {
    Script::also_when_full(concat!(
        "local log, writers, acks, at = KEYS[1], KEYS[2], KEYS[3], 1",
        bounds!(),
        r"
measure()
if len == 0 then
  return 0
end
local before = len
",
        old_end!(),
        r"
load_old_end()
local limit = cutoff(ARGV[at + 4], tonumber(ARGV[at + 5]))
if is_lower(first_id, limit) then
  local old, young = first, first + len
  while young - old > 1 do
    local middle = math.floor((old + young) / 2)
    local id = message_at(middle)
    if id and is_lower(id, limit) then
      old = middle
    else
      young = middle
    end
  end
  trim_to(young)
end
free()
if not is_foreign then
  cut()
end
return before - len
"
    ))
});
