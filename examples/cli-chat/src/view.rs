//! What is shown, line by line. Pure: state goes in, text comes out.

use std::time::Duration;

use im_sdk::{
    Content, Recipient,
    content::{Body, Quote},
    id::UserId,
    timeline::ShownMessage,
};

/// Makes lines for one user's eyes.
#[derive(Clone, Debug)]
pub(crate) struct View {
    me: UserId,
    /// Whether the lines may have colours, which is for terminals alone.
    colours: bool,
}

/// A message and what is beside it.
pub(crate) struct Row<'a> {
    pub(crate) message: &'a ShownMessage,
    /// What people name it by. `None`: it is in no log, so nothing can be done to it.
    pub(crate) number: Option<u32>,
    /// The conversation, where it is not the open one.
    pub(crate) elsewhere: Option<&'a Recipient>,
    /// The other user has read it.
    pub(crate) read: bool,
    pub(crate) age: Duration,
}

/// A conversation in the list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) unread: String,
    pub(crate) mentioned: bool,
    pub(crate) pinned: bool,
    pub(crate) muted: bool,
    pub(crate) online: bool,
    /// Who said what last, and how long ago.
    pub(crate) last: Option<(String, String, Duration)>,
}

impl View {
    pub(crate) fn new(me: UserId, colours: bool) -> Self {
        Self { me, colours }
    }

    /// A message as it is now: `  12 bob: hello (edited) 👍alice`.
    pub(crate) fn message(&self, row: &Row<'_>) -> String {
        let Row { message, .. } = row;
        let number = row.number.map(|number| number.to_string()).unwrap_or_default();
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
        if row.read {
            beside.push_str(" (read)");
        }
        if row.age >= MINUTE {
            beside.push_str(&format!(" · {}", age(row.age)));
        }
        line + &self.dim(&beside)
    }

    /// A message that is not sent yet.
    pub(crate) fn waiting(&self, to: &Recipient, text: &str) -> String {
        let me = &self.me;
        self.dim(&format!("   … {me} to {}: {} (not sent yet)", name(to), clean(text)))
    }

    /// A conversation that is opened.
    pub(crate) fn header(&self, conversation: &Recipient, beside: &[String]) -> String {
        let beside: String = beside.iter().map(|text| format!(" · {text}")).collect();
        self.bold(&format!("── {}", name(conversation))) + &self.dim(&beside)
    }

    /// The conversations, each in a line, and how much is unread in all.
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
            (listed.mentioned, "calls you"),
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

    /// Something that is no message.
    pub(crate) fn told(&self, text: &str) -> String {
        self.dim(&format!("* {}", clean(text)))
    }

    /// Something that went wrong.
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

