//! Parses typed lines. Pure: looks nothing up, and carries nothing out.

use im_sdk::{
    Recipient,
    content::ChangeKind,
    id::{ChannelId, UserId},
};

/// The text of `/help`.
pub(crate) const HELP: &str = "\
/list                  the conversations, those with something new in bold
/open bob, /open #team open one, where what you type goes; /older shows more
/msg bob TEXT          say something without opening it
/search WORDS          find messages in all conversations
/notices               what the back end itself has told you last
/group team bob carol  make a group, or bring others in; /members, /leave
/reply 12 TEXT         answer message 12; /edit 12 TEXT, /recall 12
/react 12 👍           /unreact; /pin 12, /unpin; /delete 12 for you alone
/readers 12            who has read message 12
/top, /mute            put what is open at the top, leave it out of the count;
                       /untop, /unmute
/queue                 what is not sent yet; /retry, /discard for what failed
/quit                  leave
In a text, @bob mentions bob and @all everybody; //TEXT begins with a slash.";

/// The commands, for completion.
pub(crate) const COMMANDS: &[&str] = &[
    "open", "msg", "list", "older", "search", "notices", "reply", "edit", "recall", "delete", "react",
    "unreact", "pin", "unpin", "readers", "group", "leave", "members", "top", "untop", "mute", "unmute",
    "queue", "retry", "discard", "connect", "help", "quit",
];

/// A parsed line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Sends a text to the open conversation.
    Say(String),
    /// Sends a text to a user or a group.
    SayTo(Recipient, String),
    /// Answers the message with this number.
    Reply(u32, String),
    /// Changes the message with this number.
    Change(u32, ChangeKind),
    /// Requests the readers of the message with this number.
    Readers(u32),
    Open(Recipient),
    List,
    Older,
    Search(String),
    /// Shows messages of the backend itself, outside of conversations.
    Notices,
    /// Adds users to a group, which begins with its first member.
    Group(ChannelId, Vec<UserId>),
    /// `None` for the open one.
    Leave(Option<ChannelId>),
    /// `None` for the open one.
    Members(Option<ChannelId>),
    /// Moves the open conversation to the top of the list, or back.
    Top(bool),
    /// Leaves the open conversation out of the unread count, or counts it again.
    Mute(bool),
    Queue,
    Retry,
    Discard,
    Connect,
    Help,
    Quit,
}

/// Parses a line. Returns `None` for an empty one.
///
/// # Errors
/// A text about the mistake in the line, for people.
pub(crate) fn parse(line: &str) -> Result<Option<Command>, String> {
    let line = line.trim();
    if line.is_empty() {
        return Ok(None);
    }
    let Some(rest) = line.strip_prefix('/') else { return Ok(Some(Command::Say(line.to_owned()))) };
    if rest.starts_with('/') {
        return Ok(Some(Command::Say(rest.to_owned())));
    }
    let (name, rest) = first_word(rest);
    command(name, rest).map(Some)
}

/// Parses a name: `bob` or `@bob` for a user, `#team` for a group.
///
/// # Errors
/// A text about the form of names, for people.
pub(crate) fn recipient(name: &str) -> Result<Recipient, String> {
    let parsed = match name.strip_prefix('#') {
        Some(group) => ChannelId::parse(group).map(Recipient::from),
        None => UserId::parse(name.strip_prefix('@').unwrap_or(name)).map(Recipient::from),
    };
    parsed.map_err(|error| error.to_string())
}

fn command(name: &str, rest: &str) -> Result<Command, String> {
    let usage = |arguments: &str| format!("usage: /{name} {arguments}");
    let text = |arguments: &str| if rest.is_empty() { Err(usage(arguments)) } else { Ok(rest.to_owned()) };
    let number = || numbered(rest).filter(|(_, rest)| rest.is_empty()).map(|(number, _)| number);
    let message = || number().ok_or_else(|| usage("NUMBER, the one that stands before the message"));
    let message_and = |what: &str| {
        let parsed = numbered(rest).filter(|(_, rest)| !rest.is_empty());
        parsed.ok_or_else(|| usage(&format!("NUMBER {what}")))
    };
    let reaction = |removed| {
        let (number, emoji) = message_and("EMOJI")?;
        Ok(Command::Change(number, ChangeKind::Reaction { emoji: emoji.to_owned(), removed }))
    };
    match name {
        "open" => Ok(Command::Open(recipient(&text("USER or /open #GROUP")?)?)),
        "msg" => {
            let (to, text) = first_word(rest);
            if text.is_empty() {
                return Err(usage("USER TEXT or /msg #GROUP TEXT"));
            }
            Ok(Command::SayTo(recipient(to)?, text.to_owned()))
        }
        "list" => Ok(Command::List),
        "older" => Ok(Command::Older),
        "search" => text("WORDS").map(Command::Search),
        "notices" => Ok(Command::Notices),
        "reply" => message_and("TEXT").map(|(number, text)| Command::Reply(number, text.to_owned())),
        "edit" => {
            let (number, text) = message_and("TEXT")?;
            Ok(Command::Change(number, ChangeKind::Edit(Box::new(said(text)))))
        }
        "recall" => Ok(Command::Change(message()?, ChangeKind::Recall)),
        "delete" => Ok(Command::Change(message()?, ChangeKind::DeleteForMe)),
        "react" => reaction(false),
        "unreact" => reaction(true),
        "pin" => Ok(Command::Change(message()?, ChangeKind::Pin { removed: false })),
        "unpin" => Ok(Command::Change(message()?, ChangeKind::Pin { removed: true })),
        "readers" => message().map(Command::Readers),
        "group" => {
            let (group, users) = first_word(rest);
            let group = self::group(group).map_err(|_| usage("NAME USER USER..."))?;
            let users = users.split_whitespace().map(user).collect::<Result<_, _>>()?;
            Ok(Command::Group(group, users))
        }
        "leave" => optional_group(rest).map(Command::Leave),
        "members" => optional_group(rest).map(Command::Members),
        "top" => Ok(Command::Top(true)),
        "untop" => Ok(Command::Top(false)),
        "mute" => Ok(Command::Mute(true)),
        "unmute" => Ok(Command::Mute(false)),
        "queue" => Ok(Command::Queue),
        "retry" => Ok(Command::Retry),
        "discard" => Ok(Command::Discard),
        "connect" => Ok(Command::Connect),
        "help" => Ok(Command::Help),
        "quit" => Ok(Command::Quit),
        _ => Err(format!("there is no command /{name}: /help shows them")),
    }
}

