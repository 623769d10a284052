//! Takes the backend's answers.

use im_sdk::{
    ConversationChange, Recipient,
    client::{RefusalKind, RequestError},
    id::{MessageId, UserId},
};

use super::{
    App, History, Loading,
    events::why,
    jobs::{Answer, Past},
};
use crate::{
    book::ReadTo,
    groups::{BACK_END, Request},
    view::name,
};

impl App {
    /// Takes the answer to a request.
    pub(super) async fn take_answer(&mut self, answer: Answer) {
        match answer {
            Answer::Conversations(Ok(pages)) => {
                pages.into_iter().for_each(|page| self.list.load(page));
                self.list_loading = Loading::Idle;
                self.watch();
                if self.list_wanted {
                    self.show_list();
                }
            }
            Answer::Conversations(Err(error)) => {
                self.list_loading = Loading::Failed;
                self.complain("show the conversations", &error);
            }
            Answer::Past { conversation, is_older, outcome } => {
                self.take_past(&conversation, is_older, outcome).await;
            }
            Answer::Found(Ok(page)) => {
                if page.messages.is_empty() {
                    self.tell("nothing was found");
                }
                for message in page.messages.iter().rev() {
                    self.show_found(message);
                }
            }
            Answer::Found(Err(error)) => self.complain("search", &error),
            Answer::Notices(Ok(entries)) => self.show_notices(&entries),
            Answer::Notices(Err(error)) => self.complain("show what the back end has told", &error),
            Answer::Presences(Ok(presences)) => {
                presences.into_iter().for_each(|presence| self.note_presence(presence));
            }
            Answer::Presences(Err(_)) => self.watched.clear(),
            Answer::Readers(number, Ok(readers)) => {
                let users: Vec<&str> = readers.users.iter().map(UserId::as_str).collect();
                let by = if users.is_empty() { "nobody".to_owned() } else { users.join(", ") };
                self.tell(&format!("{number} was read by {by} ({} in all)", readers.count));
            }
            Answer::Readers(number, Err(error)) => {
                self.complain(&format!("tell who has read {number}"), &error)
            }
            // A relay forwards the request to the user with that name.
            Answer::Group(_, Ok(published)) if published.answer.is_empty() => {
                self.has_groups = false;
                self.fail(NO_GROUPS);
                let out_of_the_list = ConversationChange::new().hide(u64::MAX);
                let hidden = self.client.set_conversation(self.back_end.clone(), out_of_the_list).await;
                hidden.unwrap_or_else(|error| self.fail(&format!("{BACK_END} stays in the list: {error}")));
            }
            // An event reports it.
            Answer::Group(Request::Leave(_), Ok(_)) => {}
            Answer::Group(request, Ok(published)) => {
                self.tell(&String::from_utf8_lossy(&published.answer));
                if let Request::Add(group, _) = request {
                    self.open(group.into());
                }
            }
            Answer::Group(_, Err(error)) => self.fail(&why(&error)),
        }
    }

    async fn take_past(
        &mut self,
        conversation: &Recipient,
        is_older: bool,
        outcome: Result<Past, RequestError>,
    ) {
        if let Ok(past) = &outcome {
            for entry in &past.entries {
                self.book.note_past(conversation, entry);
            }
        }
        // Another conversation may be open by now.
        let Some(open) = self.open.as_mut().filter(|open| open.conversation == *conversation) else { return };
        match outcome {
            Ok(past) if is_older => {
                open.history = History::Back(past.next);
                let messages = past.entries.iter().filter(|entry| entry.content.as_change().is_none());
                let messages: Vec<MessageId> = messages.map(|message| message.id).collect();
                self.show_all(conversation, &messages);
            }
            Ok(past) => {
                open.history = History::Back(past.next);
                self.show_opened(conversation, past.next.is_some());
                self.mark_read(conversation).await;
            }
            Err(error) => {
                if !is_older {
                    open.history = History::Missing;
                    // Including the messages that have come meanwhile.
                    self.show_opened(conversation, false);
                }
                if is_refused(&error) {
                    self.open = None;
                }
                self.complain(&format!("show what was said in {}", name(conversation)), &error);
            }
        }
    }

    /// Shows a conversation, with its messages and read marks.
    fn show_opened(&mut self, conversation: &Recipient, has_more: bool) {
        self.show_header(conversation, has_more);
        let messages: Vec<MessageId> = self.book.messages(conversation).map(|message| message.id()).collect();
        self.show_all(conversation, &messages);
        let peer_read = self.list.get(conversation).and_then(|listed| listed.state.peer_read);
        if let (Some(user), Some(read_to)) = (conversation.as_user(), peer_read) {
            self.tell_read(conversation, user, ReadTo::Message(read_to));
        }
    }

    fn complain(&mut self, what: &str, error: &RequestError) {
        self.fail(&format!("cannot {what}: {error}"));
    }
}

fn is_refused(error: &RequestError) -> bool {
    matches!(error, RequestError::Refused { kind: RefusalKind::Rule | RefusalKind::Invalid, .. })
}

/// The text for a backend that forwards requests as messages.
pub(super) const NO_GROUPS: &str = "this back end knows nothing of groups: `cli-chat serve` does";
