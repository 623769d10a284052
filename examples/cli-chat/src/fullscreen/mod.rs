//! The full screen: cells instead of lines. Dropping it restores the terminal, also after a panic.

pub(crate) mod input;
pub(crate) mod scene;

use std::{io, process::Command, thread};

use ratatui::{
    DefaultTerminal,
    crossterm::{
        event::{self, DisableBracketedPaste, EnableBracketedPaste, Event},
        execute,
    },
};
use tokio::sync::mpsc;

use self::{input::Input, scene::Scene};

/// The terminal, and its input.
pub(crate) struct Fullscreen {
    terminal: DefaultTerminal,
    /// Keys, pasted text, and changes of the size, until the input ends.
    pub(crate) events: mpsc::Receiver<Event>,
}

impl Fullscreen {
    /// Takes over the terminal, and starts to read keys.
    pub(crate) fn open() -> io::Result<Self> {
        let terminal = ratatui::try_init()?;
        let (sender, events) = mpsc::channel(QUEUED_KEYS);
        let fullscreen = Self { terminal, events };
        execute!(io::stdout(), EnableBracketedPaste)?;
        // A thread does the blocking reads. It ends with the program.
        thread::spawn(move || while event::read().is_ok_and(|event| sender.blocking_send(event).is_ok()) {});
        Ok(fullscreen)
    }

    /// Draws a scene. Returns the number of lines by which it can be scrolled back.
    pub(crate) fn draw(&mut self, scene: &Scene, input: &Input) -> io::Result<usize> {
        let mut most = 0;
        self.terminal.draw(|frame| most = scene::render(frame, scene, input))?;
        Ok(most)
    }
}

impl Drop for Fullscreen {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        _ = execute!(io::stdout(), DisableBracketedPaste);
        ratatui::restore();
    }
}

/// Returns the local time's offset from UTC in seconds, as the program `date` prints it, or 0 without that
/// program.
pub(crate) fn utc_offset() -> i64 {
    let output = Command::new("date").arg("+%z").output();
    output.ok().and_then(|output| parse_offset(std::str::from_utf8(&output.stdout).ok()?.trim())).unwrap_or(0)
}

/// Parses `+0530`.
fn parse_offset(text: &str) -> Option<i64> {
    let (sign, digits) = text.split_at_checked(1)?;
    let digits: i64 = digits.parse().ok()?;
    let seconds = (digits / 100 * 60 + digits % 100) * 60;
    match sign {
        "+" => Some(seconds),
        "-" => Some(-seconds),
        _ => None,
    }
}

/// Formats the time of a message: `14:03` of today, else `11-29`. Both are in milliseconds since the Unix epoch.
pub(crate) fn clock(unix_ms: u64, now_ms: u64, offset: i64) -> String {
    let seconds = |ms: u64| i64::try_from(ms / 1000).unwrap_or(i64::MAX / 2) + offset;
    let (at, now) = (seconds(unix_ms), seconds(now_ms));
    if at.div_euclid(DAY) == now.div_euclid(DAY) {
        let minutes = at.rem_euclid(DAY) / 60;
        return format!("{:02}:{:02}", minutes / 60, minutes % 60);
    }
    let (month, day) = month_and_day(at.div_euclid(DAY));
    format!("{month:02}-{day:02}")
}

/// Returns the month and the day for a number of days since the Unix epoch, by a Gregorian calendar whose year
/// begins in March.
fn month_and_day(days: i64) -> (i64, i64) {
    let days = (days + 719_468).rem_euclid(146_097);
    let year = (days - days / 1460 + days / 36_524 - days / 146_096) / 365;
    let day_of_year = days - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    ((month + 2) % 12 + 1, day_of_year - (153 * month + 2) / 5 + 1)
}

const DAY: i64 = 24 * 60 * 60;

/// More keys than anybody types before the next frame.
const QUEUED_KEYS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_today_have_a_time_and_others_a_date() {
        let now = 1_796_051_000_000; // 2026-11-30 15:03:20 UTC
        let hour = 3_600_000;
        assert_eq!(clock(now, now, 0), "15:03");
        assert_eq!(clock(now - 14 * hour, now, 0), "01:03");
        assert_eq!(clock(now - 16 * hour, now, 0), "11-29");
        assert_eq!(clock(now, now, 10 * 3600), "01:03", "it is tomorrow there");
        let days = [(0, (1, 1)), (58, (2, 28)), (59, (3, 1)), (789, (2, 29)), (20_787, (11, 30))];
        assert_eq!(days.map(|(day, _)| month_and_day(day)), days.map(|(_, date)| date));
        let parsed = ["+0530", "-0800", "+0000", "", "é"].map(parse_offset);
        assert_eq!(parsed, [Some(19_800), Some(-28_800), Some(0), None, None]);
    }
}
