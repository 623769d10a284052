use std::time::Duration;

use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
};

use super::*;

/// Returns the rows of the screen, without trailing spaces.
fn drawn(scene: &Scene, input: &Input, width: u16, height: u16) -> (Vec<String>, usize, Position) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let mut most = 0;
    terminal.draw(|frame| most = render(frame, scene, input)).unwrap();
    let cursor = terminal.get_cursor_position().unwrap();
    let buffer = terminal.backend().buffer();
    let row = |y: u16| -> String {
        let mut text = String::new();
        let mut x = 0;
        while x < width {
            let symbol = buffer[(x, y)].symbol();
            text.push_str(symbol);
            // A wide character takes the next cell too.
            x += u16::try_from(symbol.width().max(1)).unwrap();
        }
        text.trim_end().to_owned()
    };
    ((0..height).map(row).collect(), most, cursor)
}

fn typed(text: &str) -> Input {
    let mut input = Input::default();
    for character in text.chars() {
        input.key(KeyEvent::new(KeyCode::Char(character), KeyModifiers::NONE), &[]);
    }
    input
}

fn listed(name: &str, unread: &str, last: &str) -> Listed {
    let last = Some((name.trim_start_matches('#').to_owned(), last.to_owned(), Duration::from_secs(5)));
    Listed { name: name.to_owned(), unread: unread.to_owned(), last, ..Listed::default() }
}

fn said(number: u32, from: &str, text: &str, state: State) -> Shown {
    Shown {
        number: number.to_string(),
        time: "14:03".to_owned(),
        from: from.to_owned(),
        is_own: from == "alice",
        text: text.to_owned(),
        state,
        ..Shown::default()
    }
}

fn scene() -> Scene {
    let bob = Listed { online: true, ..listed("bob", "", "See you there, then") };
    let team = Listed { mentioned: true, ..listed("#team", "3", "@alice?") };
    let carol = Listed { muted: true, ..listed("carol", "", "ok") };
    let edited =
        Shown { beside: " (edited) 👍bob".to_owned(), ..said(2, "alice", "At noon?", State::Read) };
    let quote = "«alice: At noon?» ".to_owned();
    let failed = State::Failed("please mind your language".to_owned());
    Scene {
        list: vec![bob, team, carol],
        title: Some(("bob".to_owned(), " · online · bob is typing…".to_owned())),
        messages: vec![
            Shown { time: "14:00".to_owned(), text: "bob has joined".to_owned(), ..Shown::default() },
            said(1, "bob", "Lunch?", State::None),
            edited,
            Shown { quote, ..said(3, "bob", "See you there, then", State::None) },
            said(4, "alice", "Great", State::Sent),
            Shown {
                text: "on my way".to_owned(),
                from: "alice".to_owned(),
                state: State::Waiting,
                ..Shown::default()
            },
            Shown { text: "damn".to_owned(), from: "alice".to_owned(), state: failed, ..Shown::default() },
        ],
        status: "alice · connected · 3 unread".to_owned(),
        is_connected: true,
        ..Scene::default()
    }
}

#[test]
fn a_chat_has_a_list_messages_with_their_states_and_a_prompt() {
    let (rows, most, cursor) = drawn(&scene(), &typed("see yo"), 80, 12);
    assert_eq!(
        rows,
        [
            "● bob                    │ bob · online · bob is typing…",
            "  bob: See you there, t… │",
            "  #team               @3 │",
            "  team: @alice?          │      14:00 bob has joined",
            "  carol            muted │    1 14:03 bob: Lunch?",
            "  carol: ok              │    2 14:03 alice: At noon? (edited) 👍bob ✓✓",
            "                         │    3 14:03 bob: «alice: At noon?» See you there, then",
            "                         │    4 14:03 alice: Great ✓",
            "                         │            alice: on my way …",
            "                         │            alice: damn ✗ please mind your language",
            " alice · connected · 3 unread",
            "bob> see yo",
        ]
    );
    assert_eq!((most, cursor), (0, Position::new(11, 11)));
}

#[test]
fn long_messages_are_wrapped_at_spaces_and_can_be_scrolled() {
    let text = "one two three four five six seven eight nine ten 中文中文中文中文中文中文中文中文中文";
    let mut scene = Scene { messages: vec![said(7, "bob", text, State::None)], ..scene() };
    let (rows, most, _) = drawn(&scene, &Input::default(), 40, 8);
    let wanted = [
        " bob · online · bob is typing…",
        "",
        "    7 14:03 bob: one two three four five",
        "            six seven eight nine ten",
        "            中文中文中文中文中文中文中文",
        "            中文中文",
        " alice · connected · 3 unread",
        "bob>",
    ];
    assert_eq!((rows, most), (wanted.map(str::to_owned).to_vec(), 0), "too narrow for the list");
    scene.scroll = 99;
    let (rows, most, _) = drawn(&scene, &Input::default(), 40, 5);
    assert_eq!(
        (rows[1].trim(), most),
        ("7 14:03 bob: one two three four five", 2),
        "no further than the first line"
    );
}

#[test]
fn notes_stand_below_the_messages_and_a_lost_connection_shows() {
    let notes = ["* in #team: alice, bob", "! there is no message 99"].map(str::to_owned).to_vec();
    let scene = Scene { notes, is_connected: false, status: "alice · not connected".to_owned(), ..scene() };
    let (rows, ..) = drawn(&scene, &typed("/members"), 80, 12);
    let main: Vec<&str> = rows.iter().filter_map(|row| row.split_once('│').map(|(_, main)| main)).collect();
    assert!(main[7].starts_with("Esc closes──"), "{main:?}");
    assert_eq!(main[8..], [" * in #team: alice, bob", " ! there is no message 99"]);
    assert!(main[6].contains("alice: damn"), "the newest messages stay in sight: {main:?}");
}

#[test]
fn a_long_line_keeps_its_cursor_in_sight() {
    let (rows, _, cursor) = drawn(&scene(), &typed(&"abcdefghij".repeat(5)), 30, 5);
    assert_eq!((&*rows[4], cursor), ("bob> ghijabcdefghijabcdefghij", Position::new(29, 4)));
}

#[test]
fn whoever_has_said_nothing_is_told_how() {
    let (rows, ..) = drawn(&Scene::default(), &Input::default(), 100, 6);
    assert!(rows[0].starts_with(" no conversations yet") && rows[2].contains("/open USER"), "{rows:?}");
    for (width, height) in [(1, 1), (3, 2), (60, 3), (20, 30)] {
        drawn(&scene(), &typed("hello"), width, height);
    }
}
