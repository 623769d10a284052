//! Reading, searching, expiring and exporting old messages.

mod reading;
mod search;
