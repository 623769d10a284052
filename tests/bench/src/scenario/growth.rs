//! `growth`: the cost of a delivery as the number of connections or channels grows.

use clap::ValueEnum;

use super::{Delivery, Devices};
use crate::{audience::Audience, report::Report, target::TargetOptions};

/// The growing dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dimension {
    /// Connections, each with messages of its own.
    Connections,
    /// Channels, among which the same connections are divided.
    Channels,
}

impl Dimension {
    /// Returns the default sizes.
    pub(crate) fn default_points(self) -> Vec<u32> {
        match self {
            Self::Connections => vec![1_000, 2_000, 5_000, 10_000, 20_000, 50_000],
            Self::Channels => vec![2, 10, 50, 200, 1_000, 2_000],
        }
    }

    /// Returns the size of a run.
    pub(crate) fn of(self, report: &Report) -> u32 {
        match self {
            Self::Connections => report.connections,
            Self::Channels => report.channels.unwrap_or_default(),
        }
    }
}

/// See the module's description.
#[derive(Clone, Debug)]
pub(crate) struct Growth {
    /// Dimension that grows.
    pub(crate) dimension: Dimension,
    /// Sizes to measure at.
    pub(crate) points: Vec<u32>,
    /// The measurement at each size.
    pub(crate) delivery: Delivery,
}

impl Growth {
    /// Runs the scenario at each size. `watch` creates the progress callback for a size.
    ///
    /// # Errors
    /// Returns the step that failed.
    pub(crate) fn run<W: FnMut(f64)>(&self, mut watch: impl FnMut(u32) -> W) -> Result<Vec<Report>, String> {
        let run = |point: &u32| {
            Ok(Report { scenario: "growth".to_owned(), ..self.at(*point)?.run(watch(*point))? })
        };
        self.points.iter().map(run).collect()
    }

    fn at(&self, point: u32) -> Result<Delivery, String> {
        let delivery = self.delivery.clone();
        let connections = delivery.devices.connections;
        match self.dimension {
            Dimension::Connections => {
                let options = TargetOptions { audience: Audience::One, ..delivery.options };
                let devices = Devices { connections: point, ..delivery.devices };
                Ok(Delivery { options, devices, ..delivery })
            }
            Dimension::Channels if point == 0 || point > connections => Err(format!(
                "{connections} connections cannot be spread over {point} channels: choose 1 to {connections}"
            )),
            Dimension::Channels => {
                let options = TargetOptions { audience: Audience::Channels(point), ..delivery.options };
                Ok(Delivery { options, ..delivery })
            }
        }
    }
}

/// Returns the cost of a delivery at the last size relative to the first.
pub(crate) fn factor(reports: &[Report]) -> Option<f64> {
    let cost = |report: &Report| report.server_cpu_us_per_delivery.filter(|us| *us > 0.0);
    Some(cost(reports.last()?)? / cost(reports.first()?)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        pace::Rate,
        target::{Path, Registration, TargetKind, Transport},
    };

    fn growth(dimension: Dimension) -> Growth {
        let options = TargetOptions {
            transport: Transport::Ws,
            path: Path::Edge,
            payload: 128,
            servers: 1,
            audience: Audience::One,
            registration: Registration::Redis,
            spoil: None,
            note: None,
        };
        let devices = Devices { connections: 100, threads: 1 };
        let rate = Rate::Max { window: None };
        let delivery =
            Delivery { kind: TargetKind::Control, options, devices, rate, seconds: 1.0, warm_up: 1.0 };
        Growth { dimension, points: dimension.default_points(), delivery }
    }

    #[test]
    fn each_point_changes_what_grows_and_nothing_else() {
        let at = growth(Dimension::Connections).at(7).unwrap();
        assert_eq!((at.devices.connections, at.options.audience), (7, Audience::One));
        let at = growth(Dimension::Channels).at(7).unwrap();
        assert_eq!((at.devices.connections, at.options.audience), (100, Audience::Channels(7)));
        assert!(growth(Dimension::Channels).at(101).is_err());
    }

    #[test]
    fn the_factor_is_that_of_the_last_point_to_the_first() {
        let report = |us| Report { server_cpu_us_per_delivery: Some(us), ..Report::default() };
        assert_eq!(factor(&[report(2.0), report(9.0), report(3.0)]), Some(1.5));
        assert_eq!(factor(&[report(0.0), report(3.0)]), None);
        assert_eq!(factor(&[]), None);
    }
}
