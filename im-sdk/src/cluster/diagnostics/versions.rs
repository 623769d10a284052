//! Minimum versions of Redis and NATS. Missing features of older versions would show late, and as
//! other errors.

use crate::cluster::config::ConnectError;

/// The minimum release of a service.
#[derive(Clone, Copy, Debug)]
pub(in crate::cluster) struct Oldest {
    service: &'static str,
    release: (u32, u32),
    /// The feature that older releases lack.
    lack: &'static str,
}

/// The minimum for all uses of Redis.
pub(in crate::cluster) const REDIS: Oldest =
    Oldest { service: "Redis", release: (7, 0), lack: "`XADD <log> 0-*`, which numbers without a gap" };

/// The minimum for the bus.
pub(in crate::cluster) const NATS: Oldest =
    Oldest { service: "NATS", release: (2, 2), lack: "headers and \"no responders\"" };

/// The minimum for the archive's queue.
pub(in crate::cluster) const ARCHIVE: Oldest =
    Oldest { service: "NATS", release: (2, 9), lack: "what the archive needs of JetStream" };

impl Oldest {
    /// Refuses an older version. An unknown version counts as new: it is no release. The address is
    /// for the error.
    pub(in crate::cluster) fn check(self, address: &str, version: &str) -> Result<(), ConnectError> {
        match release(version) {
            Some(found) if found < self.release => Err(self.refusal(address, version)),
            _ => Ok(()),
        }
    }

    pub(in crate::cluster) fn refusal(self, address: &str, version: &str) -> ConnectError {
        let (major, minor) = self.release;
        ConnectError::TooOld {
            service: self.service,
            address: address.to_owned(),
            version: version.to_owned(),
            needed: format!("{major}.{minor}"),
            lack: self.lack,
        }
    }
}

/// Returns the version from the section `server` of Redis's `INFO`. Compatible forks state it in
/// the same line.
pub(in crate::cluster) fn redis_version(info: &str) -> &str {
    info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or_default()
}

/// Parses `7.0` of `7.0.15`, `2.12` of `v2.12.0-dev`.
fn release(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim_start_matches('v').split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_releases_are_refused_with_what_is_needed() {
        for (oldest, version, is_taken) in [
            (REDIS, "6.2.14", false),
            (REDIS, "7.0.0", true),
            (REDIS, "7.0.15", true),
            (REDIS, "8.2", true),
            (REDIS, "10.0.1", true),
            (REDIS, "255.255.255", true),
            (REDIS, "", true),
            (REDIS, "unstable", true),
            (NATS, "2.1.9", false),
            (NATS, "1.4.1", false),
            (NATS, "2.2.0", true),
            (NATS, "2.10.0-dev", true),
            (NATS, "v2.1.0", false),
            (ARCHIVE, "2.8.4", false),
            (ARCHIVE, "2.9.0", true),
        ] {
            let checked = oldest.check("127.0.0.1:1", version);
            assert_eq!(checked.is_ok(), is_taken, "{oldest:?} {version}: {checked:?}");
        }
        let refused = REDIS.check("127.0.0.1:1", "6.2.14").map_err(|error| error.to_string());
        let said = "Redis at 127.0.0.1:1 is 6.2.14, and 7.0 or newer is needed: older ones lack `XADD <log> 0-*`, which \
                    numbers without a gap";
        assert_eq!(refused, Err(said.to_owned()));
    }

    #[test]
    fn redis_tells_its_version_among_other_things() {
        assert_eq!(redis_version("# Server\r\nredis_version:6.2.14\r\nos:Linux\r\n"), "6.2.14");
        assert_eq!(redis_version("# Server\r\nserver_name:other\r\n"), "");
    }
}
