//! Restoring a lost route.

use std::sync::LazyLock;

use super::{RedisRoutes, Stored, readable, scope, unavailable};
use crate::cluster::{
    redis::Script,
    traits::{Claim, Displaced, Reclaimed, RoutesError},
};

impl RedisRoutes {
    pub(super) async fn claim_again(&self, claim: &Claim) -> Result<Reclaimed, RoutesError> {
        let keys = [&*self.names.routes(&claim.user)];
        let script = RECLAIM.on(&keys).arg(claim.device.to_string()).arg(claim.route.to_string());
        let answer = self.redis.run(script.arg(scope(claim.policy))).await;
        let (what, taken): (String, Vec<Stored>) = answer.map_err(unavailable("claim a route again"))?;
        match &*what {
            "held" => Ok(Reclaimed::Held),
            "restored" => Ok(Reclaimed::Restored),
            _ => {
                // No device stands behind a route that cannot be read: the next attempt finds the
                // place free.
                self.remove_malformed(&claim.user, &taken).await?;
                let taken = readable(&claim.user, taken).into_iter();
                Ok(Reclaimed::Taken(taken.map(|(device, route)| Displaced { device, route }).collect()))
            }
        }
    }
}

/// `ARGV`: device, route, scope. Returns the outcome, and the routes that hold its place.
static RECLAIM: LazyLock<Script> = LazyLock::new(|| {
    Script::also_when_full(
        r"
local device, route, scope = ARGV[1], ARGV[2], ARGV[3]
local terminal = string.match(device, '^[^/]*/')
local taken = {}
local stored = redis.call('HGETALL', KEYS[1])
for i = 1, #stored, 2 do
  local other = stored[i]
  if other == device and stored[i + 1] == route then
    return {'held', {}}
  end
  local same_terminal = string.sub(other, 1, #terminal) == terminal
  if other == device or scope == 'user' or (scope == 'terminal' and same_terminal) then
    taken[#taken + 1] = other
    taken[#taken + 1] = stored[i + 1]
  end
end
if #taken > 0 then
  return {'taken', taken}
end
redis.call('HSET', KEYS[1], device, route)
return {'restored', {}}
",
    )
});
