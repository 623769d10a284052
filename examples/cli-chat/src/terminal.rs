//! The keyboard and the screen, or two pipes.

use std::{
    io::{self, IsTerminal as _, Write as _},
    thread,
};

use rustyline::{DefaultEditor, ExternalPrinter};
use tokio::sync::mpsc;

/// Where lines are shown.
pub(crate) enum Screen {
    /// A person types at the same time: lines appear above what is being typed.
    Terminal(Box<dyn ExternalPrinter + Send>),
    /// A program reads.
    Pipe,
}

impl Screen {
    /// Shows a line.
    pub(crate) fn print(&mut self, line: &str) {
        // What others write must not steer this terminal.
        let line = line.replace(char::is_control, "\u{fffd}") + "\n";
        // If nobody can see it any more, there is nothing to be done.
        _ = match self {
            Self::Terminal(printer) => printer.print(line).map_err(io::Error::other),
            Self::Pipe => io::stdout().write_all(line.as_bytes()),
        };
    }

    /// Shows what a person who typed it knows already.
    pub(crate) fn confirm(&mut self, line: &str) {
        if matches!(self, Self::Pipe) {
            self.print(line);
        }
    }
}

/// The screen, and the lines of the input up to its end or `/quit`.
///
/// Reading blocks, so a thread does it. It is never left behind in the middle of a line, which would leave the
/// terminal in the editor's mode: the program ends when the input does.
pub(crate) fn open() -> rustyline::Result<(Screen, mpsc::Receiver<String>)> {
    let (lines, receiver) = mpsc::channel(QUEUED_LINES);
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        thread::spawn(move || forward(io::stdin().lines().map_while(Result::ok), &lines));
        return Ok((Screen::Pipe, receiver));
    }
    let mut editor = DefaultEditor::new()?;
    let printer = editor.create_external_printer()?;
    thread::spawn(move || {
        let typed = std::iter::from_fn(|| {
            let line = editor.readline("> ").ok()?;
            _ = editor.add_history_entry(&line);
            Some(line)
        });
        forward(typed, &lines);
    });
    Ok((Screen::Terminal(Box::new(printer)), receiver))
}

fn forward(input: impl Iterator<Item = String>, lines: &mpsc::Sender<String>) {
    for line in input {
        if line.trim() == "/quit" || lines.blocking_send(line).is_err() {
            return;
        }
    }
}

/// A pipe can be faster than the network; then it waits.
const QUEUED_LINES: usize = 16;
