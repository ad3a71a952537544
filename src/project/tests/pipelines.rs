//! Mistakes in pipelines, their schedules, and environments.

use super::*;

#[test]
fn pipeline_messages() {
    assert_snapshot!(plan("pull = [\"erp\"]", "pull = [\"crm\"]"), @r#"
    pipelines/plan.toml:2: pull: there is no system "crm" in loopline.toml
    hint: known systems: erp
    "#);
    assert_snapshot!(plan("pull = [\"erp\"]", "pull = \"erp\""), @r#"
    pipelines/plan.toml:2: "pull" must be a list of texts, not text
    hint: write pull = ["erp"]
    "#);
    assert_snapshot!(plan("\"outbox\",", "\"outbx\","), @r#"
    pipelines/plan.toml:3: build: there is no schema or table "outbx"
    hint: did you mean "outbox"?
    "#);
    assert_snapshot!(plan("\"erp.items\"", "\"erp.itmes\""), @r#"
    pipelines/plan.toml:3: build: there is no schema or table "erp.itmes"
    hint: did you mean "erp.items"?
    "#);
    assert_snapshot!(plan("\"outbox.purchase_requests\"", "\"outbox.purchase_orders\""), @r#"
    pipelines/plan.toml:6: write: there is no outbox "outbox.purchase_orders"
    hint: did you mean "outbox.purchase_requests"?
    "#);
    assert_snapshot!(plan("\"outbox.purchase_requests\"", "\"purchase_requests\""), @r#"
    pipelines/plan.toml:6: write: there is no outbox "purchase_requests"
    hint: did you mean "outbox.purchase_requests"?
    "#);
    assert_snapshot!(plan("mode = \"approve\"", "mode = \"aprove\""), @r#"
    pipelines/plan.toml:6: write "outbox.purchase_requests": mode: "aprove" is not one of auto, approve, off
    hint: did you mean "approve"?
    "#);
    assert_snapshot!(plan("rows = 50", "rows = 0"), @r#"
    pipelines/plan.toml:6: write "outbox.purchase_requests", limits: a limit of 0 rows lets nothing through
    hint: use mode = "off"
    "#);
    assert_snapshot!(plan("rows = 50", "rows = -1"), @r#"pipelines/plan.toml:6: write "outbox.purchase_requests", limits: "rows" must be a whole number from 0, not -1"#);
    assert_snapshot!(plan("rows = 50", "row = 50"), @r#"
    pipelines/plan.toml:6: write "outbox.purchase_requests", limits: unknown key "row"
    hint: did you mean "rows"?
    "#);
    assert_snapshot!(plan("0 0 5 * * Mon-Fri", "0 5 * * Mon-Fri"), @r#"pipelines/plan.toml:1: schedule: cron: "0 5 * * Mon-Fri" has 5 fields, not 6 (second minute hour day-of-month month day-of-week, for example 0 0 5 * * Mon-Fri)"#);
    assert_snapshot!(plan("0 0 5 * * Mon-Fri", "0 0 25 * * Mon-Fri"), @r#"pipelines/plan.toml:1: schedule: cron: "0 0 25 * * Mon-Fri" is not a cron expression (second minute hour day-of-month month day-of-week, for example 0 0 5 * * Mon-Fri)"#);
    assert_snapshot!(plan("0 0 5 * * Mon-Fri", "0 0 5 30 2 *"), @r#"pipelines/plan.toml:1: schedule: cron: "0 0 5 30 2 *" never comes"#);
    assert_snapshot!(plan(", timezone = \"Europe/Berlin\"", ""), @r#"
    pipelines/plan.toml:1: schedule: "timezone" is missing
    hint: add timezone = "Europe/Berlin"
    "#);
    assert_snapshot!(plan("missed = \"skip\"", "missed = \"always\""), @r#"pipelines/plan.toml:1: schedule: missed: "always" is not one of run-once, skip"#);
}

fn schedule(text: &str) -> String {
    let cron = r#"cron = "0 0 5 * * Mon-Fri", timezone = "Europe/Berlin", missed = "skip", overlap = "wait""#;
    replaced("pipelines/plan.toml", cron, text)
}

#[test]
fn schedule_messages() {
    for (text, expected) in [
        (
            "missed = \"skip\"",
            "nothing says when it runs\nhint: add cron = \"0 0 5 * * Mon-Fri\", after = \"another pipeline\" or on_fresh = [\"a system\"]",
        ),
        ("after = \"plam\"", "after: there is no pipeline \"plam\"\nhint: did you mean \"plan\"?"),
        (
            "after = \"plan\"",
            "plan runs after plan, and so none of them ever starts\nhint: let one of them run by cron or on_fresh alone",
        ),
        ("on_fresh = [\"epr\"]", "on_fresh: there is no system \"epr\" in loopline.toml\nhint: did you mean \"erp\"?"),
        (
            "on_fresh = [\"erp\"], pause_after = 0",
            "pause_after: 0 would never run\nhint: leave it out to go on however often it fails",
        ),
    ] {
        assert_eq!(schedule(text), format!("pipelines/plan.toml:1: schedule: {expected}"));
    }
    for (text, expected) in [
        ("count = 30", "count: 30 is not from 1 to 20"),
        (
            "count = 3, backoff = \"1h\", max = \"15m\"",
            "max: the longest pause is shorter than the first one\nhint: raise max, or lower backoff",
        ),
        ("max = \"1h\"", "\"count\" is missing\nhint: add count = 3"),
    ] {
        let said = schedule(&format!("on_fresh = [\"erp\"], retries = {{ {text} }}"));
        assert_eq!(said, format!("pipelines/plan.toml:1: schedule, retries: {expected}"));
    }
}

#[test]
fn pipelines_that_wait_for_one_another_are_told_once() {
    let said = added("pipelines/b.toml", "schedule = { after = \"c\" }");
    assert_eq!(said, "pipelines/b.toml:1: schedule: after: there is no pipeline \"c\"\nhint: known pipelines: b, plan");
    let root = valid();
    write(root.path(), "pipelines/b.toml", "# in the morning\nschedule = { after = \"c\" }");
    write(root.path(), "pipelines/c.toml", "schedule = { after = \"b\" }");
    assert_eq!(
        messages(root.path()),
        "pipelines/b.toml:2: schedule: b runs after c, which runs after b, and so none of them ever starts\n\
         hint: let one of them run by cron or on_fresh alone"
    );
}

#[test]
fn an_environment_has_its_own_places_and_addresses() {
    let root = valid();
    let text = std::fs::read_to_string(root.path().join("loopline.toml")).unwrap();
    let settings = "\n[env.dev]\npull = true\n[env.dev.systems.erp]\nurl = \"sqlite:test.db\"\n";
    write(root.path(), "loopline.toml", text + settings);
    let load = || Project::load(root.path()).unwrap_or_else(|_| panic!("{}", messages(root.path())));
    let (production, dev) = (load(), load().in_environment("dev").unwrap());
    let environment = dev.environment.as_ref().unwrap();
    assert_eq!((&environment.production_store, &environment.production_control), (&production.store, &production.control));
    assert_eq!(dev.store, format!("{}/env/dev", production.store));
    assert_eq!(dev.control, production.control.parent().unwrap().join("env/dev/control.sqlite"));
    assert_eq!((dev.systems["erp"].url.as_str(), dev.systems["erp"].secret.is_none()), ("sqlite:test.db", true));
    assert!(environment.settings.pull && !environment.settings.write);
    assert_eq!(load().in_environment("other").unwrap().systems["erp"].url, production.systems["erp"].url);
}
