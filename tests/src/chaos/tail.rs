//! Reads the lines of a child process, as they are written and after its exit.

use std::{fs::File, io::Read as _, path::Path, str::FromStr};

/// Reader of a growing file.
#[derive(Debug)]
pub(super) struct Tail {
    file: File,
    /// Beginning of an incomplete line.
    rest: String,
}

impl Tail {
    /// Starts at the beginning of the file.
    pub(super) fn follow(path: &Path) -> Self {
        Self { file: File::open(path).expect("a log file"), rest: String::new() }
    }

    /// Returns the lines of this kind since the last call, and skips others.
    pub(super) fn read<T: FromStr>(&mut self) -> Vec<T> {
        self.file.read_to_string(&mut self.rest).expect("the log file can be read");
        let Some(end) = self.rest.rfind('\n') else { return Vec::new() };
        let lines = self.rest[..end].lines().filter_map(|line| line.parse().ok()).collect();
        self.rest.drain(..=end);
        lines
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn lines_are_read_once_and_whole() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut tail = Tail::follow(file.path());
        let mut check = |text: &str, expected: &[u32]| {
            file.as_file_mut().write_all(text.as_bytes()).unwrap();
            assert_eq!(tail.read::<u32>(), expected);
        };
        check("", &[]);
        check("2\n3\n4", &[2, 3]);
        check("5", &[]);
        check("\nsomething else\n6\n", &[45, 6]);
    }
}
