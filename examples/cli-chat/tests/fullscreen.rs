//! The full screen of the real program, in a pseudo-terminal.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod pipes;

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    num::NonZeroU16,
    path::Path,
    process::Child,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use pipes::{Chat, command};
use rustix::{
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};

/// The time limit of every wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// A `cli-chat` in a terminal, killed when dropped.
struct Screen {
    child: Child,
    keyboard: File,
    parser: Arc<Mutex<vt100::Parser>>,
}

impl Screen {
    fn start(data: &Path, user: &str) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
        let size = Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&terminal, size).unwrap();
        let inside = OpenOptions::new().read(true).write(true).open(&name).unwrap();
        let mut command = command(data, &[user]);
        command.stdin(inside.try_clone().unwrap()).stdout(inside.try_clone().unwrap()).stderr(inside);
        // A fixed size, so that the terminal in which the tests run does not matter.
        let child = command.env("TERM", "xterm-256color").spawn().unwrap();
        drop(command);
        let mut output = File::from(terminal);
        let keyboard = output.try_clone().unwrap();
        let parser = Arc::new(Mutex::new(vt100::Parser::new(cells(ROWS), cells(COLUMNS), 0)));
        let shown = Arc::clone(&parser);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The read ends with the program, which is an error on Linux.
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                shown.lock().unwrap().process(&bytes[..read]);
            }
        });
        Self { child, keyboard, parser }
    }

    fn contents(&self) -> String {
        self.parser.lock().unwrap().screen().contents()
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until a line of the screen has all of these parts.
    fn wait(&self, parts: &[&str]) {
        let since = Instant::now();
        while !self.contents().lines().any(|line| parts.iter().all(|part| line.contains(part))) {
            assert!(since.elapsed() < PATIENCE, "no line has {parts:?}:\n{}", self.contents());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns `true` if the terminal is in its former mode: lines, with an echo.
    fn is_given_back(&self) -> bool {
        let modes = tcgetattr(&self.keyboard).unwrap().local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO)
            && !self.parser.lock().unwrap().screen().alternate_screen()
    }

    fn ended(&mut self) -> bool {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            assert!(since.elapsed() < PATIENCE, "still running:\n{}", self.contents());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It may have ended already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn cells(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).unwrap()
}

const ROWS: u16 = 24;
const COLUMNS: u16 = 100;
const ENTER: &str = "\r";
const CONTROL_C: &str = "\x03";

#[test]
fn two_people_chat_on_the_whole_screen() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let mut server = Chat::start(data, &["serve", "--listen", "127.0.0.1:0"]);
    server.wait("ready");
    let mut alice = Screen::start(data, "alice");
    alice.wait(&["alice · connected"]);
    alice.press("/open bob\rhello, bob\r");
    alice.wait(&["alice: hello, bob ✓"]);

    // Bob's list, presence, and Alice's read mark.
    let mut bob = Screen::start(data, "bob");
    bob.wait(&["bob · connected", "1 unread"]);
    bob.wait(&["alice", "1 "]);
    alice.wait(&["bob · online"]);
    bob.press("\t");
    bob.wait(&["alice: hello, bob"]);
    alice.wait(&["alice: hello, bob ✓✓"]);

    // Typing shows on the other side, and ends with the message.
    bob.press("hi");
    alice.wait(&["bob is typing…"]);
    bob.press(" there");
    bob.press(ENTER);
    alice.wait(&["bob: hi there"]);

    // An edit changes the message where it stands.
    alice.press("/edit 1 hello, Bob\r");
    bob.wait(&["alice: hello, Bob (edited)"]);
    assert!(!bob.contents().contains("hello, bob"), "{}", bob.contents());

    // A line that cannot be carried out comes back.
    alice.press("/recall 99");
    alice.press(ENTER);
    alice.wait(&["! there is no message 99"]);
    alice.wait(&["bob> /recall 99"]);

    // Without a server the prompt accepts lines, and unsent texts show among the messages.
    alice.press("\x15");
    server.terminate();
    alice.wait(&["not connected"]);
    alice.press("are you there?\r");
    alice.wait(&["alice: are you there? …"]);
    alice.press("/open carol\r");
    alice.wait(&["carol>"]);
    alice.press("half a li");
    alice.wait(&["carol> half a li"]);

    alice.press(CONTROL_C);
    assert!(!alice.ended(), "something is not sent");
    assert!(alice.is_given_back(), "{}", alice.contents());
    kill_process(Pid::from_child(&bob.child), Signal::TERM).unwrap();
    bob.ended();
    assert!(bob.is_given_back(), "{}", bob.contents());
}
