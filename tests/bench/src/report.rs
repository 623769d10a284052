//! What a run says.

use serde::{Deserialize, Serialize};

/// One run. `None` where it does not apply.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Which scenario.
    pub(crate) scenario: String,
    /// Which target.
    pub(crate) target: String,
    /// Its version.
    pub(crate) version: String,
    /// How devices were connected.
    pub(crate) transport: Option<String>,
    /// Where messages entered.
    pub(crate) path: Option<String>,
    /// How many.
    pub(crate) connections: u32,
    /// How many channels they were spread over.
    pub(crate) channels: Option<u32>,
    /// How many server processes.
    pub(crate) servers: Option<usize>,
    /// Where routes were registered.
    pub(crate) registration: Option<String>,
    /// The size of a payload.
    pub(crate) payload_bytes: Option<usize>,
    /// How long it was measured.
    pub(crate) seconds: f64,
    /// Messages sent in the whole run, warm-up included.
    pub(crate) sent: Option<u64>,
    /// Deliveries in the whole run, each message and recipient once.
    pub(crate) delivered: Option<u64>,
    /// Deliveries a second while it was measured.
    pub(crate) delivered_per_s: Option<f64>,
    /// Deliveries that never came.
    pub(crate) lost: Option<u64>,
    /// Deliveries that came again.
    pub(crate) duplicated: Option<u64>,
    /// Deliveries that came after a later one.
    pub(crate) reordered: Option<u64>,
    /// Sends that failed, and connections that the server closed.
    pub(crate) failed: Option<u64>,
    /// From when a message was due to when it had arrived.
    pub(crate) latency_us: Option<Latency>,
    /// What the target's processes took.
    pub(crate) server_cpu_us_per_delivery: Option<f64>,
    /// What the receiving threads took; they share the machine with the target.
    pub(crate) client_cpu_us_per_delivery: Option<f64>,
    /// What the sending took in this process: the SDK, where messages enter by it.
    pub(crate) sender_cpu_us_per_delivery: Option<f64>,
    /// The share of the time in which the busiest receiving thread was at work: near 1, the load client is what was measured.
    pub(crate) client_busy: Option<f64>,
    /// Messages in one write, as the receiving sockets count data segments; over QUIC in one datagram.
    pub(crate) messages_per_write: Option<f64>,
    /// User memory of the target's processes, for each connection.
    pub(crate) server_rss_bytes_per_connection: Option<f64>,
    /// Kernel memory of the machine (both ends of the connection), for each connection.
    pub(crate) kernel_bytes_per_connection: Option<f64>,
    /// Connections made a second.
    pub(crate) connects_per_s: Option<f64>,
    /// What the target's processes took for each.
    pub(crate) server_cpu_us_per_connect: Option<f64>,
    /// What the receiving threads took for each.
    pub(crate) client_cpu_us_per_connect: Option<f64>,
    /// Devices a second that connected and got all that they had missed.
    pub(crate) resumes_per_s: Option<f64>,
    /// What it was taken under that others should know.
    pub(crate) note: Option<String>,
    /// Shares of all deliveries and the latency in microseconds that each is not above.
    #[serde(skip)]
    pub(crate) curve: Vec<(f64, f64)>,
}

/// Quantiles in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// The median.
    pub p50: f64,
    /// One of a hundred is slower.
    pub p99: f64,
    /// One of a thousand is slower.
    pub p999: f64,
}

/// What one number of a run is in terms of another target's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ratio {
    /// Which number.
    pub(crate) ratio: String,
    /// Of which target.
    pub(crate) target: String,
    /// To which.
    pub(crate) to: String,
    /// The medians' quotient.
    pub(crate) value: f64,
}

impl Report {
    /// Nothing was lost, doubled, shuffled or refused.
    pub(crate) fn is_exact(&self) -> bool {
        [self.lost, self.duplicated, self.reordered, self.failed]
            .into_iter()
            .flatten()
            .all(|count| count == 0)
    }

