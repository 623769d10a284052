//! Lines of input and output: the keyboard and the screen, or two pipes.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    env,
    io::{self, IsTerminal as _, Write as _},
    sync::mpsc as threads,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustyline::{
    Context, Editor, ExternalPrinter, Helper, Result, completion::Completer, highlight::Highlighter,
    hint::Hinter, history::DefaultHistory, validate::Validator,
};
use tokio::sync::mpsc;
use unicode_width::UnicodeWidthStr as _;

/// The output for lines.
pub(crate) struct Screen {
    output: Output,
    colours: bool,
}

enum Output {
    /// Straight to the output, for a program that reads it.
    Plain,
    /// Above the line that is being typed.
    Above(threads::SyncSender<String>, JoinHandle<()>),
    /// Over the messages of the full screen, each with its time.
    Notes(RefCell<VecDeque<(Instant, String)>>),
}

/// The keyboard, line by line.
pub(crate) struct Keyboard {
    /// The lines, until the input ends.
    pub(crate) lines: mpsc::Receiver<String>,
    /// Typing in incomplete lines that are no commands.
    pub(crate) typing: mpsc::Receiver<()>,
    prompts: Option<threads::Sender<Prompt>>,
}

/// The prompt of a line.
pub(crate) struct Prompt {
    pub(crate) text: String,
    /// Set if a text comes back as a message, so that the typed line is removed from the screen. Commands
    /// stay.
    pub(crate) shows_again: bool,
}

impl Screen {
    /// Collects lines as notes of the full screen.
    pub(crate) fn of_notes() -> Self {
        Self { output: Output::Notes(RefCell::default()), colours: false }
    }

    /// Returns `true` if the full screen is drawn, so that lines are notes beside the messages.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self.output, Output::Notes(_))
    }

    /// Shows a line.
    pub(crate) fn print(&self, line: &str) {
        // A closed or overloaded output is ignored.
        match &self.output {
            Output::Plain => _ = io::stdout().write_all(format!("{line}\n").as_bytes()),
            Output::Above(printer, _) => _ = printer.try_send(format!("{line}\n")),
            Output::Notes(notes) => {
                let mut notes = notes.borrow_mut();
                notes.push_back((Instant::now(), line.to_owned()));
                if notes.len() > MAX_NOTES {
                    notes.pop_front();
                }
            }
        }
    }

    /// Returns the visible notes: all of them, until the newest one has been shown for long enough to read them.
    pub(crate) fn notes(&self) -> Vec<String> {
        let Output::Notes(notes) = &self.output else { return Vec::new() };
        let mut notes = notes.borrow_mut();
        let shown_for = NOTE + NOTE_LINE * u32::try_from(notes.len()).unwrap_or(u32::MAX);
        if notes.back().is_some_and(|(since, _)| since.elapsed() > shown_for) {
            notes.clear();
        }
        notes.iter().map(|(_, note)| note.clone()).collect()
    }

    /// Takes the notes off the screen.
    pub(crate) fn dismiss(&self) {
        if let Output::Notes(notes) = &self.output {
            notes.borrow_mut().clear();
        }
    }

    /// Continues with plain lines after the end of the full screen.
    pub(crate) fn end_notes(&mut self) {
        self.output = Output::Plain;
    }

    /// Returns `true` if lines may have colours: on a terminal, unless the user objects by
    /// <https://no-color.org>.
    pub(crate) fn has_colours(&self) -> bool {
        self.colours
    }

    /// Waits until everything is shown.
    pub(crate) fn close(self) {
        if let Output::Above(lines, printer) = self.output {
            drop(lines);
            // A printer that has panicked has nothing to show.
            _ = printer.join();
        }
    }
}

impl Keyboard {
    /// Asks for the next line.
    pub(crate) fn ask(&self, prompt: Prompt) {
        // The lines have ended with the input.
        _ = self.prompts.as_ref().map(|prompts| prompts.send(prompt));
    }
}

/// Opens the screen and the keyboard.
/// Reading and writing block, so threads do it. The reader waits for a prompt before each line: it must not end in the middle of
/// a line, which would leave the terminal in the editor's mode.
pub(crate) fn open() -> Result<(Screen, Keyboard)> {
    let (to_lines, lines) = mpsc::channel(QUEUED_LINES);
    let (to_typing, typing) = mpsc::channel(1);
    let is_seen = io::stdout().is_terminal();
    let wants_colours = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let colours = is_seen && wants_colours && env::var_os("TERM").is_none_or(|term| term != "dumb");
    if !io::stdin().is_terminal() || !is_seen {
        thread::spawn(move || forward(&to_lines));
        return Ok((Screen { output: Output::Plain, colours }, Keyboard { lines, typing, prompts: None }));
    }
    let mut editor = Editor::<Watch, DefaultHistory>::new()?;
    editor.set_helper(Some(Watch { typing: to_typing, length: Cell::new(0) }));
    let above = editor.create_external_printer()?;
    let (prompts, asked) = threads::channel();
    thread::spawn(move || read(editor, &asked, &to_lines));
    let (printer, printed) = threads::sync_channel(QUEUED_OUTPUT);
    let output = Output::Above(printer, thread::spawn(move || show(above, &printed)));
    Ok((Screen { output, colours }, Keyboard { lines, typing, prompts: Some(prompts) }))
}

/// Forwards the lines of a pipe.
fn forward(lines: &mpsc::Sender<String>) {
    for line in io::stdin().lines().map_while(io::Result::ok) {
        if lines.blocking_send(line).is_err() {
            return;
        }
    }
}

/// Forwards typed lines.
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
            // Moves up by these rows, and clears the screen from there.
            _ = write!(io::stdout(), "\x1b[{rows}A\x1b[J").and_then(|()| io::stdout().flush());
        }
        if lines.blocking_send(line).is_err() {
            return;
        }
    }
}

/// Shows lines above the one that is being typed, on a separate thread: the editor takes them only while it
/// reads.
fn show(mut above: impl ExternalPrinter, lines: &threads::Receiver<String>) {
    for line in lines {
        if above.print(line.clone()).is_err() {
            // The editor is gone.
            _ = io::stdout().write_all(line.as_bytes());
        }
    }
}

/// Reports typing.
struct Watch {
    typing: mpsc::Sender<()>,
    length: Cell<usize>,
}

impl Hinter for Watch {
    type Hint = String;

    fn hint(&self, line: &str, _position: usize, _context: &Context<'_>) -> Option<String> {
        let grows = line.len() > self.length.replace(line.len());
        if grows && !line.starts_with('/') {
            // A pending report has the same meaning.
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

/// The most lines of a pipe that wait for the network.
const QUEUED_LINES: usize = 16;

/// The most notes that are kept: more than fit on a screen.
const MAX_NOTES: usize = 100;

/// The time for which notes are shown, and the additional time for each line.
const NOTE: Duration = Duration::from_secs(5);
const NOTE_LINE: Duration = Duration::from_secs(2);

/// The most lines that wait to be shown: more than anybody reads. Further ones are dropped.
const QUEUED_OUTPUT: usize = 1024;
