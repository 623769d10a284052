//! The chat: its state, and the loop that takes events, answers and typed lines.

mod acts;
mod answers;
mod events;
mod full;
mod jobs;
mod others;
mod showing;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use im_sdk::{
    HistoryRange, Recipient, UserPresence,
    client::{Client, ConversationList, LocalId},
    id::{InvalidId, MessageId, UserId},
};
use tokio::time::{Instant, sleep_until, timeout};

use self::{jobs::Job, showing::unread};
use crate::{
    book::Book,
    groups::BACK_END,
    terminal::{Keyboard, Prompt, Screen},
    view::{View, name},
};

/// A chat of one user.
pub(crate) struct App {
    client: Arc<Client>,
    me: UserId,
    back_end: UserId,
    view: View,
    screen: Screen,
    advice: Advice,
    link: Link,
    /// The reason why there was no connection so far. `None` once there was one.
    unreached: Option<String>,
    list: ConversationList,
    list_loading: Loading,
    /// Set while the list is to be shown once it is loaded: at first, and after `/list`.
    list_wanted: bool,
    book: Book,
    open: Option<Open>,
    presences: HashMap<UserId, UserPresence>,
    watched: BTreeSet<UserId>,
    sends: BTreeMap<LocalId, Send>,
    /// Sends that were refused and can be sent again.
    failed: Vec<Failed>,
    /// The newest entries of this user.
    own: VecDeque<MessageId>,
    jobs: FuturesUnordered<Job>,
    /// The number of messages in other conversations that came with the last connection. `None` before the first
    /// connection.
    missed: Option<usize>,
    /// The number of messages of the backend itself that came with it, which no list shows.
    missed_notices: usize,
    /// Set unless the backend is known not to support groups.
    has_groups: bool,
    /// The time at which others were last told that this user types.
    typed: Option<Instant>,
    /// Set once a command has failed.
    has_failed: bool,
}

/// Advice for a user without a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Advice {
    /// No server was found.
    pub(crate) unreachable: &'static str,
    /// There is no token that a server accepts.
    pub(crate) no_token: &'static str,
}

/// The state of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// The first attempt is in progress.
    Unknown,
    /// Missed messages are still coming.
    CatchingUp,
    Up,
    Down,
}

/// The state of the request for all conversations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loading {
    Idle,
    UnderWay,
    /// It has failed, and is repeated with the next event.
    Failed,
}

/// The conversation that is open.
struct Open {
    conversation: Recipient,
    history: History,
    /// The newest message of this user that others are known to have read.
    read: HashMap<UserId, MessageId>,
    /// The times at which others were last shown to type.
    typing: HashMap<UserId, Instant>,
}

/// The history of the open conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum History {
    /// Not requested: there is no connection.
    Missing,
    /// Requested. Messages that arrive meanwhile are shown with it.
    Coming,
    /// Loaded, back to this range. `None` if loaded back to the beginning.
    Back(Option<HistoryRange>),
}

/// A send that has not come back yet.
struct Send {
    to: Recipient,
    text: String,
    since: Instant,
    /// The id of the message, once the backend has accepted it.
    taken: Option<MessageId>,
    /// Set once it takes so long that nothing waits for it any more.
    is_late: bool,
}

/// A send that was refused and can be sent again.
struct Failed {
    to: Recipient,
    text: String,
    why: String,
}

impl App {
    /// Creates a chat over a client that is not connected yet.
    ///
    /// # Errors
    /// [`InvalidId`], which the built-in names do not cause.
    pub(crate) fn new(client: Client, me: UserId, screen: Screen, advice: Advice) -> Result<Self, InvalidId> {
        Ok(Self {
            client: Arc::new(client),
            back_end: UserId::parse(BACK_END)?,
            view: View::new(me.clone(), screen.has_colours()),
            screen,
            advice,
            link: Link::Unknown,
            unreached: Some("no attempt has ended".to_owned()),
            list: ConversationList::new(me.clone()),
            list_loading: Loading::Idle,
            list_wanted: true,
            book: Book::new(me.clone()),
            me,
            open: None,
            presences: HashMap::new(),
            watched: BTreeSet::new(),
            sends: BTreeMap::new(),
            failed: Vec::new(),
            own: VecDeque::new(),
            jobs: FuturesUnordered::new(),
            missed: None,
            missed_notices: 0,
            has_groups: true,
            typed: None,
            has_failed: false,
        })
    }

    /// Chats by lines until the input ends. Returns `true` if there was a connection, all commands succeeded, and everything
    /// was sent.
    pub(crate) async fn run(mut self, mut keyboard: Keyboard) -> bool {
        self.client.connect();
        self.note_queued().await;
        let mut is_asked = false;
        loop {
            self.load_list();
            if !is_asked && self.is_ready() {
                keyboard.ask(self.prompt());
                is_asked = true;
            }
            let overdue = self.overdue();
            tokio::select! {
                biased; // events are shown before typed lines are carried out
                events = self.client.next_events(EVENTS) => for event in events {
                    if self.take(event).await.is_break() {
                        return self.leave().await;
                    }
                },
                Some(answer) = self.jobs.next() => self.take_answer(answer).await,
                () = sleep_until(overdue.unwrap_or_else(Instant::now)), if overdue.is_some() => self.note_late(),
                Some(()) = keyboard.typing.recv() => self.tell_typing().await,
                line = keyboard.lines.recv(), if is_asked => {
                    is_asked = false;
                    let goes_on = match line {
                        Some(line) => self.obey(&line).await,
                        None => ControlFlow::Break(()),
                    };
                    if goes_on.is_break() {
                        // The keyboard's thread ends only then.
                        drop(keyboard);
                        return self.leave().await;
                    }
                }
            }
        }
    }

