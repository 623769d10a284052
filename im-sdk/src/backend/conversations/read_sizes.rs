//! The sizes of reads of logs.

/// The number of entries in one read, and of logs that are read at once.
pub(super) const PAGE: usize = 256;
pub(super) const PARALLEL: usize = 16;

/// The number of entries that are read for a last message alone: the newest ones may be changes.
pub(super) const FEW: usize = 16;

/// The bytes of the first read of a log: most logs have less behind the mark.
pub(super) const FIRST_BYTES: usize = 64 * 1024;
