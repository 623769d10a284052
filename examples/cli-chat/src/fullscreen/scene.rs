//! The contents of the full screen, and their drawing. Pure: takes a scene, and returns cells.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Position, Rect},
    style::{Color, Style, Stylize as _},
    text::{Line, Span},
    widgets::{Block, Borders, Paragraph},
};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::input::Input;
use crate::view::Listed;

/// The contents of the screen, except for the prompt.
#[derive(Debug, Default)]
pub(crate) struct Scene {
    pub(crate) list: Vec<Listed>,
    /// The name of the open conversation, and the notes beside it.
    pub(crate) title: Option<(String, String)>,
    /// The messages of the open conversation, the newest last.
    pub(crate) messages: Vec<Shown>,
    /// The number of lines scrolled back from the newest one.
    pub(crate) scroll: usize,
    /// Lines that are no messages, such as answers to commands.
    pub(crate) notes: Vec<String>,
    /// The user, the connection, and the unread total.
    pub(crate) status: String,
    pub(crate) is_connected: bool,
}

/// A message, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) number: String,
    pub(crate) time: String,
    /// The sender, or empty for a notice.
    pub(crate) from: String,
    pub(crate) is_own: bool,
    pub(crate) quote: String,
    pub(crate) text: String,
    /// Set if it mentions the user.
    pub(crate) calls: bool,
    /// Edits, pins, reactions.
    pub(crate) beside: String,
    pub(crate) state: State,
}

/// The state of one of the user's own messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// A message of somebody else.
    #[default]
    None,
    /// On its way, or waiting for a connection.
    Waiting,
    /// In the logs.
    Sent,
    /// Somebody has read it.
    Read,
    /// Refused, for this reason.
    Failed(String),
}

/// Draws a scene. Returns the number of lines by which it can be scrolled back.
pub(crate) fn render(frame: &mut Frame<'_>, scene: &Scene, input: &Input) -> usize {
    let [body, status, line] =
        Layout::vertical([Constraint::Min(1), Constraint::Length(1), Constraint::Length(1)])
            .areas(frame.area());
    let list_width = if body.width >= 60 { LIST_WIDTH } else { 0 };
    let [list, main] = Layout::horizontal([Constraint::Length(list_width), Constraint::Min(1)]).areas(body);
    render_list(frame, scene, list);
    let notes = notes(scene, main);
    let height = u16::try_from(notes.len() + 1).unwrap_or(u16::MAX).min(main.height);
    let height = if notes.is_empty() { 0 } else { height };
    let [main, below] = Layout::vertical([Constraint::Min(0), Constraint::Length(height)]).areas(main);
    let most = render_messages(frame, scene, main);
    let block =
        Block::new().borders(Borders::TOP).border_style(Style::new().dim()).title_top("Esc closes".dim());
    frame.render_widget(Paragraph::new(notes).block(block), below);
    let style = if scene.is_connected { Style::new().reversed() } else { Style::new().on_red().white() };
    let text = format!(" {}", scene.status);
    frame.render_widget(Paragraph::new(text).style(style), status);
    render_input(frame, scene, input, line);
    most
}

