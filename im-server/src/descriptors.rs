//! Room for descriptors, made before anybody waits for it.

use rustix::io::fcntl_dupfd_cloexec;

/// The table of open files is made this large at once; at 8 bytes each, half a MiB of the kernel's memory. It doubles when
/// it is full, and in a process with threads that waits for every processor (on Linux, for RCU): 5 to 15 ms each, in which
/// nobody is accepted. From 64 on, a storm of 10,000 devices would meet that seven times.
const LARGEST: i32 = 65_536;

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
