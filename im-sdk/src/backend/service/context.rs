//! The parts of a backend that serve devices.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{
    budget::{Budgets, UserBudgets},
    change::ChangePolicy,
    contacts::Contacts,
    references::References,
};
use crate::{
    backend::{
        amend::Amender,
        conversations::Conversations,
        health::HealthCheck,
        history::{HistoryReader, search::MessageSearch},
        presence::OnlineDevices,
        send::{MessageSender, dispatch::Dispatcher, message::Durability, publisher::Publisher},
        tasks::Tasks,
    },
    cluster::Cluster,
};

/// The settings of a service.
#[derive(Clone, Debug)]
pub(in crate::backend) struct ServiceSettings {
    pub(in crate::backend) handler_concurrency: usize,
    pub(in crate::backend) handler_timeout: Duration,
    pub(in crate::backend) send_timeout: Duration,
    pub(in crate::backend) changes: ChangePolicy,
    pub(in crate::backend) default_durability: Durability,
    pub(in crate::backend) user_budgets: UserBudgets,
}

/// The parts that a service uses.
#[derive(Debug)]
pub(in crate::backend) struct ServiceParts {
    pub(in crate::backend) dispatcher: Arc<Dispatcher>,
    pub(in crate::backend) sender: Arc<MessageSender>,
    pub(in crate::backend) history: Arc<HistoryReader>,
    pub(in crate::backend) search: Arc<MessageSearch>,
    pub(in crate::backend) amender: Arc<Amender>,
    pub(in crate::backend) conversations: Arc<Conversations>,
    pub(in crate::backend) devices: Arc<OnlineDevices>,
    pub(in crate::backend) health: Arc<HealthCheck>,
    /// `true` while this process reaches the route store, and with it the other stores in the same Redis.
    pub(in crate::backend) stores: watch::Sender<bool>,
    pub(in crate::backend) tasks: Arc<Tasks>,
}

/// The parts of a backend that serve devices, shared by all responders.
#[derive(Debug)]
pub(in crate::backend) struct ServiceContext {
    pub(super) cluster: Cluster,
    pub(super) publisher: Arc<Publisher>,
    pub(super) dispatcher: Arc<Dispatcher>,
    pub(super) sender: Arc<MessageSender>,
    pub(super) history: Arc<HistoryReader>,
    pub(super) search: Arc<MessageSearch>,
    pub(super) amender: Arc<Amender>,
    pub(super) conversations: Arc<Conversations>,
    pub(super) devices: Arc<OnlineDevices>,
    pub(super) health: Arc<HealthCheck>,
    pub(super) references: References,
    pub(super) budgets: Budgets,
    pub(super) contacts: Contacts,
    /// See [`ServiceParts::stores`].
    pub(super) stores: watch::Sender<bool>,
    pub(super) settings: ServiceSettings,
    pub(super) tasks: Arc<Tasks>,
}

impl ServiceContext {
    pub(in crate::backend) fn new(cluster: Cluster, parts: ServiceParts, settings: ServiceSettings) -> Self {
        let ServiceParts { dispatcher, sender, history, search, amender, .. } = parts;
        let ServiceParts { conversations, devices, health, stores, tasks, .. } = parts;
        Self {
            publisher: Arc::clone(dispatcher.publisher()),
            references: References::new(Arc::clone(&history), Arc::clone(cluster.members())),
            budgets: Budgets::new(settings.user_budgets.clone()),
            contacts: Contacts::new(cluster.clone(), Arc::clone(&dispatcher)),
            cluster,
            dispatcher,
            sender,
            history,
            search,
            amender,
            conversations,
            devices,
            health,
            stores,
            settings,
            tasks,
        }
    }
}
