//! Number of connections that a process can hold, within the limit of open files of its descriptor table.

/// Descriptors of a process or thread other than those of its connections.
const RESERVED: u64 = 500;

/// Returns the number of connections that one process, or one thread with a descriptor table of its own, can
/// hold.
///
/// # Errors
/// Fails if the limit cannot be read.
pub(crate) fn per_table() -> Result<u32, String> {
    let (_, hard) = rlimit::Resource::NOFILE
        .get()
        .map_err(|error| format!("cannot read the descriptor limit: {error}"))?;
    Ok(u32::try_from(hard.saturating_sub(RESERVED)).unwrap_or(u32::MAX).max(1))
}

/// Returns the number of connections that one im-server can hold. It reserves a quarter of its descriptors for devices
/// that are not logged in yet.
///
/// # Errors
/// Fails if the limit cannot be read.
pub(crate) fn per_server() -> Result<u32, String> {
    Ok((per_table()? / 4 * 3).max(1))
}

/// Returns the number of tables that `connections` need at `each` connections per table.
pub(crate) fn tables(connections: u32, each: u32) -> usize {
    connections.div_ceil(each.max(1)).max(1) as usize
}

/// Checks that a target with a single process can hold the connections.
///
/// # Errors
/// Fails if it cannot.
pub(crate) fn one_process_holds(connections: u32) -> Result<(), String> {
    let most = per_table()?;
    if connections <= most {
        return Ok(());
    }
    Err(format!(
        "one process holds at most {most} connections here, for want of descriptors (ulimit -Hn): use fewer than {connections}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_tables_as_connections_need() {
        assert_eq!([0, 1, 10, 11, 20, 21].map(|connections| tables(connections, 10)), [1, 1, 1, 2, 2, 3]);
        assert_eq!(tables(500_000, 19_500), 26);
        assert!(one_process_holds(1).is_ok() && one_process_holds(u32::MAX).is_err());
    }
}
