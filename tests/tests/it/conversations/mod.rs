//! The list of conversations, unread counts and read marks.

mod conversation_list;
mod read_mark_checks;
mod read_marks;
mod unread_counts;