/// Returns the content of a text: `@bob` in it mentions bob, `@all` everybody.
pub(crate) fn said(text: &str) -> im_sdk::content::Content {
    let called = text.split_whitespace().filter_map(|word| word.strip_prefix('@'));
    let called = called.map(|name| name.trim_end_matches(['.', ',', ':', ';', '!', '?', ')']));
    called.fold(im_sdk::content::Content::text(text), |content, name| match UserId::parse(name) {
        _ if name == "all" => content.mention_everybody(),
        Ok(user) if !content.mentions.users.contains(&user) => content.mention(user),
        _ => content,
    })
}

fn first_word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim())
}

/// Splits a message's number from the rest.
fn numbered(text: &str) -> Option<(u32, &str)> {
    let (number, rest) = first_word(text);
    Some((number.parse().ok()?, rest))
}

fn user(name: &str) -> Result<UserId, String> {
    UserId::parse(name.strip_prefix('@').unwrap_or(name)).map_err(|error| error.to_string())
}

fn group(name: &str) -> Result<ChannelId, String> {
    ChannelId::parse(name.strip_prefix('#').unwrap_or(name)).map_err(|error| error.to_string())
}

fn optional_group(name: &str) -> Result<Option<ChannelId>, String> {
    if name.is_empty() { Ok(None) } else { group(name).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bob() -> UserId {
        UserId::parse("bob").unwrap()
    }

    fn team() -> ChannelId {
        ChannelId::parse("team").unwrap()
    }

    fn parsed(line: &str) -> Command {
        parse(line).unwrap().unwrap()
    }

    #[test]
    fn what_is_no_command_is_said() {
        assert_eq!(parse("  "), Ok(None));
        assert_eq!(parsed(" hello, bob "), Command::Say("hello, bob".to_owned()));
        assert_eq!(parsed("//quit is how to leave"), Command::Say("/quit is how to leave".to_owned()));
        assert_eq!(parsed("#1 is mine"), Command::Say("#1 is mine".to_owned()));
    }

    #[test]
    fn commands_name_users_groups_and_messages() {
        assert_eq!(parsed("/open bob"), Command::Open(bob().into()));
        assert_eq!(parsed("/open @bob"), Command::Open(bob().into()));
        assert_eq!(parsed("/open #team"), Command::Open(team().into()));
        assert_eq!(parsed("/msg #team  hi all "), Command::SayTo(team().into(), "hi all".to_owned()));
        assert_eq!(parsed("/reply 12 yes, sure"), Command::Reply(12, "yes, sure".to_owned()));
        assert_eq!(parsed("/edit 3 @bob"), Command::Change(3, ChangeKind::Edit(Box::new(said("@bob")))));
        assert_eq!(parsed("/recall 7"), Command::Change(7, ChangeKind::Recall));
        assert_eq!(
            parsed("/unreact 7 👍"),
            Command::Change(7, ChangeKind::Reaction { emoji: "👍".to_owned(), removed: true })
        );
        assert_eq!(parsed("/group team bob"), Command::Group(team(), vec![bob()]));
        assert_eq!(parsed("/group #team"), Command::Group(team(), Vec::new()));
        assert_eq!(parsed("/leave"), Command::Leave(None));
        assert_eq!(parsed("/leave #team"), Command::Leave(Some(team())));
        assert_eq!(parsed("/search two words"), Command::Search("two words".to_owned()));
        assert_eq!(parsed("/quit"), Command::Quit);
    }

    #[test]
    fn an_error_says_how_it_goes() {
        for (line, part) in [
            ("/edit 12", "/edit NUMBER TEXT"),
            ("/edit twelve text", "/edit NUMBER TEXT"),
            ("/recall", "NUMBER"),
            ("/recall 7 8", "NUMBER"),
            ("/react 12", "EMOJI"),
            ("/search", "WORDS"),
            ("/open", "/open USER"),
            ("/open {", "printable ASCII"),
            ("/msg bob", "TEXT"),
            ("/group", "NAME USER"),
            ("/group team b{b", "printable ASCII"),
            ("/dance", "/help"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }

    #[test]
    fn names_in_a_text_call_people() {
        let called = said("@bob, are you there? @bob! mail me@example.com @all");
        assert_eq!(called.mentions.users, [bob()]);
        assert!(called.mentions.everybody);
        assert!(said("a text").mentions.users.is_empty());
    }

    #[test]
    fn help_fits_into_a_usual_terminal() {
        use unicode_width::UnicodeWidthStr as _;
        assert!(HELP.lines().all(|line| line.width() < 80));
    }

    #[test]
    fn help_names_every_command() {
        for name in HELP.split_whitespace().filter_map(|word| word.strip_prefix('/')) {
            let name = name.trim_end_matches([',', ';', '.']);
            if name.chars().all(char::is_lowercase) && !name.is_empty() {
                let unknown = parse(&format!("/{name}")).err().filter(|error| error.contains("no command"));
                assert_eq!(unknown, None);
            }
        }
    }
}
