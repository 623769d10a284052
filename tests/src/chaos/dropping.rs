//! A bus that drops envelopes on purpose.

use std::sync::Arc;

use im_sdk::{
    async_trait,
    cluster::{Bus, BusError, Names, Publication, QueueGroup, Subject, Subscription},
};

/// Forwards everything except a share of the publications to servers, which it accepts and drops.
#[derive(Debug)]
pub struct DroppingBus {
    bus: Arc<dyn Bus>,
    servers: String,
    percent: u32,
}

impl DroppingBus {
    /// Drops this percentage of publications to servers.
    pub fn new(bus: Arc<dyn Bus>, percent: u32) -> Self {
        // `im.up.sync` and similar subjects have the same prefix as `im.srv.<server>`.
        let prefix = bus.names().upstream_sync().to_string();
        let prefix = prefix.split('.').next().unwrap_or_default();
        Self { servers: format!("{prefix}.srv."), bus, percent }
    }
}

#[async_trait]
impl Bus for DroppingBus {
    async fn subscribe(&self, subject: Subject) -> Result<Subscription, BusError> {
        self.bus.subscribe(subject).await
    }

    async fn queue_subscribe(&self, subject: Subject, group: QueueGroup) -> Result<Subscription, BusError> {
        self.bus.queue_subscribe(subject, group).await
    }

    async fn publish(&self, publication: Publication) -> Result<(), BusError> {
        let to_server = publication.subject.as_str().starts_with(&self.servers);
        if to_server && rand::random_ratio(self.percent, 100) {
            return Ok(());
        }
        self.bus.publish(publication).await
    }

    async fn flush(&self) -> Result<(), BusError> {
        self.bus.flush().await
    }

    fn names(&self) -> &Names {
        self.bus.names()
    }
}

#[cfg(test)]
mod tests {
    use im_sdk::{cluster::MemoryBus, id::ServerId};

    use super::*;

    #[tokio::test]
    async fn only_what_is_for_servers_is_dropped() {
        let bus = DroppingBus::new(Arc::new(MemoryBus::new()), 100);
        let server = bus.names().server(&ServerId::parse("s1").unwrap());
        let others = bus.names().upstream_publish();
        let mut dropped = bus.subscribe(server.clone()).await.unwrap();
        let mut passed = bus.subscribe(others.clone()).await.unwrap();
        for subject in [server, others] {
            bus.publish(Publication { subject, return_to: None, payload: "x".into() }).await.unwrap();
        }
        assert!(passed.next().await.is_some());
        assert!(dropped.try_next().is_none());
    }
}
