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

/// Returns the line that alice sees for these entries, of which the first one is the message.
fn seen(colours: bool, entries: &[(Option<&str>, Content)]) -> String {
    let mut timeline = Timeline::new(user("alice"));
    for (number, (from, content)) in (1..).zip(entries) {
        timeline.apply(Entry::new(id(number), from.map(user).as_ref(), content));
    }
    let message = timeline.get(id(1)).unwrap();
    let age = Duration::from_secs(5);
    let is_changed = entries.len() > 1;
    let row = Row { message, number: Some(12), is_changed, elsewhere: None, age };
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
    assert_eq!(seen(false, &changes), " ~12 bob: hullo (edited) (pinned) 👍alice,bob");
    let recalled = [hello.clone(), (Some("bob"), Change::recall(id(1)).into())];
    assert_eq!(seen(false, &recalled), " ~12 bob: (recalled by bob)");
    let deleted = [hello, (Some("alice"), Change::delete_for_me(id(1)).into())];
    assert_eq!(seen(false, &deleted), " ~12 (deleted for you)");
}

#[test]
fn what_is_no_plain_text_is_told() {
    let notice = Content::from(Notice::new("group.added", "bob brought carol in"));
    assert_eq!(seen(false, &[(None, notice)]), "  12 * bob brought carol in");
    assert_eq!(seen(false, &[(None, Content::custom("dice", "6"))]), "  12 (the back end): [custom:dice]");
    let mut quote = Quote::new(id(9), Some(user("carol")), &Content::text("lunch?"));
    let answer = |quote: &Quote| (Some("bob"), Content::text("yes").quote(quote.clone()));
    assert_eq!(seen(false, &[answer(&quote)]), "  12 bob: «carol (unverified): lunch?» yes");
    quote.verified = true;
    assert_eq!(seen(false, &[answer(&quote)]), "  12 bob: «carol: lunch?» yes");
    quote.recalled = true;
    assert_eq!(seen(false, &[answer(&quote)]), "  12 bob: «carol: (recalled)» yes");
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
        "  bob    2 unread, mentions you, online".to_owned(),
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