    /// Waits for sends in progress, and shows how many are left.
    async fn leave(mut self) -> bool {
        let settling = async {
            while self.is_connected() && !self.sends.is_empty() {
                for event in self.client.next_events(EVENTS).await {
                    _ = self.take(event).await;
                }
            }
        };
        _ = timeout(SETTLE, settling).await;
        self.client.shutdown().await;
        if let Some(reason) = self.unreached.take() {
            self.fail(&format!("there was no connection: {reason}"));
        }
        let left = self.sends.values().filter(|send| send.taken.is_none()).count();
        if left > 0 {
            self.tell(&format!("{left} not sent yet: what is left is sent the next time that you are here"));
        }
        let all_done = !self.has_failed && left == 0;
        self.screen.close();
        all_done
    }

    /// Returns the prompt: the open conversation, and the unread count of the others.
    fn prompt(&self) -> Prompt {
        let open = self.open.as_ref().map(|open| &open.conversation);
        let listed = open.and_then(|open| self.list.get(open)).filter(|listed| !listed.state.muted);
        let mut elsewhere = self.list.unread();
        elsewhere.count = elsewhere.count.saturating_sub(listed.map_or(0, |listed| listed.unread.into()));
        let unread = (elsewhere.count > 0).then(|| format!("({} unread)", unread(elsewhere)));
        let parts: Vec<String> = open.map(name).into_iter().chain(unread).collect();
        // A sent message is shown with its number.
        Prompt { text: format!("{}> ", parts.join(" ")), shows_again: open.is_some() }
    }

    /// Requests all conversations, if the list may be outdated.
    fn load_list(&mut self) {
        if self.list.needs_loading() && self.is_connected() && self.list_loading == Loading::Idle {
            self.list_loading = Loading::UnderWay;
            self.list.begin_loading();
            self.jobs.push(jobs::conversations(Arc::clone(&self.client)));
        }
    }

    /// Watches the presence of the users in the list.
    fn watch(&mut self) {
        let listed = self.list.conversations().into_iter().map(|listed| listed.state.conversation);
        let open = self.open.as_ref().map(|open| open.conversation.clone());
        let users = open.into_iter().chain(listed).filter_map(|conversation| conversation.as_user().cloned());
        let users: BTreeSet<UserId> = users.filter(|user| *user != self.me).take(MAX_WATCHED).collect();
        if self.is_connected() && !users.is_subset(&self.watched) {
            self.watched.clone_from(&users);
            self.jobs.push(jobs::presences(Arc::clone(&self.client), users.into_iter().collect()));
        }
    }

    fn is_connected(&self) -> bool {
        matches!(self.link, Link::Up | Link::CatchingUp)
    }

    fn is_open(&self, conversation: &Recipient) -> bool {
        self.open.as_ref().is_some_and(|open| open.conversation == *conversation)
    }

    /// Returns `true` if the next line may be carried out: after the first attempt to connect, and once the line before is done.
    /// This keeps the lines of a script in order.
    fn is_ready(&self) -> bool {
        self.link != Link::Unknown && self.jobs.is_empty() && self.sends.values().all(|send| send.is_late)
    }

    /// Returns the time at which a send under way becomes late.
    fn overdue(&self) -> Option<Instant> {
        self.sends.values().filter(|send| !send.is_late).map(|send| send.since + OVERDUE).min()
    }

    /// Shows sends that are late.
    fn note_late(&mut self) {
        let is_down = !self.is_connected();
        let is_late = |send: &&mut Send| !send.is_late && (is_down || send.since.elapsed() >= OVERDUE);
        for send in self.sends.values_mut().filter(is_late) {
            send.is_late = true;
            if send.taken.is_none() && !self.screen.is_full() {
                self.screen.print(&self.view.waiting(&send.to, &send.text));
            }
        }
    }

    fn tell(&self, text: &str) {
        self.screen.print(&self.view.told(text));
    }

    fn fail(&mut self, text: &str) {
        self.has_failed = true;
        self.screen.print(&self.view.failed(text));
    }
}

/// The most events that are taken at once.
const EVENTS: usize = 100;

/// The time after which a send is shown as not sent yet.
const OVERDUE: Duration = Duration::from_secs(1);

/// The time limit of the wait for sends in progress when the chat ends.
const SETTLE: Duration = Duration::from_secs(10);

/// The most users that a server lets a device watch.
const MAX_WATCHED: usize = im_sdk::limits::MAX_WATCHED_USERS;
