//! Acknowledgements in the file. They reach the disk with the next append; devices repeat those
//! that a crash loses.

use async_trait::async_trait;
use redb::{Database, ReadableDatabase};
use tokio::{sync::oneshot, task::spawn_blocking};

use super::{DiskLog, WriterEnded, ack_writer::of_user, tables::ACKS, unavailable, writer::Job};
use crate::{
    cluster::{
        time::{milliseconds, unix_ms},
        traits::{AckQuery, AckStore, DeviceAck, LogError, acks::device_of},
    },
    id::Device,
};

const NOTE: &str = "note what devices acknowledged";
const ASK: &str = "ask what devices acknowledged";

#[async_trait]
impl AckStore for DiskLog {
    async fn note_acks(&self, acks: &[DeviceAck]) -> Result<Vec<bool>, LogError> {
        let acks = acks.to_vec();
        self.write_ack(|done| Job::NoteAcks { acks, done }).await
    }

    async fn acked(&self, questions: &[AckQuery]) -> Result<Vec<Vec<(Device, u64)>>, LogError> {
        let (database, questions) = (self.database.clone(), questions.to_vec());
        let oldest = unix_ms().saturating_sub(milliseconds(self.bounds.max_age));
        let found = spawn_blocking(move || find(&database, &questions, oldest)).await;
        found.map_err(|error| unavailable(ASK, error))?.map_err(|error| unavailable(ASK, error))
    }

    async fn lower_ack(&self, ack: &DeviceAck) -> Result<(), LogError> {
        let ack = ack.clone();
        self.write_ack(|done| Job::LowerAck { ack, done }).await
    }
}

impl DiskLog {
    async fn write_ack<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, LogError>>) -> Job,
    ) -> Result<T, LogError> {
        let written = self.writer.submit(job).await.and_then(Result::ok);
        written.unwrap_or_else(|| Err(unavailable(NOTE, WriterEnded)))
    }
}

fn find(
    database: &Database,
    questions: &[AckQuery],
    oldest_ms: u64,
) -> Result<Vec<Vec<(Device, u64)>>, redb::Error> {
    let acks = database.begin_read()?.open_table(ACKS)?;
    let answer = |question: &AckQuery| {
        let log = question.log.to_string();
        let mut devices = Vec::new();
        for place in of_user(&acks, question.user.as_str())? {
            let (member, seq, noted_ms) = place?;
            if noted_ms > oldest_ms && seq >= question.seq {
                devices.extend(device_of(&member, &log).map(|device| (device, seq)));
            }
        }
        Ok(devices)
    };
    questions.iter().map(answer).collect()
}
