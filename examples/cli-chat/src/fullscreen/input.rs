//! The prompt's line editor: text, cursor, history and completion. Pure: keys go in, actions come out.

use std::collections::VecDeque;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// The effect of a key, beside a change of the line itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// No further effect.
    None,
    /// The text has grown.
    Typed,
    /// A line is complete.
    Submit(String),
    /// Opens the next conversation of the list, or the one before.
    Switch {
        back: bool,
    },
    /// Scrolls the messages by a page.
    Scroll {
        up: bool,
    },
    /// Closes the notes.
    Dismiss,
    Quit,
}

/// A line editor.
#[derive(Clone, Debug, Default)]
pub(crate) struct Input {
    text: String,
    /// The cursor, as a byte offset at a character boundary.
    cursor: usize,
    /// Earlier lines, the newest last.
    history: VecDeque<String>,
    /// The index in the history, and the line that was being typed.
    recalled: Option<(usize, String)>,
}

impl Input {
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The text before the cursor.
    pub(crate) fn before_cursor(&self) -> &str {
        &self.text[..self.cursor]
    }

    /// Handles a key. Completion uses `names`.
    pub(crate) fn key(&mut self, key: KeyEvent, names: &[String]) -> Action {
        let has_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if has_control => return Action::Quit,
            KeyCode::Char('d') if has_control && self.text.is_empty() => return Action::Quit,
            KeyCode::Char('n') if has_control => return Action::Switch { back: false },
            KeyCode::Char('p') if has_control => return Action::Switch { back: true },
            KeyCode::Char('a') if has_control => self.cursor = 0,
            KeyCode::Char('e') if has_control => self.cursor = self.text.len(),
            KeyCode::Char('k') if has_control => self.text.truncate(self.cursor),
            KeyCode::Char('u') if has_control => self.remove(0),
            KeyCode::Char('w') if has_control => self.remove(self.word_start()),
            KeyCode::Char(character) if !has_control => {
                self.insert(character.encode_utf8(&mut [0; 4]));
                return Action::Typed;
            }
            KeyCode::Backspace => self.remove(self.previous()),
            KeyCode::Delete if self.cursor < self.text.len() => {
                self.text.remove(self.cursor);
            }
            KeyCode::Left => self.cursor = self.previous(),
            KeyCode::Right => self.cursor = self.next(),
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = self.text.len(),
            KeyCode::Up => self.recall(true),
            KeyCode::Down => self.recall(false),
            KeyCode::PageUp => return Action::Scroll { up: true },
            KeyCode::PageDown => return Action::Scroll { up: false },
            KeyCode::BackTab => return Action::Switch { back: true },
            KeyCode::Tab if self.text.is_empty() => return Action::Switch { back: false },
            KeyCode::Tab => self.complete(names),
            KeyCode::Esc => return Action::Dismiss,
            KeyCode::Enter => return self.submit(),
            _ => {}
        }
        Action::None
    }

    /// Inserts a text at the cursor.
    pub(crate) fn insert(&mut self, text: &str) {
        self.text.insert_str(self.cursor, text);
        self.cursor += text.len();
    }

    /// Brings back a line that failed, unless another one was begun.
    pub(crate) fn restore(&mut self, line: String) {
        if self.text.is_empty() {
            self.set(line);
        }
    }

    fn submit(&mut self) -> Action {
        let line = std::mem::take(&mut self.text);
        (self.cursor, self.recalled) = (0, None);
        if line.trim().is_empty() {
            return Action::None;
        }
        self.history.push_back(line.clone());
        if self.history.len() > MAX_HISTORY {
            self.history.pop_front();
        }
        Action::Submit(line)
    }

    fn set(&mut self, text: String) {
        self.cursor = text.len();
        self.text = text;
    }

    /// Removes the text between an offset and the cursor.
    fn remove(&mut self, start: usize) {
        self.text.drain(start..self.cursor);
        self.cursor = start;
    }

    fn previous(&self) -> usize {
        self.before_cursor().char_indices().next_back().map_or(0, |(start, _)| start)
    }

    fn next(&self) -> usize {
        self.text[self.cursor..].chars().next().map_or(self.cursor, |next| self.cursor + next.len_utf8())
    }

    /// Returns the beginning of the word before the cursor.
    fn word_start(&self) -> usize {
        let word = self.before_cursor().trim_end();
        word.char_indices()
            .rfind(|(_, character)| character.is_whitespace())
            .map_or(0, |(at, character)| at + character.len_utf8())
    }

    fn recall(&mut self, back: bool) {
        let (at, typed) = self.recalled.take().unwrap_or_else(|| (self.history.len(), self.text.clone()));
        let at = if back { at.saturating_sub(1) } else { at + 1 };
        match self.history.get(at) {
            Some(line) => self.set(line.clone()),
            None => self.set(typed.clone()),
        }
        self.recalled = (at < self.history.len()).then_some((at, typed));
    }

    /// Completes the word before the cursor, as far as all names with that beginning agree.
    fn complete(&mut self, names: &[String]) {
        let start = self.before_cursor().rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let word = &self.text[start..self.cursor];
        let fitting: Vec<&String> = names.iter().filter(|name| name.starts_with(word)).collect();
        let Some(first) = fitting.first() else { return };
        let agreed = fitting.iter().fold(first.as_str(), |agreed, name| common(agreed, name));
        let rest = agreed[word.len()..].to_owned() + if fitting.len() == 1 { " " } else { "" };
        self.insert(&rest);
    }
}