    /// Names and values for people.
    pub(crate) fn rows(&self) -> Rows {
        let mut rows = vec![
            ("scenario", self.scenario.clone()),
            ("target", format!("{} ({})", self.target, self.version)),
        ];
        let mut add = |name, value: Option<String>| rows.extend(value.map(|value| (name, value)));
        let number = |value: f64| grouped(value.round().abs() as u64);
        add("connections", Some(grouped(self.connections.into())));
        add("channels", self.channels.map(|channels| grouped(channels.into())));
        add("transport", self.transport.clone());
        add("path", self.path.clone());
        add("registration", self.registration.clone());
        add("delivered/s", self.delivered_per_s.map(number));
        add("resumes/s", self.resumes_per_s.map(number));
        add("connects/s", self.connects_per_s.map(number));
        add("latency p50", self.latency_us.map(|latency| format!("{:.0} us", latency.p50)));
        add("latency p99", self.latency_us.map(|latency| format!("{:.0} us", latency.p99)));
        add("latency p99.9", self.latency_us.map(|latency| format!("{:.0} us", latency.p999)));
        add("server CPU/delivery", self.server_cpu_us_per_delivery.map(|us| format!("{us:.2} us")));
        add("client CPU/delivery", self.client_cpu_us_per_delivery.map(|us| format!("{us:.2} us")));
        add("sender CPU/delivery", self.sender_cpu_us_per_delivery.map(|us| format!("{us:.2} us")));
        add("client busy", self.client_busy.map(|busy| format!("{:.0} %", busy * 100.0)));
        add("server CPU/connect", self.server_cpu_us_per_connect.map(|us| format!("{us:.1} us")));
        add("client CPU/connect", self.client_cpu_us_per_connect.map(|us| format!("{us:.1} us")));
        add("messages/write", self.messages_per_write.map(|messages| format!("{messages:.2}")));
        add(
            "user memory/connection",
            self.server_rss_bytes_per_connection.map(|bytes| format!("{bytes:.0} B")),
        );
        add(
            "kernel memory/connection",
            self.kernel_bytes_per_connection.map(|bytes| format!("{bytes:.0} B")),
        );
        let faults = [
            ("lost", self.lost),
            ("doubled", self.duplicated),
            ("shuffled", self.reordered),
            ("failed", self.failed),
        ];
        let faults: Vec<_> =
            faults.iter().filter_map(|(name, count)| count.map(|count| format!("{count} {name}"))).collect();
        add("note", self.note.clone());
        add("verified", (!faults.is_empty()).then(|| faults.join(", ")));
        rows
    }
}

/// A table of some runs, one column each.
pub(crate) fn table(reports: &[Report]) -> String {
    let grid = grid(&reports.iter().map(Report::rows).collect::<Vec<_>>());
    let columns = reports.len() + 1;
    let width = |column: usize| grid.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &grid {
        text += &format!("{:1$}", row[0], widths[0]);
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            text += &format!("  {cell:>width$}");
        }
        text.push('\n');
    }
    text
}

/// What one run says, by names.
pub(crate) type Rows = Vec<(&'static str, String)>;

/// The table's cells, row by row: a name, then the value of each run.
pub(crate) fn grid(columns: &[Rows]) -> Vec<Vec<String>> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in columns.iter().flatten() {
        if !names.contains(name) {
            names.push(name);
        }
    }
    let value = |column: &Rows, name: &str| {
        let row = column.iter().find(|(row, _)| *row == name);
        row.map_or_else(|| "-".to_owned(), |(_, value)| value.clone())
    };
    let row = |name: &&str| {
        let cells = columns.iter().map(|column| value(column, name));
        std::iter::once((*name).to_owned()).chain(cells).collect()
    };
    names.iter().map(row).collect()
}

/// 1234567 as 1,234,567.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_column_for_each_run_and_a_row_for_each_number() {
        let one = Report { target: "im".into(), delivered_per_s: Some(1_234_567.4), ..Report::default() };
        let two = Report {
            target: "control".into(),
            connects_per_s: Some(30.0),
            lost: Some(2),
            ..Report::default()
        };
        assert!(one.is_exact() && !two.is_exact());
        let table = table(&[one, two]);
        let rows: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        assert_eq!(rows[1], ["target", "im ()", "control ()"]);
        assert!(rows.contains(&vec!["delivered/s", "1,234,567", "-"]));
        assert!(rows.contains(&vec!["verified", "-", "2 lost"]));
    }
}
