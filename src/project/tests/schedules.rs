//! Mistakes in schedules.

use super::*;

#[test]
fn schedule_messages() {
    let schedule = |text: &str| {
        let cron = r#"cron = "0 0 5 * * Mon-Fri", timezone = "Europe/Berlin", missed = "skip", overlap = "wait""#;
        replaced("pipelines/plan.toml", cron, text)
    };
    assert_snapshot!(schedule("missed = \"skip\""), @"");
    assert_snapshot!(schedule("after = \"plam\""), @"");
    assert_snapshot!(schedule("after = \"plan\""), @"");
    assert_snapshot!(schedule("on_fresh = [\"epr\"]"), @"");
    assert_snapshot!(schedule("on_fresh = [\"erp\"], retries = { count = 30 }"), @"");
    assert_snapshot!(schedule("on_fresh = [\"erp\"], retries = { count = 3, backoff = \"1h\", max = \"15m\" }"), @"");
    assert_snapshot!(schedule("on_fresh = [\"erp\"], retries = { backoff = \"soon\" }"), @"");
    assert_snapshot!(schedule("on_fresh = [\"erp\"], pause_after = 0"), @"");
    assert_snapshot!(added("pipelines/b.toml", "schedule = { after = \"c\" }"), @"");
    let root = valid();
    write(root.path(), "pipelines/b.toml", "# in the morning\nschedule = { after = \"c\" }");
    write(root.path(), "pipelines/c.toml", "schedule = { after = \"b\" }");
    assert_snapshot!(messages(root.path()), @"");
}
