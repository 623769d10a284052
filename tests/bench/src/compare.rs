//! Medians of several runs, and ratios between targets.

use crate::report::{Latency, Ratio, Report};

/// Returns the median report of each target, in order of appearance, and the ratios of the first one to the
/// others.
pub(crate) fn summarize(runs: &[Report]) -> (Vec<Report>, Vec<Ratio>) {
    let mut targets: Vec<&str> = Vec::new();
    for run in runs {
        if !targets.contains(&run.target.as_str()) {
            targets.push(&run.target);
        }
    }
    let of = |target: &&str| runs.iter().filter(|run| run.target == **target).collect::<Vec<_>>();
    let medians: Vec<Report> = targets.iter().filter_map(|target| median_report(&of(target))).collect();
    let ratios = match medians.split_first() {
        Some((first, peers)) => peers.iter().flat_map(|peer| ratios(first, peer)).collect(),
        None => Vec::new(),
    };
    (medians, ratios)
}

type Number = fn(&Report) -> Option<f64>;

fn ratios(target: &Report, peer: &Report) -> Vec<Ratio> {
    let numbers: [(&str, Number); 4] = [
        ("delivered_per_s", |report| report.delivered_per_s),
        ("latency_p50", |report| Some(report.latency_us?.p50)),
        ("latency_p99", |report| Some(report.latency_us?.p99)),
        ("server_cpu_us_per_delivery", |report| report.server_cpu_us_per_delivery),
    ];
    let ratio = |(name, number): &(&str, Number)| {
        let value = number(target)? / number(peer).filter(|value| *value > 0.0)?;
        Some(Ratio {
            ratio: (*name).to_owned(),
            target: target.target.clone(),
            to: peer.target.clone(),
            value,
        })
    };
    numbers.iter().filter_map(ratio).collect()
}

/// Returns the medians of the numbers. Faults are summed, and the latency curve is that of the run with the
/// median rate.
fn median_report(runs: &[&Report]) -> Option<Report> {
    let median = |number: Number| median(runs.iter().filter_map(|run| number(run)).collect());
    let sum = |number: fn(&Report) -> Option<u64>| {
        runs.iter().filter_map(|run| number(run)).reduce(|one, other| one + other)
    };
    Some(Report {
        sent: sum(|run| run.sent),
        delivered: sum(|run| run.delivered),
        delivered_per_s: median(|run| run.delivered_per_s),
        lost: sum(|run| run.lost),
        duplicated: sum(|run| run.duplicated),
        reordered: sum(|run| run.reordered),
        failed: sum(|run| run.failed),
        latency_us: runs.iter().any(|run| run.latency_us.is_some()).then(|| Latency {
            p50: median(|run| Some(run.latency_us?.p50)).unwrap_or_default(),
            p99: median(|run| Some(run.latency_us?.p99)).unwrap_or_default(),
            p999: median(|run| Some(run.latency_us?.p999)).unwrap_or_default(),
        }),
        server_cpu_us_per_delivery: median(|run| run.server_cpu_us_per_delivery),
        client_cpu_us_per_delivery: median(|run| run.client_cpu_us_per_delivery),
        sender_cpu_us_per_delivery: median(|run| run.sender_cpu_us_per_delivery),
        client_busy: median(|run| run.client_busy),
        messages_per_write: median(|run| run.messages_per_write),
        connects_per_s: median(|run| run.connects_per_s),
        ..typical(runs)?.clone()
    })
}

/// Returns the run with the median rate.
fn typical<'a>(runs: &[&'a Report]) -> Option<&'a Report> {
    let mut runs = runs.to_vec();
    let rate = |run: &Report| run.delivered_per_s.unwrap_or_default();
    runs.sort_by(|one, other| rate(one).total_cmp(&rate(other)));
    runs.get(runs.len() / 2).copied()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 0 => Some(f64::midpoint(values[middle - 1], values[middle])),
        _ => Some(values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(target: &str, delivered_per_s: f64, lost: u64) -> Report {
        let (target, delivered_per_s) = (target.to_owned(), Some(delivered_per_s));
        Report { target, delivered_per_s, lost: Some(lost), ..Report::default() }
    }

    #[test]
    fn medians_and_ratios_are_those_of_all_rounds() {
        let runs = [("im", 30.0, 0), ("peer", 10.0, 0), ("im", 20.0, 1), ("peer", 30.0, 0), ("im", 90.0, 0)];
        let runs: Vec<_> = runs.map(|(target, rate, lost)| run(target, rate, lost)).into();
        let (medians, ratios) = summarize(&runs);
        let rates: Vec<_> = medians.iter().map(|median| median.delivered_per_s).collect();
        assert_eq!(rates, [Some(30.0), Some(20.0)]);
        assert_eq!(medians[0].lost, Some(1), "a fault of one round is a fault");
        assert_eq!(ratios.len(), 1);
        assert!((ratios[0].value - 1.5).abs() < 1e-9);
    }
}
