//! Descriptors: room for them, made before anybody waits for it, and how many there may be.

use rustix::io::fcntl_dupfd_cloexec;

use crate::config::{Limits, ServerConfig};

/// The table of open files is made this large at once; at 8 bytes each, half a MiB of the kernel's memory. It doubles when
/// it is full, and in a process with threads that waits for every processor (on Linux, for RCU): 5 to 15 ms each, in which
/// nobody is accepted. From 64 on, a storm of 10,000 devices would meet that seven times.
const LARGEST: i32 = 65_536;

/// Descriptors that are for something else: Redis, NATS, files, listeners, and those that close.
const OTHERS: u64 = 128;

/// Has [`Limits::max_connections`] and [`Limits::max_handshakes`] fit into what the operating system lets this process open, so that
/// devices are told that the server is full instead of waiting for it. Returns what to tell the operator. Each WebSocket is a
/// descriptor. The program does so when it starts; an application that embeds a server may, behind whatever raises its limit.
pub fn fit_descriptors(config: &mut ServerConfig) -> Option<String> {
    let open_files = rlimit::Resource::NOFILE.get_soft().ok()?;
    config.websocket?;
    fit(&mut config.limits, open_files)
}

fn fit(limits: &mut Limits, open_files: u64) -> Option<String> {
    let most = usize::try_from(open_files.saturating_sub(OTHERS)).unwrap_or(usize::MAX);
    let (connections, handshakes) = (limits.max_connections, limits.max_handshakes);
    if connections.saturating_add(handshakes) <= most {
        return None;
    }
    limits.max_handshakes = handshakes.min(most / 4).max(1);
    limits.max_connections = connections.min(most - limits.max_handshakes.min(most)).max(1);
    Some(format!(
        "the limit of open files is {open_files}, so there are at most {} connections and {} that are not let in yet, in place of \
         limits.max_connections = {connections} and limits.max_handshakes = {handshakes}: raise the limit, or lower these",
        limits.max_connections, limits.max_handshakes
    ))
}

/// Too few to be worth it.
const SMALLEST: i32 = 256;

/// Has the system grow the table, as far as the limit of open files lets it. Once is enough: it never shrinks.
pub(crate) fn reserve() {
    let mut size = LARGEST;
    while size >= SMALLEST {
        // A descriptor with the highest number, for a moment. Beyond the limit it is refused.
        if fcntl_dupfd_cloexec(std::io::stderr(), size - 1).is_ok() {
            return;
        }
        size /= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_fit_into_the_descriptors() {
        let fitted = |connections, handshakes, open_files| {
            let mut limits =
                Limits { max_connections: connections, max_handshakes: handshakes, ..Limits::default() };
            let told = fit(&mut limits, open_files);
            assert!(told.is_none_or(|told| told.contains(&format!("{connections} and"))
                && told.contains(&format!("is {open_files},"))));
            (limits.max_connections, limits.max_handshakes)
        };
        assert_eq!(fitted(1000, 100, 100_000), (1000, 100));
        assert_eq!(fitted(1_000_000, 65_536, 1_048_576), (982_912, 65_536));
        assert_eq!(fitted(1_000_000, 65_536, 1024), (672, 224));
        assert_eq!(fitted(10, 65_536, 1024), (10, 224));
        assert_eq!(fitted(1000, 1000, 0), (1, 1));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_table_has_grown() {
        reserve();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let size = status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap();
        let size: i32 = size.trim().parse().unwrap();
        let limit = i32::try_from(rlimit::Resource::NOFILE.get_soft().unwrap()).unwrap_or(i32::MAX);
        assert!(2 * size > limit.min(LARGEST), "{size} of {limit}");
    }
}
