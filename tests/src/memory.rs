//! Reads the memory use of processes (Linux, proc(5)).

use std::{fmt, fs};

/// Memory use of a process in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Resident memory now.
    pub resident: u64,
    /// Peak resident memory since its start.
    pub peak: u64,
}

impl Memory {
    /// Reads the memory use of a process.
    ///
    /// # Panics
    /// Panics if there is no such process.
    pub fn of(process: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
        Self { resident: field(&status, "VmRSS:"), peak: field(&status, "VmHWM:") }
    }

    /// Returns how far the peak exceeds what was resident at an earlier time.
    pub fn peak_since(&self, earlier: Self) -> u64 {
        self.peak.saturating_sub(earlier.resident)
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.1} MiB (peak {:.1})", mib(self.resident), mib(self.peak))
    }
}

/// Converts bytes to MiB.
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let kib = line.trim().trim_end_matches(" kB").parse::<u64>();
    kib.unwrap_or_else(|error| panic!("{name} {line:?}: {error}")) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_had_at_least_as_much() {
        let before = Memory::of(std::process::id());
        assert!(before.peak >= before.resident && before.resident > 1 << 20, "{before}");
        let held = vec![1_u8; 64 << 20];
        let after = Memory::of(std::process::id());
        assert!(after.peak_since(before) >= (held.len() as u64) / 2, "{before} {after}");
    }
}