fn render_list(frame: &mut Frame<'_>, scene: &Scene, area: Rect) {
    let block = Block::new().borders(Borders::RIGHT).border_style(Style::new().dim());
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let width = usize::from(inside.width);
    let open = scene.title.as_ref().map(|(name, _)| name);
    let mut lines = Vec::new();
    for listed in &scene.list {
        let is_open = open == Some(&listed.name);
        let is_new = !listed.unread.is_empty();
        let mark = if listed.online { "●".green() } else { " ".into() };
        let badge = match (is_new, listed.mentioned) {
            (true, true) => format!("@{} ", listed.unread),
            (true, false) => format!("{} ", listed.unread),
            _ if listed.muted => "muted ".to_owned(),
            _ if listed.pinned => "top ".to_owned(),
            _ => String::new(),
        };
        let name = fit(&listed.name, width.saturating_sub(2 + badge.width()));
        let gap = " ".repeat(width.saturating_sub(2 + name.width() + badge.width()));
        let mut style = if is_new && !listed.muted { Style::new().bold() } else { Style::new() };
        if is_open {
            style = style.reversed();
        }
        let badge_style = if is_new && !listed.muted { style.yellow() } else { style.dim() };
        lines.push(Line::from(vec![
            mark,
            Span::raw(" "),
            Span::styled(name + &gap, style),
            Span::styled(badge, badge_style),
        ]));
        let preview =
            listed.last.as_ref().map(|(from, text, _)| format!("{from}: {text}")).unwrap_or_default();
        lines.push(Line::from(format!("  {}", fit(&preview, width.saturating_sub(3)))).dim());
    }
    if lines.is_empty() {
        lines.push(Line::from(" no conversations yet").dim());
    }
    // Keeps the open conversation in sight.
    let at = scene.list.iter().position(|listed| open == Some(&listed.name)).unwrap_or(0) * 2 + 2;
    let skipped = at.saturating_sub(usize::from(inside.height));
    frame.render_widget(Paragraph::new(lines.split_off(skipped.min(lines.len()))), inside);
}

fn render_messages(frame: &mut Frame<'_>, scene: &Scene, area: Rect) -> usize {
    let [title, timeline] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    let Some((name, beside)) = &scene.title else {
        let welcome = [
            "",
            " /open USER or /open #GROUP begins a conversation, Tab opens the next one.",
            " /help shows the rest.",
        ];
        frame.render_widget(Paragraph::new(welcome.map(Line::from).to_vec()).dim(), timeline);
        return 0;
    };
    let title_line = Line::from(vec![Span::raw(" "), name.clone().bold(), Span::raw(beside.clone()).dim()]);
    frame.render_widget(Paragraph::new(title_line), title);
    let width = usize::from(timeline.width);
    let lines: Vec<Line<'_>> = scene.messages.iter().flat_map(|shown| lines(shown, width)).collect();
    let height = usize::from(timeline.height);
    let most = lines.len().saturating_sub(height);
    let end = lines.len() - scene.scroll.min(most);
    let shown = lines[end.saturating_sub(height)..end].to_vec();
    // The newest message is at the bottom.
    let top = timeline.height.saturating_sub(u16::try_from(shown.len()).unwrap_or(u16::MAX));
    let at = Rect { y: timeline.y + top, height: timeline.height - top, ..timeline };
    frame.render_widget(Paragraph::new(shown), at);
    most
}

/// Formats the notes, as many of the last lines as leave room for a title.
fn notes(scene: &Scene, area: Rect) -> Vec<Line<'static>> {
    let line = |note: &String| {
        let style = match note.chars().next() {
            Some('!') => Style::new().red(),
            Some('*') => Style::new().dim(),
            _ => Style::new(),
        };
        wrap(vec![Span::styled(format!(" {note}"), style)], area.width.into(), 3)
    };
    let mut lines: Vec<Line<'_>> = scene.notes.iter().flat_map(line).collect();
    let height = usize::from(area.height).saturating_sub(2).min(lines.len());
    lines.split_off(lines.len() - height)
}

fn render_input(frame: &mut Frame<'_>, scene: &Scene, input: &Input, area: Rect) {
    let name = scene.title.as_ref().map_or("", |(name, _)| name);
    let prompt = format!("{name}> ");
    let shown = |text: &str| text.replace('\n', "⏎");
    let (before, all) = (shown(input.before_cursor()), shown(input.text()));
    // Keeps the cursor in sight, at the right.
    let room = usize::from(area.width).saturating_sub(prompt.width() + 1);
    let mut skipped = before.width().saturating_sub(room);
    let visible = all.chars().skip_while(|character| {
        let is_skipped = skipped > 0;
        skipped = skipped.saturating_sub(character.width().unwrap_or(0));
        is_skipped
    });
    let visible: String = visible.collect();
    frame.render_widget(Paragraph::new(Line::from(vec![prompt.clone().bold(), visible.into()])), area);
    let column = prompt.width() + before.width().min(room);
    let column = area.x + u16::try_from(column).unwrap_or(u16::MAX).min(area.width.saturating_sub(1));
    frame.set_cursor_position(Position::new(column, area.y));
}

