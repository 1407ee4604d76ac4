//! Tables as pictures: a line for each case, on it a point for each engine, nanoseconds on a logarithmic scale.
//!
//! Nothing is painted behind them, and all colours can be told from white and from black.

use crate::table::Table;
use plotters::coord::ranged1d::SegmentValue;
use plotters::prelude::*;

const WIDTH: u32 = 800;
const LINE: u32 = 34;
/// What the names of engines take above, and the scale below.
const ABOVE: u32 = 40;
const BELOW: u32 = 50;
/// What the names of cases take.
const LEFT: u32 = 220;

const TEXT: RGBColor = RGBColor(0x76, 0x76, 0x76);
const FONT: (&str, u32) = ("sans-serif", 14);

/// The colour of an engine, and whether its point is a disc, as of those that run code of the processor, or a circle.
fn look(engine: &str) -> (RGBColor, bool) {
    const OURS: RGBColor = RGBColor(0x2f, 0x7f, 0xd6);
    const RBPF: RGBColor = RGBColor(0xb0, 0x5f, 0xc7);
    match engine {
        "interpreter" => (OURS, false),
        "decoded" => (RGBColor(0xd9, 0x48, 0x2b), false),
        "native" => (OURS, true),
        "libpcap" => (RGBColor(0x1f, 0x95, 0x68), false),
        "rbpf" => (RBPF, false),
        "rbpf, compiled" => (RBPF, true),
        "kernel" => (RGBColor(0xb0, 0x7d, 0x00), true),
        _ => (TEXT, false),
    }
}

/// The figures of a table as a document.
pub(crate) fn svg(table: &Table) -> anyhow::Result<String> {
    let mut document = String::new();
    let figures = table.rows.iter().flat_map(|(_, cells)| cells.iter().flatten().copied());
    let (least, most): (f64, f64) =
        figures.fold((1.0, 1.0), |(least, most), figure| (least.min(figure), figure.max(most)));
    let cases = table.rows.len();
    {
        let size = (WIDTH, ABOVE + LINE * cases as u32 + BELOW);
        let area = SVGBackend::with_string(&mut document, size).into_drawing_area();
        let mut from = 20;
        for engine in &table.columns {
            area.draw(&point((from, 16), engine))?;
            area.draw(&Text::new(*engine, (from + 10, 10), FONT.into_font().color(&TEXT)))?;
            from += 50 + 7 * engine.len() as i32;
        }
        let mut chart = ChartBuilder::on(&area)
            .margin_top(ABOVE)
            .margin_right(20)
            .x_label_area_size(BELOW)
            .y_label_area_size(LEFT)
            .build_cartesian_2d(
                (least * 0.8..most * 1.4).log_scale(),
                (0..cases.saturating_sub(1)).into_segmented(),
            )?;
        // The first is at the top.
        let case = |line: usize| table.rows[cases - 1 - line.min(cases - 1)].0;
        chart
            .configure_mesh()
            .axis_style(TEXT.mix(0.6))
            .bold_line_style(TEXT.mix(0.4))
            .light_line_style(TRANSPARENT)
            .label_style(FONT.into_font().color(&TEXT))
            .x_desc(table.title)
            .x_label_formatter(&|figure| figure.to_string())
            .y_labels(cases)
            .y_label_formatter(&|line| match line {
                SegmentValue::CenterOf(line) | SegmentValue::Exact(line) => case(*line).to_owned(),
                SegmentValue::Last => String::new(),
            })
            .draw()?;
        for (line, (_, cells)) in table.rows.iter().rev().enumerate() {
            let there =
                table.columns.iter().zip(cells).filter_map(|(engine, cell)| Some((engine, cell.ok()?)));
            chart.draw_series(
                there.map(|(engine, figure)| point((figure, SegmentValue::CenterOf(line)), engine)),
            )?;
        }
        area.present()?;
    }
    Ok(document)
}

fn point<Place>(place: Place, engine: &str) -> Circle<Place, i32> {
    let (colour, filled) = look(engine);
    let style = if filled { colour.filled() } else { colour.stroke_width(2) };
    Circle::new(place, 5, style)
}
