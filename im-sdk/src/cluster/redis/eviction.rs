//! A warning about a Redis that evicts data when its memory is full.

use super::connection::Redis;

/// The only policy that evicts nothing.
const SAFE: &str = "noeviction";

impl Redis {
    /// Warns of a `maxmemory-policy` under which a full Redis evicts logs. A Redis that does not
    /// answer is not asked again.
    pub(crate) async fn warn_of_eviction(&self) {
        let mut command = redis::cmd("INFO");
        command.arg("memory");
        let Ok(infos) = self.ask_masters(&command).await else { return };
        if let Some(policy) = infos.iter().filter_map(|info| policy(info)).find(|policy| *policy != SAFE) {
            tracing::warn!(
                redis = %self.address(), policy,
                "this Redis evicts logs, and with them messages, when its memory is full: set maxmemory-policy to {SAFE}"
            );
        }
    }
}

fn policy(info: &str) -> Option<&str> {
    info.lines().find_map(|line| line.strip_prefix("maxmemory_policy:")).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_tells_its_policy_among_other_things() {
        assert_eq!(
            policy("# Memory\r\nused_memory:1\r\nmaxmemory_policy:allkeys-lru\r\nx:1\r\n"),
            Some("allkeys-lru")
        );
        assert_eq!(policy("# Memory\r\nused_memory:1\r\n"), None);
    }
}