/// Formats a message, wrapped.
fn lines(shown: &Shown, width: usize) -> Vec<Line<'static>> {
    let mut spans = vec![Span::raw(format!("{:>5} {:5} ", shown.number, shown.time)).dim()];
    if !shown.from.is_empty() {
        let colour =
            if shown.is_own { Style::new().bold() } else { Style::new().fg(colour(&shown.from)).bold() };
        spans.push(Span::styled(format!("{}: ", shown.from), colour));
    }
    spans.push(shown.quote.clone().dim());
    let text = match &shown.state {
        _ if shown.from.is_empty() => Style::new().dim(),
        State::Waiting => Style::new().dim(),
        State::Failed(_) => Style::new().red(),
        _ if shown.calls => Style::new().fg(Color::Yellow).bold(),
        _ => Style::new(),
    };
    spans.push(Span::styled(shown.text.clone(), text));
    spans.push(shown.beside.clone().dim());
    spans.push(match &shown.state {
        State::None => Span::raw(""),
        State::Waiting => " …".dim(),
        State::Sent => " ✓".dim(),
        State::Read => " ✓✓".green(),
        State::Failed(why) => format!(" ✗ {why}").red(),
    });
    wrap(spans, width, INDENT)
}

/// Breaks spans into lines of at most `width` columns, at spaces where there are some, and indents all but the first one.
fn wrap(spans: Vec<Span<'static>>, width: usize, indent: usize) -> Vec<Line<'static>> {
    let indent = indent.min(width / 2);
    let cells = spans.iter().flat_map(|span| span.content.chars().map(|character| (character, span.style)));
    let cells: Vec<(char, Style)> = cells.collect();
    let (mut lines, mut rest) = (Vec::new(), &cells[..]);
    while !rest.is_empty() {
        let before = if lines.is_empty() { 0 } else { indent };
        let mut columns = before;
        let fits = rest.iter().position(|(character, _)| {
            columns += character.width().unwrap_or(0);
            columns > width
        });
        let end = match fits {
            None => rest.len(),
            Some(end) if rest[end].0 == ' ' => end.max(1),
            Some(end) => {
                let space = rest[..end].iter().rposition(|(character, _)| *character == ' ');
                space.filter(|space| *space > end / 2).unwrap_or(end.max(1))
            }
        };
        let mut line = Line::from(" ".repeat(before));
        for part in rest[..end].chunk_by(|(_, one), (_, other)| one == other) {
            let text: String = part.iter().map(|(character, _)| character).collect();
            line.push_span(Span::styled(text, part[0].1));
        }
        lines.push(line);
        rest = &rest[end..];
        // The space at which a line is broken is not shown.
        rest = if rest.first().is_some_and(|(character, _)| *character == ' ') { &rest[1..] } else { rest };
    }
    lines
}

/// Returns as much of the beginning of a text as fits.
fn fit(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut room = columns.saturating_sub(1);
    let fits = text.chars().take_while(|character| {
        let width = character.width().unwrap_or(0);
        let fits = width <= room;
        room = room.saturating_sub(width);
        fits
    });
    fits.chain(['…']).collect()
}

/// Gives each user a colour. Red is for errors.
fn colour(name: &str) -> Color {
    let sum = name.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    [Color::Cyan, Color::Green, Color::Magenta, Color::Blue, Color::LightYellow][sum % 5]
}

/// The columns of the list.
const LIST_WIDTH: u16 = 26;

/// The columns of a message's number and time.
const INDENT: usize = 12;

#[cfg(test)]
mod tests;