/// Returns the common prefix of two texts.
fn common<'a>(one: &'a str, other: &str) -> &'a str {
    let differs = one.char_indices().zip(other.chars()).find(|((_, one), other)| one != other);
    let end = differs.map_or(one.len().min(other.len()), |((at, _), _)| at);
    &one[..end]
}

/// The most lines in the history.
const MAX_HISTORY: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn press(input: &mut Input, code: KeyCode, modifiers: KeyModifiers) -> Action {
        let names = ["/open", "/older", "alice", "#team", "@alice"].map(str::to_owned);
        input.key(KeyEvent::new(code, modifiers), &names)
    }

    fn plain(input: &mut Input, code: KeyCode) -> Action {
        press(input, code, KeyModifiers::NONE)
    }

    fn write(input: &mut Input, text: &str) {
        for character in text.chars() {
            assert_eq!(plain(input, KeyCode::Char(character)), Action::Typed);
        }
    }

    #[test]
    fn a_line_is_edited_character_by_character() {
        let mut input = Input::default();
        write(&mut input, "中文 hello");
        plain(&mut input, KeyCode::Home);
        plain(&mut input, KeyCode::Right);
        plain(&mut input, KeyCode::Delete);
        assert_eq!((input.text(), input.before_cursor()), ("中 hello", "中"));
        plain(&mut input, KeyCode::End);
        plain(&mut input, KeyCode::Backspace);
        plain(&mut input, KeyCode::Left);
        write(&mut input, "é");
        assert_eq!(input.text(), "中 helél");
        press(&mut input, KeyCode::Char('w'), KeyModifiers::CONTROL);
        assert_eq!(input.text(), "中 l");
        press(&mut input, KeyCode::Char('u'), KeyModifiers::CONTROL);
        press(&mut input, KeyCode::Char('k'), KeyModifiers::CONTROL);
        assert_eq!(plain(&mut input, KeyCode::Enter), Action::None, "an empty line is none");
    }

    #[test]
    fn earlier_lines_come_back_and_the_begun_one_is_kept() {
        let mut input = Input::default();
        write(&mut input, "one");
        assert_eq!(plain(&mut input, KeyCode::Enter), Action::Submit("one".to_owned()));
        write(&mut input, "two");
        plain(&mut input, KeyCode::Enter);
        write(&mut input, "begun");
        for wanted in ["two", "one", "one"] {
            plain(&mut input, KeyCode::Up);
            assert_eq!(input.text(), wanted);
        }
        for wanted in ["two", "begun", "begun"] {
            plain(&mut input, KeyCode::Down);
            assert_eq!(input.text(), wanted);
        }
        input.restore("refused".to_owned());
        assert_eq!(input.text(), "begun", "another line was begun");
    }

    #[test]
    fn tab_completes_commands_and_names_and_moves_on_otherwise() {
        let mut input = Input::default();
        assert_eq!(plain(&mut input, KeyCode::Tab), Action::Switch { back: false });
        write(&mut input, "/o");
        plain(&mut input, KeyCode::Tab);
        assert_eq!(input.text(), "/o", "two commands begin so");
        write(&mut input, "p");
        plain(&mut input, KeyCode::Tab);
        write(&mut input, "al");
        plain(&mut input, KeyCode::Tab);
        assert_eq!(input.text(), "/open alice ");
        assert_eq!(press(&mut input, KeyCode::Char('c'), KeyModifiers::CONTROL), Action::Quit);
    }
}
