//! The part of the append scripts that makes them idempotent.
//!
//! Numbers are compared as text: Lua's have 53 bits. A repetition writes the record again as it was,
//! so that a `WAIT` behind it has a write to wait for: the first attempt may have failed because no
//! replica had the entry.

/// Returns from the script if the Lua variable `attempt` is a number that the `record` has already:
/// `stale` with the last number, `conflict` for another `digest`, or `repeated` with the seq and the
/// message id of the first attempt.
macro_rules! deduplicate {
    () => {
        r"
local known = attempt ~= '' and redis.call('GET', record)
if known then
  local last, seq, first, start = string.match(known, '^(%d+) (%d+) (%d+) ()')
  if not last then
    return redis.error_reply('MALFORMED the record of an earlier append cannot be read')
  end
  if #attempt < #last or (#attempt == #last and attempt < last) then
    return {'stale', last, ''}
  end
  if attempt == last then
    if string.sub(known, start) ~= digest then
      return {'conflict', '0', ''}
    end
    redis.call('SET', record, known, 'KEEPTTL')
    return {'repeated', seq, first}
  end
end
"
    };
}

/// Writes the `record` of an append with the seq in the Lua variable `$seq`, for `$ttl` milliseconds.
macro_rules! remember {
    ($seq:literal, $ttl:literal) => {
        concat!(
            "redis.call('SET', record, table.concat({attempt, ",
            $seq,
            ", message, digest}, ' '), 'PX', ",
            $ttl,
            ")\n"
        )
    };
}

pub(super) use {deduplicate, remember};
