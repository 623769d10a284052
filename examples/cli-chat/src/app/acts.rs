//! Carries out commands, by itself or by a request to the backend.

use std::{collections::HashMap, ops::ControlFlow, sync::Arc};

use im_sdk::{
    ConversationChange, Recipient,
    client::{LocalId, MessageRef, SendState},
    content::{ChangeKind, Content},
    id::ChannelId,
};
use tokio::time::Instant;

use super::{App, History, Open, Send, answers::NO_GROUPS, events::described, jobs};
use crate::{
    commands::{Command, HELP, parse, said},
    groups::Request,
    view::name,
};

impl App {
    /// Carries out a line, and shows a failure. Breaks when the user leaves.
    pub(super) async fn obey(&mut self, line: &str) -> ControlFlow<()> {
        self.try_to_obey(line).await.unwrap_or_else(|error| {
            self.fail(&error);
            ControlFlow::Continue(())
        })
    }

    /// Carries out a line. Breaks when the user leaves.
    ///
    /// # Errors
    /// The reason of the failure, for people.
    pub(super) async fn try_to_obey(&mut self, line: &str) -> Result<ControlFlow<()>, String> {
        match parse(line)? {
            None => {}
            Some(Command::Quit) => return Ok(ControlFlow::Break(())),
            Some(command) => self.carry_out(command).await?,
        }
        Ok(ControlFlow::Continue(()))
    }

    async fn carry_out(&mut self, command: Command) -> Result<(), String> {
        match command {
            Command::Say(text) => {
                let to = self.opened()?;
                self.send(to, said(&text)).await
            }
            Command::SayTo(to, text) => self.send(to, said(&text)).await,
            Command::Reply(number, text) => self.reply(number, &text).await,
            Command::Change(number, kind) => self.change(number, kind).await,
            Command::Readers(number) => self.readers(number),
            Command::Open(conversation) => {
                self.open(conversation);
                Ok(())
            }
            Command::List => {
                self.show_list();
                Ok(())
            }
            Command::Older => self.older(),
            Command::Search(words) => {
                self.needs_connection("search")?;
                self.jobs.push(jobs::found(Arc::clone(&self.client), words));
                Ok(())
            }
            Command::Notices => {
                self.needs_connection("show them")?;
                self.jobs.push(jobs::notices(Arc::clone(&self.client)));
                Ok(())
            }
            Command::Group(group, users) => self.ask(Request::Add(group, users)),
            Command::Leave(group) => self.group(group).and_then(|group| self.ask(Request::Leave(group))),
            Command::Members(group) => self.group(group).and_then(|group| self.ask(Request::Members(group))),
            Command::Top(is_top) => {
                let told = if is_top { "at the top of the list" } else { "among the others in the list" };
                self.set(ConversationChange::new().pin(is_top), told).await
            }
            Command::Mute(is_muted) => {
                let told = if is_muted { "muted" } else { "not muted any more" };
                self.set(ConversationChange::new().mute(is_muted), told).await
            }
            Command::Queue => self.show_queue().await,
            Command::Retry => self.retry().await,
            Command::Discard => self.discard().await,
            Command::Connect => {
                self.client.connect();
                Ok(())
            }
            Command::Help => {
                HELP.lines().for_each(|line| self.screen.print(line));
                Ok(())
            }
            Command::Quit => Ok(()),
        }
    }

    async fn send(&mut self, to: Recipient, content: Content) -> Result<(), String> {
        let text = described(&content);
        let sent = self.client.send(&to, content).await;
        let sent = sent.map_err(|error| format!("not sent to {}: {text}: {error}", name(&to)))?;
        self.note_send(sent.local_id(), to, text);
        Ok(())
    }

    /// Notes a send that the client has accepted. It comes back as an event when it is sent.
    fn note_send(&mut self, local_id: LocalId, to: Recipient, text: String) {
        self.sends.insert(local_id, Send { to, text, since: Instant::now(), taken: None, is_late: false });
        if !self.is_connected() {
            self.note_late();
        }
    }

    async fn reply(&mut self, number: u32, text: &str) -> Result<(), String> {
        let reference = self.book.find(number)?.clone();
        let message = self.book.message(&reference.conversation, reference.id);
        let quoted = message.and_then(|message| Some((message.from().cloned(), message.content()?)));
        let place = name(&reference.conversation);
        let (from, content) = quoted.ok_or_else(|| {
            format!(
                "message {number} cannot be answered: it is gone, or not loaded, which /open {place} does"
            )
        })?;
        let answer = said(text).quote(reference.quote(from, content));
        self.send(reference.conversation, answer).await
    }

    async fn change(&mut self, number: u32, kind: ChangeKind) -> Result<(), String> {
        let reference = self.book.find(number)?.clone();
        let what = described(&reference.change(kind.clone()));
        let sent = self.client.change(&reference, kind).await;
        let sent = sent.map_err(|error| format!("message {number} is left as it was: {error}"))?;
        self.note_send(sent.local_id(), reference.conversation, what);
        Ok(())
    }

