//! How many connections fit where: a descriptor table holds no more than the limit of open files allows.

/// What a process or a thread has open beside its connections.
const RESERVED: u64 = 500;

/// How many connections one process, or one thread with a descriptor table of its own, can hold.
///
/// # Errors
/// When the limit cannot be read.
pub(crate) fn per_table() -> Result<u32, String> {
    let (_, hard) = rlimit::Resource::NOFILE
        .get()
        .map_err(|error| format!("cannot read the descriptor limit: {error}"))?;
    Ok(u32::try_from(hard.saturating_sub(RESERVED)).unwrap_or(u32::MAX).max(1))
}

/// How many connections one im-server can hold: it keeps a quarter of its descriptors for devices that are not let in yet.
///
/// # Errors
/// When the limit cannot be read.
pub(crate) fn per_server() -> Result<u32, String> {
    Ok((per_table()? / 4 * 3).max(1))
}

/// As many as are needed for so many connections, of those that hold so many each.
pub(crate) fn tables(connections: u32, each: u32) -> usize {
    connections.div_ceil(each.max(1)).max(1) as usize
}

/// For targets that are one process.
///
/// # Errors
/// When it cannot hold so many.
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
