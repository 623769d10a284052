//! Resource usage of processes so far (Linux, proc(5)).

use std::{fs, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// The usage of several processes together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Processor time, in user space and in the kernel.
    pub(crate) cpu: Duration,
    /// Memory without a backing file, in bytes.
    pub(crate) anonymous_bytes: u64,
}

/// Returns the usage of processes. One that is gone counts as nothing.
pub(crate) fn of(processes: &[u32]) -> Usage {
    let mut usage = Usage::default();
    for process in processes {
        usage.cpu += cpu(*process).unwrap_or_default();
        usage.anonymous_bytes += anonymous_bytes(*process).unwrap_or_default();
    }
    usage
}

/// Returns the kernel memory in slab objects, such as sockets, of the whole machine, in bytes.
pub(crate) fn slab_bytes() -> u64 {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    field_kb(&info, "Slab:").unwrap_or_default() * 1024
}

/// Returns the processor time of this process, with nanosecond resolution.
pub(crate) fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

fn cpu(process: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in parentheses, may contain anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

fn anonymous_bytes(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    Some(field_kb(&status, "RssAnon:")? * 1024)
}

fn field_kb(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").trim().parse().ok()
}

/// `USER_HZ`, which is 100 on all common hardware.
const TICKS_PER_SECOND: u64 = 100;
