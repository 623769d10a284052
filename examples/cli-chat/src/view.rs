//! Formats lines. Pure: takes state, and returns text.

use std::time::Duration;

use im_sdk::{
    Recipient,
    content::{Body, Content, Quote},
    id::UserId,
    timeline::ShownMessage,
};

/// Formats lines for one user.
#[derive(Clone, Debug)]
pub(crate) struct View {
    me: UserId,
    /// Set if lines have colours, as on a terminal.
    colours: bool,
}

/// A message, and its place in the chat.
pub(crate) struct Row<'a> {
    pub(crate) message: &'a ShownMessage,
    /// Its number. `None` if it is in no log, so it cannot be changed.
    pub(crate) number: Option<u32>,
    /// Set if it was shown before, and looks different now.
    pub(crate) is_changed: bool,
    /// The conversation, unless it is the open one.
    pub(crate) elsewhere: Option<&'a Recipient>,
    pub(crate) age: Duration,
}

/// A conversation in the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) unread: String,
    pub(crate) mentioned: bool,
    pub(crate) pinned: bool,
    pub(crate) muted: bool,
    pub(crate) online: bool,
    /// The sender, the text and the age of the last message.
    pub(crate) last: Option<(String, String, Duration)>,
}

impl View {
    pub(crate) fn new(me: UserId, colours: bool) -> Self {
        Self { me, colours }
    }

    /// Formats a message as it is now: `  12 bob: hello`, and after a change ` ~12 bob: hello (edited) 👍alice`.
    pub(crate) fn message(&self, row: &Row<'_>) -> String {
        let Row { message, .. } = row;
        let mark = if row.is_changed { "~" } else { "" };
        let number = row.number.map(|number| format!("{mark}{number}")).unwrap_or_default();
        let place = row.elsewhere.map(|conversation| format!("[{}] ", name(conversation)));
        let mut line = self.dim(&format!("{number:>4} "));
        line.push_str(&self.bold(&place.unwrap_or_default()));
        line.push_str(&self.said(message.from(), message.content(), message.recalled().map(|by| &by.by)));
        let mut beside = String::new();
        if message.is_edited() {
            beside.push_str(" (edited)");
        }
        if message.is_pinned() {
            beside.push_str(" (pinned)");
        }
        for reaction in message.reactions() {
            let users: Vec<&str> = reaction.users.iter().map(|user| sender(*user)).collect();
            beside.push_str(&format!(" {}{}", clean(reaction.emoji), users.join(",")));
        }
        if row.age >= MINUTE {
            beside.push_str(&format!(" · {}", age(row.age)));
        }
        line + &self.dim(&beside)
    }

    /// Formats a message that is not sent yet.
    pub(crate) fn waiting(&self, to: &Recipient, text: &str) -> String {
        let me = &self.me;
        self.dim(&format!("   … {me} to {}: {} (not sent yet)", name(to), clean(text)))
    }

    /// Formats the header of a conversation.
    pub(crate) fn header(&self, conversation: &Recipient, beside: &[String]) -> String {
        let beside: String = beside.iter().map(|text| format!(" · {text}")).collect();
        self.bold(&format!("── {}", name(conversation))) + &self.dim(&beside)
    }

    /// Formats the conversations, one per line, and the unread total.
    pub(crate) fn list(&self, listed: &[Listed], unread: &str) -> Vec<String> {
        if listed.is_empty() {
            return vec![self.told("no conversations yet: /open USER begins one, /help shows the rest")];
        }
        let width = listed.iter().map(|listed| listed.name.chars().count()).max().unwrap_or(0);
        let rows = listed.iter().map(|listed| self.listed(listed, width));
        rows.chain([self.told(&format!("{unread} unread in all"))]).collect()
    }

    fn listed(&self, listed: &Listed, width: usize) -> String {
        let is_new = !listed.unread.is_empty();
        let unread = if is_new { format!("{} unread", listed.unread) } else { String::new() };
        let badges = [
            (listed.mentioned, "mentions you"),
            (listed.pinned, "at the top"),
            (listed.muted, "muted"),
            (listed.online, "online"),
        ];
        let badges = badges.into_iter().filter(|(shown, _)| *shown).map(|(_, badge)| badge);
        let beside: Vec<&str> = std::iter::once(&*unread).filter(|_| is_new).chain(badges).collect();
        let name = format!("  {:<width$}", listed.name);
        let mut line = if is_new { self.bold(&name) } else { name };
        if !beside.is_empty() {
            line.push_str(&format!("  {}", beside.join(", ")));
        }
        if let Some((from, text, since)) = &listed.last {
            line.push_str(&self.dim(&format!("  {from}: {} · {}", shortened(text), age(*since))));
        }
        line
    }

