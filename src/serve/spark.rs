//! A trend as a small inline SVG.

use maud::{Markup, html};

const WIDTH: f64 = 200.0;
const HEIGHT: f64 = 32.0;
const MARGIN: f64 = 3.0;

/// A line through `values`, oldest first, with the target as a dashed line; nothing with fewer than two values.
pub(super) fn line(values: &[Option<f64>], target: Option<f64>) -> Markup {
    let known: Vec<f64> = values.iter().flatten().copied().collect();
    if known.len() < 2 {
        return html! {};
    }
    let (low, high) =
        known.iter().chain(&target).fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(*value), high.max(*value)));
    let span = if high > low { high - low } else { 1.0 };
    let y = |value: f64| HEIGHT - MARGIN - (value - low) / span * (HEIGHT - 2.0 * MARGIN);
    let step = (WIDTH - 2.0 * MARGIN) / (values.len() - 1) as f64;
    let points: Vec<(f64, f64)> =
        values.iter().enumerate().filter_map(|(nth, value)| value.map(|value| (MARGIN + nth as f64 * step, y(value)))).collect();
    let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let (last_x, last_y) = points.last().copied().unwrap_or_default();
    html! {
        svg.spark viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(format!("trend over {} months", values.len())) {
            @if let Some(target) = target {
                line.target x1=(MARGIN) x2=(WIDTH - MARGIN) y1=(format!("{:.1}", y(target))) y2=(format!("{:.1}", y(target))) {}
            }
            polyline points=(path.join(" ")) {}
            circle cx=(format!("{last_x:.1}")) cy=(format!("{last_y:.1}")) r="2.2" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_line_needs_two_values() {
        assert_eq!(line(&[Some(1.0)], None).into_string(), "");
        assert_eq!(line(&[Some(1.0), None], Some(2.0)).into_string(), "");
        let drawn = line(&[Some(1.0), None, Some(3.0)], None).into_string();
        assert!(drawn.contains("3.0,29.0 197.0,3.0"), "{drawn}");
    }
}