    /// Each user has a colour.
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

/// How a conversation is named, as `/open` takes it.
pub(crate) fn name(conversation: &Recipient) -> String {
    match conversation {
        Recipient::User(user) => user.to_string(),
        Recipient::Channel(channel) => format!("#{channel}"),
    }
}

/// Who said something.
pub(crate) fn sender(user: Option<&UserId>) -> &str {
    user.map_or("(the back end)", UserId::as_str)
}

/// What a message says, in one line.
pub(crate) fn summary(content: &Content) -> String {
    let text = clean(content.summary());
    match &content.body {
        Body::Text(_) | Body::Notice(_) => text,
        Body::Unknown => "(of a kind that this version does not know)".to_owned(),
        _ if text.is_empty() => format!("[{}]", clean(content.kind())),
        _ => format!("[{}: {text}]", clean(content.kind())),
    }
}

/// How long ago, about; less than a minute is no time.
pub(crate) fn age(age: Duration) -> String {
    match age.as_secs() {
        0..60 => "now".to_owned(),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds @ 3600..86_400 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// What others write must neither steer this terminal, nor pass for a line of this program.
fn clean(text: &str) -> String {
    let is_steering =
        |char: char| char.is_control() || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.replace('\n', " ⏎ ").replace(is_steering, "\u{fffd}")
}

fn quoted(quote: &Quote) -> String {
    format!("«{}: {}» ", sender(quote.from.as_ref()), shortened(&quote.excerpt))
}

fn shortened(text: &str) -> String {
    let text = clean(text);
    match text.char_indices().nth(SHORT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// Characters of a message in the list, or in a quotation.
const SHORT: usize = 40;

/// Not red, which is for what went wrong.
const COLOURS: [&str; 5] = ["36", "32", "35", "34", "33"];

#[cfg(test)]
mod tests {
    use im_sdk::{
        content::{Change, Notice},
        id::MessageId,
        timeline::{Entry, Timeline},
    };

    use super::*;

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn id(number: u64) -> MessageId {
        MessageId::from_u64(number).unwrap()
    }

    /// What alice sees of entries, of which the first one is the message.
    fn seen(colours: bool, entries: &[(Option<&str>, Content)]) -> String {
        let mut timeline = Timeline::new(user("alice"));
        for (number, (from, content)) in (1..).zip(entries) {
            timeline.apply(Entry::new(id(number), from.map(user).as_ref(), content));
        }
        let message = timeline.get(id(1)).unwrap();
        let age = Duration::from_secs(5);
        let row = Row { message, number: Some(12), elsewhere: None, read: false, age };
        View::new(user("alice"), colours).message(&row)
    }

    #[test]
    fn a_message_is_one_line_with_all_that_was_done_to_it() {
        let hello = (Some("bob"), Content::text("hello"));
        let changes = [
            hello.clone(),
            (Some("bob"), Change::edit(id(1), "hullo").into()),
            (Some("alice"), Change::react(id(1), "👍").into()),
            (Some("bob"), Change::react(id(1), "👍").into()),
            (None, Change::pin(id(1)).into()),
        ];
        assert_eq!(seen(false, &changes[..1]), "  12 bob: hello");
        assert_eq!(seen(false, &changes), "  12 bob: hullo (edited) (pinned) 👍alice,bob");
        let recalled = [hello.clone(), (Some("bob"), Change::recall(id(1)).into())];
        assert_eq!(seen(false, &recalled), "  12 bob: (recalled by bob)");
        let deleted = [hello, (Some("alice"), Change::delete_for_me(id(1)).into())];
        assert_eq!(seen(false, &deleted), "  12 (deleted for you)");
    }

    #[test]
    fn what_is_no_plain_text_is_told() {
        let notice = Content::from(Notice::new("group.added", "bob brought carol in"));
        assert_eq!(seen(false, &[(None, notice)]), "  12 * bob brought carol in");
        assert_eq!(seen(false, &[(None, Content::custom("dice", "6"))]), "  12 (the back end): [dice]");
        let answer =
            Content::text("yes").quote(Quote::new(id(9), Some(user("carol")), &Content::text("lunch?")));
        assert_eq!(seen(false, &[(Some("bob"), answer)]), "  12 bob: «carol: lunch?» yes");
    }

    #[test]
    fn a_text_cannot_steer_the_terminal() {
        let text = Content::text("one\ntwo\x1b[2J\u{202e}three");
        assert_eq!(seen(false, &[(Some("bob"), text)]), "  12 bob: one ⏎ two\u{fffd}[2J\u{fffd}three");
    }

    #[test]
    fn colours_are_for_terminals_alone() {
        let calls = [(Some("bob"), Content::text("hi").mention(user("alice")))];
        assert_eq!(seen(false, &calls), "  12 bob: hi");
        let coloured = seen(true, &calls);
        assert!(coloured.contains("\x1b[1;33mhi\x1b[0m") && coloured.ends_with("\x1b[0m"), "{coloured:?}");
    }

    #[test]
    fn the_list_tells_what_is_new() {
        let view = View::new(user("alice"), false);
        let last = Some(("carol".to_owned(), "l".repeat(50), Duration::from_secs(7200)));
        let bob = Listed {
            name: "bob".to_owned(),
            unread: "2".to_owned(),
            mentioned: true,
            online: true,
            ..Listed::default()
        };
        let team = Listed { name: "#team".to_owned(), muted: true, last, ..Listed::default() };
        let wanted = [
            "  bob    2 unread, calls you, online".to_owned(),
            format!("  #team  muted  carol: {}… · 2 h", "l".repeat(40)),
            "* 2 unread in all".to_owned(),
        ];
        assert_eq!(view.list(&[bob, team], "2"), wanted);
        assert!(view.list(&[], "0")[0].contains("/open"));
    }

    #[test]
    fn ages_are_about_right() {
        let shown = [59, 60, 3599, 3600, 86_399, 86_400].map(|seconds| age(Duration::from_secs(seconds)));
        assert_eq!(shown, ["now", "1 min", "59 min", "1 h", "23 h", "1 d"]);
    }
}
