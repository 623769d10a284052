//! The driver's inputs, in order of priority.

use std::{future::pending, pin::Pin};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::Sleep;

use super::{Command, Driver, tokens::TokenReply};
use crate::client::{
    core::ConnectionEnd,
    device_store::StoreError,
    transport::{Link, RaceWinner, Reader, Writer},
};

/// The connection that the driver has or makes.
pub(super) enum Activity {
    Nothing,
    Racing(Race),
    Linked(Link),
}

pub(super) type Race = BoxFuture<'static, Result<Box<RaceWinner>, String>>;

/// The event that woke the driver.
pub(super) enum Input {
    Desired,
    Gone,
    Time,
    Written(Result<(), ConnectionEnd>),
    Read(Result<Bytes, ConnectionEnd>),
    Raced(Result<Box<RaceWinner>, String>),
    Token(TokenReply),
    Room,
    Saved(Result<(), StoreError>),
    /// The store has released its files.
    Released,
    /// A closing connection is closed.
    Parted,
    Acked,
    Command(Command),
}

impl Driver {
    pub(super) async fn wait(&mut self, timer: Pin<&mut Sleep>) -> Input {
        let Self { tokens, saver, activity, channels, undelivered, lifecycle, closing, .. } = self;
        let leaving = lifecycle.deadline().is_some();
        let full = undelivered.is_some();
        let (race, reader, writer) = activity.parts();
        tokio::select! {
            biased;
            // Rare. The application's decisions go before everything else.
            desired = channels.desired.changed() => if desired.is_ok() { Input::Desired } else { Input::Gone },
            // Heartbeats and deadlines, however busy the connection is.
            () = timer => Input::Time,
            // Before reading, so that a flood of messages cannot hold up answers. A blocked write is skipped, and the
            // amount to write is bounded until something is read.
            written = write(writer) => Input::Written(written),
            // While the application's queue is full, frames wait in the network.
            read = read(reader), if !full => Input::Read(read),
            raced = race_on(race) => Input::Raced(raced),
            token = tokens.answer() => Input::Token(token),
            // A saved message may be sent.
            outcome = saver.outcome() => Input::Saved(outcome),
            () = lifecycle.released() => Input::Released,
            // Only a client on its way into the background waits for goodbyes.
            Some(_) = closing.join_next(), if leaving => Input::Parted,
            permit = channels.events.reserve(), if full => permit.map_or(Input::Gone, |_| Input::Room),
            // Last, since every turn takes all of them anyway, or many: see `take_acks` and `take_commands`.
            () = channels.acks.changed() => Input::Acked,
            Some(command) = channels.commands.recv() => Input::Command(command),
        }
    }
}

impl Activity {
    fn parts(&mut self) -> (Option<&mut Race>, Option<&mut Reader>, Option<&mut Writer>) {
        match self {
            Self::Nothing => (None, None, None),
            Self::Racing(race) => (Some(race), None, None),
            Self::Linked(Link { reader, writer }) => (None, Some(reader), Some(writer)),
        }
    }
}

async fn write(writer: Option<&mut Writer>) -> Result<(), ConnectionEnd> {
    match writer {
        Some(writer) if !writer.is_idle() => writer.flush().await,
        _ => pending().await,
    }
}

async fn read(reader: Option<&mut Reader>) -> Result<Bytes, ConnectionEnd> {
    match reader {
        Some(reader) => reader.next().await,
        None => pending().await,
    }
}

async fn race_on(race: Option<&mut Race>) -> Result<Box<RaceWinner>, String> {
    match race {
        Some(race) => race.await,
        None => pending().await,
    }
}
