//! Finds the programs that tests start and checks their versions, by the same rules as `run.sh`.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

/// Folders to search after `PATH`. A `*` stands for one folder; those with the highest numbers come first.
pub const BESIDE_PATH: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/usr/lib/postgresql/*/bin"];

/// A package that the tests need.
#[derive(Debug)]
pub struct Needed {
    /// Name on Debian and Ubuntu.
    pub package: &'static str,
    /// Oldest supported version of its first program.
    pub oldest: Option<(u32, u32)>,
    /// Programs, which must be in one folder.
    pub programs: &'static [&'static str],
}

/// Redis. The logs need 7.0.
pub const REDIS: Needed =
    Needed { package: "redis-server", oldest: Some((7, 0)), programs: &["redis-server"] };

/// NATS. The bus needs 2.2, the archive 2.9.
pub const NATS: Needed = Needed { package: "nats-server", oldest: Some((2, 9)), programs: &["nats-server"] };

/// PostgreSQL.
pub const POSTGRES: Needed =
    Needed { package: "postgresql", oldest: None, programs: &["postgres", "initdb"] };

/// Python.
pub const PYTHON: Needed = Needed { package: "python3", oldest: None, programs: &["python3"] };

/// Runs processes with a clock of their own.
pub const FAKETIME: Needed = Needed { package: "faketime", oldest: None, programs: &["faketime"] };

pub(crate) fn redis_server() -> PathBuf {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| REDIS.folder());
    FOLDER.join("redis-server")
}

pub(crate) fn nats_server() -> PathBuf {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| NATS.folder());
    FOLDER.join("nats-server")
}

/// Returns the path of one of PostgreSQL's programs.
pub(crate) fn postgres(program: &str) -> PathBuf {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| POSTGRES.folder());
    FOLDER.join(program)
}

impl Needed {
    /// Returns the first folder that contains all of its programs.
    ///
    /// # Panics
    /// Panics if there is none, or if the programs are too old.
    fn folder(&self) -> PathBuf {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut folders =
            env::split_paths(&path).chain(BESIDE_PATH.iter().flat_map(|folder| matching(folder)));
        let folder =
            folders.find(|folder| self.programs.iter().all(|program| is_program(&folder.join(program))));
        let folder = folder.unwrap_or_else(|| {
            let Self { package, programs, .. } = self;
            panic!("{} not found: run `apt-get install {package}` or ./tests/run.sh", programs.join(" and "))
        });
        if let Some(oldest) = self.oldest {
            check_version(&folder.join(self.programs[0]), oldest);
        }
        folder
    }
}

/// Returns the folders that match a pattern with at most one `*`.
fn matching(pattern: &str) -> Vec<PathBuf> {
    let Some((above, below)) = pattern.split_once("/*/") else { return vec![pattern.into()] };
    let entries = fs::read_dir(above).into_iter().flatten().filter_map(Result::ok);
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    let number = |folder: &PathBuf| folder.file_name()?.to_str()?.parse::<u32>().ok();
    folders.sort_by_key(|folder| std::cmp::Reverse(number(folder)));
    folders.into_iter().map(|folder| folder.join(below)).collect()
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

fn check_version(program: &Path, oldest: (u32, u32)) {
    let output = Command::new(program).arg("--version").output().expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let found = version(&said);
    assert!(
        found.is_some_and(|found| found >= oldest),
        "{} says {:?}, and the tests need {}.{} or newer: install a newer one",
        program.display(),
        said.trim(),
        oldest.0,
        oldest.1,
    );
}

/// Parses a version: 7.0 from `Redis server v=7.0.15 sha=…`, 2.9 from `nats-server: v2.9.10`.
fn version(said: &str) -> Option<(u32, u32)> {
    said.split_whitespace().find_map(|word| {
        let mut parts = word.strip_prefix('v')?.trim_start_matches('=').split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        assert_eq!(
            version("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64"),
            Some((7, 0))
        );
        assert_eq!(version("nats-server: v2.10.1"), Some((2, 10)));
        assert_eq!(version("something else"), None);
    }

    #[test]
    #[should_panic(expected = "the tests need 99.0 or newer: install a newer one")]
    fn one_that_is_too_old_is_told() {
        Needed { oldest: Some((99, 0)), ..REDIS }.folder();
    }

    #[test]
    #[should_panic(
        expected = "sh and im-no-such-program not found: run `apt-get install none` or ./tests/run.sh"
    )]
    fn programs_that_are_not_together_are_missing() {
        Needed { package: "none", oldest: None, programs: &["sh", "im-no-such-program"] }.folder();
    }

    #[test]
    fn the_newest_version_comes_first() {
        let root = tempfile::tempdir().expect("a directory");
        for name in ["9", "15", "10", "other"] {
            fs::create_dir(root.path().join(name)).expect("a folder");
        }
        let pattern = format!("{}/*/bin", root.path().display());
        let found: Vec<_> = matching(&pattern)
            .into_iter()
            .map(|path| path.strip_prefix(root.path()).map(Path::to_owned))
            .collect();
        assert_eq!(found, ["15/bin", "10/bin", "9/bin", "other/bin"].map(|path| Ok(path.into())));
    }
}
