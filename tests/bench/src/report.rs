//! Reports of runs.

use serde::{Deserialize, Serialize};

/// The report of one run. Fields that do not apply are `None`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Scenario.
    pub(crate) scenario: String,
    /// Target.
    pub(crate) target: String,
    /// Its version.
    pub(crate) version: String,
    /// Transport of the devices.
    pub(crate) transport: Option<String>,
    /// Entry point of the messages.
    pub(crate) path: Option<String>,
    /// Number of connections.
    pub(crate) connections: u32,
    /// Number of channels among which they were divided.
    pub(crate) channels: Option<u32>,
    /// Number of server processes.
    pub(crate) servers: Option<usize>,
    /// Registry of the routes.
    pub(crate) registration: Option<String>,
    /// Size of a payload.
    pub(crate) payload_bytes: Option<usize>,
    /// Duration of the measurement.
    pub(crate) seconds: f64,
    /// Messages sent in the whole run, warm-up included.
    pub(crate) sent: Option<u64>,
    /// Deliveries in the whole run, each message and recipient once.
    pub(crate) delivered: Option<u64>,
    /// Deliveries per second of the measurement.
    pub(crate) delivered_per_s: Option<f64>,
    /// Deliveries that never arrived.
    pub(crate) lost: Option<u64>,
    /// Deliveries that arrived again.
    pub(crate) duplicated: Option<u64>,
    /// Deliveries that arrived after a later one.
    pub(crate) reordered: Option<u64>,
    /// Sends that failed, and connections that the server closed.
    pub(crate) failed: Option<u64>,
    /// Latency from the time a message was due to its arrival.
    pub(crate) latency_us: Option<Latency>,
    /// Processor time of the target's processes.
    pub(crate) server_cpu_us_per_delivery: Option<f64>,
    /// Processor time of the receiving threads, which share the machine with the target.
    pub(crate) client_cpu_us_per_delivery: Option<f64>,
    /// Processor time of sending in this process: the SDK, if messages enter through it.
    pub(crate) sender_cpu_us_per_delivery: Option<f64>,
    /// Share of the time in which the busiest receiving thread was at work. Near 1, the load client was the bottleneck.
    pub(crate) client_busy: Option<f64>,
    /// Messages per write, by the receiving sockets' count of data segments; over QUIC, messages per
    /// datagram.
    pub(crate) messages_per_write: Option<f64>,
    /// User memory of the target's processes per connection.
    pub(crate) server_rss_bytes_per_connection: Option<f64>,
    /// Kernel memory of the machine (both ends of the connection) per connection.
    pub(crate) kernel_bytes_per_connection: Option<f64>,
    /// Connections made per second.
    pub(crate) connects_per_s: Option<f64>,
    /// Processor time of the target's processes per connection made.
    pub(crate) server_cpu_us_per_connect: Option<f64>,
    /// Processor time of the receiving threads per connection made.
    pub(crate) client_cpu_us_per_connect: Option<f64>,
    /// Devices per second that connected and received everything they had missed.
    pub(crate) resumes_per_s: Option<f64>,
    /// Note on the circumstances of the run.
    pub(crate) note: Option<String>,
    /// Quantiles, and the latency of each in microseconds.
    #[serde(skip)]
    pub(crate) curve: Vec<(f64, f64)>,
}

/// Quantiles in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// The median.
    pub p50: f64,
    /// One in a hundred is slower.
    pub p99: f64,
    /// One in a thousand is slower.
    pub p999: f64,
}

/// The ratio of one number between two targets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ratio {
    /// Name of the number.
    pub(crate) ratio: String,
    /// Target of the numerator.
    pub(crate) target: String,
    /// Target of the denominator.
    pub(crate) to: String,
    /// Quotient of the medians.
    pub(crate) value: f64,
}

impl Report {
    /// Returns whether nothing was lost, duplicated, reordered or refused.
    pub(crate) fn is_exact(&self) -> bool {
        [self.lost, self.duplicated, self.reordered, self.failed]
            .into_iter()
            .flatten()
            .all(|count| count == 0)
    }

    /// Returns names and values for people.
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

/// Formats a table of runs, one column each.
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

/// Names and values of one run.
pub(crate) type Rows = Vec<(&'static str, String)>;

/// Returns the cells of a table, row by row: a name, then the value of each run.
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

/// Formats 1234567 as 1,234,567.
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
