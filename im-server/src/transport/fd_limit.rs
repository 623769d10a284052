//! File descriptors: fits the limits of a configuration to them, and grows their table before connections have to wait for it.

use rustix::io::fcntl_dupfd_cloexec;

use crate::config::{Limits, ServerConfig};

/// The size to which the table of open files grows at once. At 8 bytes each, that is half a MiB of the kernel's memory. A full
/// table doubles, and in a process with threads that waits for every processor (on Linux, for RCU): 5 to 15 ms each time, in which
/// no connection is accepted. From 64 entries on, a storm of 10,000 devices would cause seven such waits.
const LARGEST: i32 = 65_536;

/// Descriptors for everything else: Redis, NATS, files, listeners, and connections that close.
const OTHERS: u64 = 128;

/// Lowers [`Limits::max_connections`] and [`Limits::max_handshakes`] to what the operating system lets this process open. Devices
/// then learn that the server is full instead of waiting for it. Each WebSocket takes a descriptor.
///
/// Returns a warning for the operator if it lowered them. The program calls this when it starts. An application that embeds a
/// server may call it after it has raised its own limit.
pub fn fit_fd_limit(config: &mut ServerConfig) -> Option<String> {
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

/// The minimum size worth growing to.
const SMALLEST: i32 = 256;

/// Grows the table, as far as the limit of open files allows. Once is enough: the table never shrinks.
pub(crate) fn reserve() {
    let mut size = LARGEST;
    while size >= SMALLEST {
        // Opens a descriptor with the highest number, for a moment. Beyond the limit, the operating system refuses it.
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
