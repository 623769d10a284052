//! The keyboard and the screen, or two pipes.

use std::{
    cell::Cell,
    env,
    io::{self, IsTerminal as _, Write as _},
    sync::mpsc as threads,
    thread::{self, JoinHandle},
};

use rustyline::{
    Context, Editor, ExternalPrinter, Helper, Result, completion::Completer, highlight::Highlighter,
    hint::Hinter, history::DefaultHistory, validate::Validator,
};
use tokio::sync::mpsc;
use unicode_width::UnicodeWidthStr as _;

/// Where lines are shown.
pub(crate) struct Screen {
    /// `None`: straight to the output, which a program reads.
    printer: Option<(threads::SyncSender<String>, JoinHandle<()>)>,
    colours: bool,
}

/// What is typed.
pub(crate) struct Keyboard {
    /// The lines, up to the end of the input.
    pub(crate) lines: mpsc::Receiver<String>,
    /// Something was typed that is no command, and is no whole line yet.
    pub(crate) typing: mpsc::Receiver<()>,
    prompts: Option<threads::Sender<Prompt>>,
}

/// What stands before what is typed.
pub(crate) struct Prompt {
    pub(crate) text: String,
    /// What is typed here comes back as a message, so the line is taken off the screen; commands stay.
    pub(crate) shows_again: bool,
}

impl Screen {
    /// Shows a line.
    pub(crate) fn print(&self, line: &str) {
        let line = format!("{line}\n");
        // If nobody can see it any more, or is that far behind, there is nothing to be done.
        _ = match &self.printer {
            Some((printer, _)) => printer.try_send(line).map_err(io::Error::other),
            None => io::stdout().write_all(line.as_bytes()),
        };
    }

    /// Whether lines may have colours: on a terminal, unless <https://no-color.org> says otherwise.
    pub(crate) fn has_colours(&self) -> bool {
        self.colours
    }

    /// Waits until all is shown.
    pub(crate) fn close(self) {
        if let Some((lines, printer)) = self.printer {
            drop(lines);
            // A printer that has panicked has nothing to show.
            _ = printer.join();
        }
    }
}

impl Keyboard {
    /// Asks for the next line.
    pub(crate) fn ask(&self, prompt: Prompt) {
        // Where the input has ended, the lines have too.
        _ = self.prompts.as_ref().map(|prompts| prompts.send(prompt));
    }
}

/// The screen and the keyboard.
///
/// Reading and showing block, so threads do it. The one that reads waits for a prompt before each line, so it is never
/// left behind in the middle of one, which would leave the terminal in the editor's mode.
pub(crate) fn open() -> Result<(Screen, Keyboard)> {
    let (to_lines, lines) = mpsc::channel(QUEUED_LINES);
    let (to_typing, typing) = mpsc::channel(1);
    let is_seen = io::stdout().is_terminal();
    let wants_colours = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let colours = is_seen && wants_colours && env::var_os("TERM").is_none_or(|term| term != "dumb");
    if !io::stdin().is_terminal() || !is_seen {
        thread::spawn(move || forward(&to_lines));
        return Ok((Screen { printer: None, colours }, Keyboard { lines, typing, prompts: None }));
    }
    let mut editor = Editor::<Watch, DefaultHistory>::new()?;
    editor.set_helper(Some(Watch { typing: to_typing, length: Cell::new(0) }));
    let above = editor.create_external_printer()?;
    let (prompts, asked) = threads::channel();
    thread::spawn(move || read(editor, &asked, &to_lines));
    let (printer, printed) = threads::sync_channel(QUEUED_OUTPUT);
    let printer = Some((printer, thread::spawn(move || show(above, &printed))));
    Ok((Screen { printer, colours }, Keyboard { lines, typing, prompts: Some(prompts) }))
}

/// Sends the lines of a pipe on.
fn forward(lines: &mpsc::Sender<String>) {
    for line in io::stdin().lines().map_while(io::Result::ok) {
        if lines.blocking_send(line).is_err() {
            return;
        }
    }
}

/// Sends on what is typed.
fn read(
    mut editor: Editor<Watch, DefaultHistory>,
    asked: &threads::Receiver<Prompt>,
    lines: &mpsc::Sender<String>,
) {
    while let Ok(prompt) = asked.recv() {
        let Ok(line) = editor.readline(&prompt.text) else { return };
        _ = editor.add_history_entry(&line);
        let is_command = line.trim_start().starts_with('/') && !line.trim_start().starts_with("//");
        if line.trim().is_empty() || (prompt.shows_again && !is_command) {
            let columns = editor.dimensions().map_or(usize::MAX, |(columns, _)| columns.into());
            let rows = 1 + (prompt.text.width() + line.width()) / columns.max(1);
            // Up so many rows, and clear from there on.
            _ = write!(io::stdout(), "\x1b[{rows}A\x1b[J").and_then(|()| io::stdout().flush());
        }
        if lines.blocking_send(line).is_err() {
            return;
        }
    }
}

/// Shows lines above what is being typed. On a thread of its own, since the editor takes them only while it reads.
fn show(mut above: impl ExternalPrinter, lines: &threads::Receiver<String>) {
    for line in lines {
        if above.print(line.clone()).is_err() {
            // The editor is gone.
            _ = io::stdout().write_all(line.as_bytes());
        }
    }
}

/// Notices that something is typed.
struct Watch {
    typing: mpsc::Sender<()>,
    length: Cell<usize>,
}

impl Hinter for Watch {
    type Hint = String;

    fn hint(&self, line: &str, _position: usize, _context: &Context<'_>) -> Option<String> {
        let grows = line.len() > self.length.replace(line.len());
        if grows && !line.starts_with('/') {
            // One that was not taken yet says the same.
            _ = self.typing.try_send(());
        }
        None
    }
}

impl Completer for Watch {
    type Candidate = String;
}

impl Highlighter for Watch {}
impl Validator for Watch {}
impl Helper for Watch {}

/// A pipe can be faster than the network; then it waits.
const QUEUED_LINES: usize = 16;

/// Lines that wait to be shown: more than one reads. What comes then is left out.
const QUEUED_OUTPUT: usize = 1024;
