//! The page at `/runs/current`: the tables of the run under way, from left to right in the order in which they need one another, and how far each is.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};

use super::dashboard::{head, refreshed};
use super::{ServeError, Shared};
use crate::base::{TableName, time};
use crate::model::{ModelOutcome, ModelRun};
use crate::pipeline::LiveRun;

const SECONDS_BETWEEN: u32 = 2;

pub(super) async fn page(State(shared): State<Arc<Shared>>) -> Result<Markup, ServeError> {
    let content = match shared.hub.live() {
        Some(run) => graph(&run, &shared.hub.ranks()?),
        None => html! { p { "No run is under way in this process. " a href="/api/v1/runs" { "Past runs" } } },
    };
    Ok(refreshed(SECONDS_BETWEEN, html! { (head("runs/current", "run under way")) main { (content) } }))
}

/// `ranks`: tables, those that need none of the others first.
fn graph(run: &LiveRun, ranks: &[Vec<TableName>]) -> Markup {
    let done: HashMap<&str, &ModelRun> = run.tables.iter().map(|table| (table.table.as_str(), table)).collect();
    let seconds_since = |instant| time::age(instant, time::now()).as_secs();
    let state = |name: &str| match (done.get(name), run.building.get(name)) {
        (Some(table), _) => (class(table.outcome), told(table)),
        (None, Some(since)) => ("building", format!("{} s so far", seconds_since(*since))),
        (None, None) => ("none", String::new()),
    };
    html! {
        h2 { "Run " (run.run) " of " (run.pipeline) }
        p {
            @if let Some(stage) = run.stage { b { (stage.words().0) } " · " }
            (run.done) " of " (run.total) " tables · " (seconds_since(run.started_at)) " s"
        }
        div.ranks { @for rank in ranks {
            div.rank { @for name in rank.iter().map(ToString::to_string) {
                @let (class, told) = state(&name);
                a href=(format!("/tables/{name}")) class=(class) title=[done.get(name.as_str()).map(|table| &table.reason)] { (name) small { (told) } }
            } }
        } }
    }
}

fn class(outcome: ModelOutcome) -> &'static str {
    match outcome {
        ModelOutcome::Built | ModelOutcome::Same | ModelOutcome::Copied => "good",
        ModelOutcome::Skipped => "none",
        ModelOutcome::Failed => "bad",
    }
}

fn told(table: &ModelRun) -> String {
    match table.outcome {
        ModelOutcome::Skipped => "as it was".into(),
        ModelOutcome::Failed => "failed".into(),
        _ => format!("{:.1} s", table.seconds),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::base::RunId;
    use crate::pipeline::Stage;

    #[test]
    fn each_table_says_how_far_it_is() {
        let names = [("erp", "orders"), ("erp", "items"), ("scm", "demand"), ("scm", "<b>")]
            .map(|(schema, name)| TableName::new(schema, name));
        let ended =
            |name: &TableName, outcome| ModelRun { seconds: 1.25, ..ModelRun::new(name, outcome, "input changed".into()) };
        let run = LiveRun {
            run: RunId(12),
            pipeline: "nightly".into(),
            started_at: time::now(),
            stage: Some(Stage::Build),
            done: 2,
            total: 4,
            building: BTreeMap::from([(names[2].to_string(), time::now())]),
            tables: vec![ended(&names[0], ModelOutcome::Built), ended(&names[1], ModelOutcome::Skipped)],
        };
        let page = graph(&run, &[names[..2].to_vec(), names[2..].to_vec()]).into_string();
        for part in [
            "<b>build</b> · 2 of 4 tables",
            r#"class="good" title="input changed">erp.orders<small>1.2 s"#,
            r#"class="none" title="input changed">erp.items<small>as it was"#,
            r#"class="building">scm.demand<small>0 s so far"#,
            r#"class="none">scm.&lt;b&gt;<small>"#,
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
    }
}