    /// Formats information.
    pub(crate) fn told(&self, text: &str) -> String {
        self.dim(&format!("* {}", clean(text)))
    }

    /// Formats an error.
    pub(crate) fn failed(&self, text: &str) -> String {
        self.paint("31", &format!("! {}", clean(text)))
    }

    fn said(
        &self,
        from: Option<&UserId>,
        content: Option<&Content>,
        recalled: Option<&Option<UserId>>,
    ) -> String {
        if let Some(by) = recalled {
            return self.dim(&format!("{}: (recalled by {})", sender(from), sender(by.as_ref())));
        }
        let Some(content) = content else { return self.dim("(deleted for you)") };
        let text = summary(content);
        if matches!(content.body, Body::Notice(_)) {
            return self.dim(&format!("* {text}"));
        }
        let quote = content.quote.as_ref().map(|quote| self.dim(&quoted(quote))).unwrap_or_default();
        let calls_me = content.mentions.call(&self.me) && from != Some(&self.me);
        let text = if calls_me { self.paint("1;33", &text) } else { text };
        format!("{}: {quote}{text}", self.name(from))
    }

    /// Gives each user a colour.
    fn name(&self, user: Option<&UserId>) -> String {
        let name = sender(user);
        let sum = name.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let colour = if user == Some(&self.me) { "1" } else { COLOURS[sum % COLOURS.len()] };
        self.paint(colour, name)
    }

    fn bold(&self, text: &str) -> String {
        self.paint("1", text)
    }

    fn dim(&self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.colours && !text.is_empty() { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Returns the name of a conversation, as `/open` takes it.
pub(crate) fn name(conversation: &Recipient) -> String {
    match conversation {
        Recipient::User(user) => user.to_string(),
        Recipient::Channel(channel) => format!("#{channel}"),
    }
}

/// Returns the name of a sender.
pub(crate) fn sender(user: Option<&UserId>) -> &str {
    user.map_or("(the back end)", UserId::as_str)
}

/// Returns the text of a message, in one line.
pub(crate) fn summary(content: &Content) -> String {
    let text = clean(content.summary());
    match &content.body {
        Body::Text(_) | Body::Notice(_) => text,
        Body::Unknown => "(of a kind that this version does not know)".to_owned(),
        _ if text.is_empty() => format!("[{}]", kind(content)),
        _ => format!("[{}: {text}]", kind(content)),
    }
}

/// Formats an age, rounded down to its largest unit.
pub(crate) fn age(age: Duration) -> String {
    match age.as_secs() {
        0..60 => "now".to_owned(),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds @ 3600..86_400 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// Returns the kind of a message. The names of custom kinds come from others.
fn kind(content: &Content) -> String {
    content.kind().map_or_else(String::new, |kind| clean(&kind.to_string()))
}

/// Replaces characters of others' texts that would control the terminal, or imitate a line of this program.
pub(crate) fn clean(text: &str) -> String {
    let is_steering =
        |char: char| char.is_control() || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.replace('\n', " ⏎ ").replace(is_steering, "\u{fffd}")
}

pub(crate) fn quoted(quote: &Quote) -> String {
    let doubt = if quote.verified { "" } else { " (unverified)" };
    let says = if quote.recalled { "(recalled)".to_owned() } else { shortened(&quote.excerpt) };
    format!("«{}{doubt}: {says}» ", sender(quote.from.as_ref()))
}

fn shortened(text: &str) -> String {
    let text = clean(text);
    match text.char_indices().nth(SHORT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// The most characters of a message in the list, or in a quotation.
const SHORT: usize = 40;

/// Colours of users. Red is for errors.
const COLOURS: [&str; 5] = ["36", "32", "35", "34", "33"];

#[cfg(test)]
mod tests;