    fn readers(&mut self, number: u32) -> Result<(), String> {
        let MessageRef { conversation, id, seq, .. } = self.book.find(number)?.clone();
        if let Some(channel) = conversation.as_channel() {
            self.needs_connection("tell who has read a message")?;
            self.jobs.push(jobs::readers(Arc::clone(&self.client), number, channel.clone(), seq));
            return Ok(());
        }
        let read_to = self.list.get(&conversation).and_then(|listed| listed.state.peer_read);
        let is_read = read_to.is_some_and(|read_to| id <= read_to);
        self.tell(&format!(
            "{} has {} {number}",
            name(&conversation),
            if is_read { "read" } else { "not read" }
        ));
        Ok(())
    }

    /// Opens a conversation: texts go there, and its messages are shown and marked as read.
    pub(super) fn open(&mut self, conversation: Recipient) {
        self.open = Some(Open {
            conversation: conversation.clone(),
            history: History::Missing,
            read: HashMap::new(),
            typing: HashMap::new(),
        });
        self.watch();
        if self.is_connected() {
            self.load_history();
        } else {
            self.show_header(&conversation, false);
            self.tell("not connected: what was said is shown when there is a connection");
        }
    }

    /// Requests the newest messages of the open conversation, unless that was done.
    pub(super) fn load_history(&mut self) {
        let Some(open) = self.open.as_mut().filter(|open| open.history == History::Missing) else { return };
        open.history = History::Coming;
        self.book.begin(&open.conversation);
        self.jobs.push(jobs::past(Arc::clone(&self.client), open.conversation.clone(), None));
    }

    fn older(&mut self) -> Result<(), String> {
        self.needs_connection("show more")?;
        let open = self.open.as_ref().ok_or(NOTHING_OPEN)?;
        match open.history {
            History::Back(None) => {
                self.tell("that was the beginning");
                Ok(())
            }
            _ if self.book.is_full(&open.conversation) => {
                Err("no more is kept of one conversation: /search finds what is older".to_owned())
            }
            History::Back(before) => {
                self.jobs.push(jobs::past(Arc::clone(&self.client), open.conversation.clone(), before));
                Ok(())
            }
            History::Missing | History::Coming => {
                self.load_history();
                Ok(())
            }
        }
    }

    async fn set(&mut self, change: ConversationChange, told: &str) -> Result<(), String> {
        let conversation = self.opened()?;
        let place = name(&conversation);
        let taken = self.client.set_conversation(conversation, change).await;
        taken.map_err(|error| format!("{place} is left as it was: {error}"))?;
        self.tell(&format!("{place} is {told}"));
        Ok(())
    }

    async fn show_queue(&mut self) -> Result<(), String> {
        let queued = self.client.unsettled_sends().await;
        if queued.is_empty() {
            self.tell("all is sent");
        }
        for send in queued {
            let (to, what) = (name(&send.to), described(&send.content));
            self.tell(&format!("{} to {to}: {what}", send.state.as_str()));
        }
        Ok(())
    }

    /// Sends failed messages again.
    async fn retry(&mut self) -> Result<(), String> {
        for send in
            self.client.unsettled_sends().await.into_iter().filter(|send| send.state == SendState::Failed)
        {
            let text = described(&send.content);
            let sent = send.handle.retry().await;
            let sent = sent.map_err(|error| format!("not sent to {}: {text}: {error}", name(&send.to)))?;
            self.note_send(sent.local_id(), send.to, text);
        }
        self.failed.clear();
        Ok(())
    }

    async fn discard(&mut self) -> Result<(), String> {
        for send in
            self.client.unsettled_sends().await.into_iter().filter(|send| send.state == SendState::Failed)
        {
            send.handle.discard().await;
        }
        self.failed.clear();
        self.tell("what failed is forgotten");
        Ok(())
    }

    fn ask(&mut self, request: Request) -> Result<(), String> {
        self.needs_connection("ask the back end")?;
        if !self.has_groups {
            return Err(NO_GROUPS.to_owned());
        }
        self.jobs.push(jobs::group(Arc::clone(&self.client), self.back_end.clone(), request));
        Ok(())
    }

    /// Returns the named group, or the open one.
    fn group(&self, named: Option<ChannelId>) -> Result<ChannelId, String> {
        let open = self.open.as_ref().and_then(|open| open.conversation.as_channel().cloned());
        named.or(open).ok_or_else(|| "no group is open: say which one".to_owned())
    }

    fn opened(&self) -> Result<Recipient, String> {
        Ok(self.open.as_ref().ok_or(NOTHING_OPEN)?.conversation.clone())
    }

    fn needs_connection(&self, what: &str) -> Result<(), String> {
        if self.is_connected() { Ok(()) } else { Err(format!("cannot {what}: there is no connection")) }
    }
}

const NOTHING_OPEN: &str = "no conversation is open: /open USER or /open #GROUP first";
