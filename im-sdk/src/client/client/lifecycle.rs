//! The device around the client: its network, its memory, and applications in the background.

use std::time::Duration;

use tokio::time::Instant;

use super::Client;
use crate::client::State;

impl Client {
    /// Reports that the device has another network, or has one again. Returns at once.
    ///
    /// An existing connection is probed, and dropped if the server does not answer within
    /// [`PROBE_TIMEOUT`](crate::client::PROBE_TIMEOUT): the heartbeat alone would notice the loss later. A running attempt starts over,
    /// and a delay before the next one ends. A client that is disconnected or stopped stays so.
    ///
    /// ```no_run
    /// # fn example(client: im_sdk::client::Client) {
    /// // In the platform's callback for connectivity.
    /// client.network_changed();
    /// # }
    /// ```
    #[doc(alias = "connectivity")]
    pub fn network_changed(&self) {
        self.desired.send_modify(|desired| desired.network_changes += 1);
    }

    /// Reports that the application goes into the background, where the system may suspend the process. Within this time the
    /// client sends what waits, if it is connected, saves everything, disconnects, and has the store
    /// [release](crate::client::device_store::DeviceStore::release) its files, which some systems do not let a suspended process hold.
    /// Returns `true` if all of that is done, and `false` if the time was too short, or the application came back first.
    ///
    /// Sends and acknowledgements are taken in the background too: the store opens its files for them, and releases them again.
    /// [`Client::connect`] connects in the background; call this method again when the work there is done. Dropping the future
    /// does not stop the work.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn example(client: im_sdk::client::Client) {
    /// if !client.entered_background(Duration::from_secs(5)).await {
    ///     println!("the rest follows in the foreground");
    /// }
    /// # }
    /// ```
    #[doc(alias("suspend", "pause"))]
    pub async fn entered_background(&self, within: Duration) -> bool {
        let within = within.min(LONGEST_BACKGROUND_WORK);
        let mut number = 0;
        self.desired.send_modify(|desired| {
            desired.backgrounds += 1;
            number = desired.backgrounds;
            desired.background_until = Some(Instant::now() + within);
        });
        let mut status = self.status.clone();
        let ended = status
            .wait_for(|status| status.state == State::Closed || status.background.number >= number)
            .await;
        // Without a driver the client is closed.
        ended.map_or(true, |status| status.state == State::Closed || status.background.complete)
    }

    /// Reports that the application is in the foreground again. The client connects if it was connected, or about to be, when
    /// [`Client::entered_background`] was called. Returns at once.
    ///
    /// ```no_run
    /// # fn example(client: im_sdk::client::Client) {
    /// client.entered_foreground();
    /// # }
    /// ```
    #[doc(alias = "resume")]
    pub fn entered_foreground(&self) {
        self.desired.send_modify(|desired| {
            desired.foregrounds += 1;
            desired.background_until = None;
        });
    }

    /// Reports that the device is short of memory: the client frees what its queues and its store hold without need. Returns at
    /// once. No data is lost.
    ///
    /// ```no_run
    /// # fn example(client: im_sdk::client::Client) {
    /// client.memory_pressure();
    /// # }
    /// ```
    pub fn memory_pressure(&self) {
        self.desired.send_modify(|desired| desired.memory_warnings += 1);
    }
}

/// The longest time for work in the background. It is added to the present time, and few clocks reach much
/// further.
const LONGEST_BACKGROUND_WORK: Duration = Duration::from_secs(24 * 60 * 60);
