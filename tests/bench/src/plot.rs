//! Plots as SVG: latency by percentile, and cost by size.

use std::{fmt::Display, path::Path};

use plotters::{
    backend::SVGBackend,
    chart::{ChartBuilder, SeriesLabelPosition},
    coord::Shift,
    drawing::{DrawingArea, IntoDrawingArea as _},
    element::{Circle, PathElement},
    prelude::IntoLogRange as _,
    series::LineSeries,
    style::{BLACK, Color as _, RGBColor, WHITE},
};

use crate::{report::Report, scenario::Dimension};

/// Plots the latency against the share of deliveries that were not slower, a line for each run.
///
/// # Errors
/// Fails if there is nothing to plot, or the file cannot be written.
pub(crate) fn latencies(file: &Path, title: &str, reports: &[Report]) -> Result<(), String> {
    let line = |report: &Report| {
        // 0.99 is at 100: the axis counts nines, at equal distances.
        let points = report.curve.iter().map(|(share, us)| (1.0 / (1.0 - share).max(1e-6), us.max(1.0)));
        Line { name: report.target.clone(), points: points.collect() }
    };
    let axes = Axes { title: &format!("{title}: latency"), x: "share of deliveries", y: "microseconds" };
    draw(file, &axes, &reports.iter().map(line).collect::<Vec<_>>(), &share)
}

/// Plots the cost of a delivery against the growing dimension.
///
/// # Errors
/// Fails if there is nothing to plot, or the file cannot be written.
pub(crate) fn growth(file: &Path, dimension: Dimension, reports: &[Report]) -> Result<(), String> {
    let cost = |name: &str, number: fn(&Report) -> Option<f64>| {
        let point =
            |report: &Report| Some((f64::from(dimension.of(report)), number(report).filter(|us| *us > 0.0)?));
        Line { name: name.to_owned(), points: reports.iter().filter_map(point).collect() }
    };
    let lines = [
        cost("server", |report| report.server_cpu_us_per_delivery),
        cost("load client", |report| report.client_cpu_us_per_delivery),
    ];
    let target = reports.first().map_or("", |report| report.target.as_str());
    let axes = Axes {
        title: &format!("{target}: processor time of one delivery"),
        x: &crate::name(dimension),
        y: "microseconds",
    };
    draw(file, &axes, &lines, &|number| format!("{number:.0}"))
}

struct Axes<'a> {
    title: &'a str,
    x: &'a str,
    y: &'a str,
}

struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Formats 1000 as "99.9 %".
fn share(inverse: &f64) -> String {
    let percent = format!("{:.4}", 100.0 * (1.0 - 1.0 / inverse));
    format!("{} %", percent.trim_end_matches('0').trim_end_matches('.'))
}

fn draw(
    file: &Path,
    axes: &Axes<'_>,
    lines: &[Line],
    x_label: &dyn Fn(&f64) -> String,
) -> Result<(), String> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let range = |number: fn(&(f64, f64)) -> f64| {
        let numbers = points()
            .map(number)
            .fold((f64::MAX, 0.0_f64), |(least, most), number| (least.min(number), most.max(number)));
        (numbers.1 > 0.0).then_some(numbers)
    };
    let (Some((left, right)), Some((low, high))) = (range(|point| point.0), range(|point| point.1)) else {
        return Err(format!("there is nothing to plot into {}", file.display()));
    };
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    let draw = || -> Result<(), Box<dyn std::error::Error + '_>> {
        root.fill(&WHITE)?;
        let x = (left..right.max(left * 1.01)).log_scale();
        let y = (low * 0.8..high * 1.25).log_scale();
        let mut chart = ChartBuilder::on(&root)
            .caption(axes.title, ("sans-serif", 20))
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(72)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .x_desc(axes.x)
            .y_desc(axes.y)
            .x_label_formatter(x_label)
            .y_label_formatter(&|number| amount(*number))
            .label_style(("sans-serif", 14))
            .draw()?;
        for (line, color) in lines.iter().zip(COLORS.iter().cycle()) {
            let style = color.stroke_width(2);
            chart
                .draw_series(LineSeries::new(line.points.iter().copied(), style))?
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
            if line.points.len() <= MOST_MARKED {
                chart.draw_series(line.points.iter().map(|point| Circle::new(*point, 3, color.filled())))?;
            }
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE)
            .border_style(BLACK)
            .label_font(("sans-serif", 14))
            .draw()?;
        Ok(())
    };
    draw().map_err(|error| cannot_write(file, &error))?;
    present(&root, file)
}

fn present(root: &DrawingArea<SVGBackend<'_>, Shift>, file: &Path) -> Result<(), String> {
    root.present().map_err(|error| cannot_write(file, &error))
}

fn cannot_write(file: &Path, error: &dyn Display) -> String {
    format!("cannot write the plot {}: {error}", file.display())
}

/// Formats a number with its significant digits.
fn amount(number: f64) -> String {
    if number < 10.0 { format!("{number:.2}") } else { format!("{number:.0}") }
}

const SIZE: (u32, u32) = (800, 480);

/// Lines with at most this many points have a mark at each.
const MOST_MARKED: usize = 20;

/// Colours that people with colour blindness can tell apart (Okabe and Ito).
const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn plots_have_a_line_and_a_name_for_each_run() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("out.svg");
        let run = |target: &str, us| Report {
            target: target.to_owned(),
            curve: vec![(0.0, us), (0.5, us * 2.0), (0.9995, us * 9.0)],
            ..Report::default()
        };
        latencies(&file, "unicast", &[run("im", 10.0), run("control", 20.0)]).unwrap();
        let svg = std::fs::read_to_string(&file).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert!(
            ["unicast: latency", "im", "control", "99.9 %"].iter().all(|text| svg.contains(text)),
            "{svg}"
        );
        assert!(latencies(&file, "unicast", &[Report::default()]).is_err());
        let cost = |connections, us| Report {
            connections,
            server_cpu_us_per_delivery: Some(us),
            ..Report::default()
        };
        growth(&file, Dimension::Connections, &[cost(1000, 4.0), cost(50_000, 5.0)]).unwrap();
        assert!(std::fs::read_to_string(&file).unwrap().contains("connections"));
    }

    #[test]
    fn shares_are_told_in_per_cent() {
        assert_eq!([2.0, 100.0, 1000.0].map(|inverse| share(&inverse)), ["50 %", "99 %", "99.9 %"]);
    }
}
